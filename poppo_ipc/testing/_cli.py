"""Running the command-line program under test, in this process or in one of its own, with one kind of result."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import shlex
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, Protocol, TextIO, cast

from poppo_ipc.testing._environment import Environment
from poppo_ipc.testing._result import CliResult

__all__ = ["Environed", "run_cli"]

_PATIENCE: Final = 60.0
#: Of the environment of whoever runs the tests, what would change how programs behave.
_CLEARED: Final = ("FORCE_COLOR", "CLICOLOR_FORCE")


class Environed(Protocol):
    """What programs are led to by their environment: `FakeDaemon`, `RealDaemon`, `Cassette`."""

    @property
    def environment(self) -> dict[str, str | None]:
        """The variables; None for those that must not be set."""


def run_cli(
    program: Any,
    args: str | Sequence[str | os.PathLike[str]] = (),
    *,
    daemon: Environed | None = None,
    input: str | None = None,
    env: Mapping[str, str | None] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    colours: bool = False,
    timeout: float = _PATIENCE,
) -> CliResult:
    """Run a command-line program, and give what it came to. It is led to a daemon by `POPPO_SOCKET` and `POPPO_TOKEN`.

    Args:
        program: in this process: a Click command or a Typer app, which their own `CliRunner` runs, or a function, such
            as `main` of a program with argparse, which gets the arguments where it takes them and finds them in
            `sys.argv` where not. As a process: a list of words (`[sys.executable, "-m", "blog"]`), or a path; one
            that ends with `.py` is run by this Python.
        args: the arguments; a text is split as a shell does it.
        daemon: where it is led to. Not needed for one that has set the environment, as fake daemons do.
        input: what it reads from stdin; nothing by default.
        env: further variables; None takes one away.
        cwd: the directory of a process, or for a program in this process meanwhile.
        colours: whether to keep colours that the program writes although nothing here is a terminal.
        timeout: seconds after which a process is killed and TimeoutError raised; a program in this process has none.

    An exception of a program in this process is in the result, with exit code 1 and its traceback in stderr. Raises
    TypeError for a program that is none of these, and for an async function: give one that runs it.
    """
    words = shlex.split(args) if isinstance(args, str) else [os.fspath(each) for each in args]
    variables: dict[str, str | None] = dict.fromkeys(_CLEARED) if not colours else {}
    variables |= {**(daemon.environment if daemon is not None else {}), **(env or {})}
    if isinstance(program, str | os.PathLike) or (isinstance(program, Sequence) and not callable(program)):
        result = _in_process_of_its_own(_command(program) + words, input, variables, cwd, timeout)
    else:
        environment = Environment(variables)
        environment.apply()
        try:
            with contextlib.chdir(cwd) if cwd is not None else contextlib.nullcontext():
                result = _in_this_process(program, words, input, colours)
        finally:
            environment.restore()
    return result if colours else result.plain()


def _command(program: Any) -> list[str]:
    if isinstance(program, str | os.PathLike):
        path = os.fspath(program)
        return [sys.executable, path] if path.endswith(".py") else [path]
    return [os.fspath(each) for each in program]


# -- in this process ----------------------------------------------------------------------------------------------


def _in_this_process(program: Any, args: list[str], input: str | None, colours: bool) -> CliResult:
    library = _library(program)
    if library is not None:
        runner = importlib.import_module(f"{library}.testing").CliRunner()
        ran = runner.invoke(program, args, input=input, color=colours)
        exception = None if isinstance(ran.exception, SystemExit) else ran.exception
        told = "" if exception is None else "".join(traceback.format_exception(exception))
        return CliResult(
            exit_code=ran.exit_code, stdout=ran.stdout, stderr=ran.stderr + told, output=ran.output + told,
            exception=exception,
        )  # fmt: skip
    if inspect.iscoroutinefunction(program):
        raise TypeError(f"{program!r} is an async function: give a function that runs it, as with trio.run")
    if not callable(program):
        raise TypeError(f"{program!r} is no program: give a Click command, a Typer app, a function, a path or a list")
    return _call(program, args, input)


def _library(program: Any) -> str | None:
    """Which library's runner runs it; those that nobody imported cannot have made it."""
    typer, click = sys.modules.get("typer"), sys.modules.get("click")
    if typer is not None and isinstance(program, typer.Typer):
        return "typer"
    return "click" if click is not None and isinstance(program, click.Command) else None


class _Both(io.TextIOWrapper):
    """Takes bytes and text, and passes on what it gets to one that gets that of others too."""

    def __init__(self, together: bytearray) -> None:
        # The ends of lines stay as they were written, on Windows too, as Click's and Typer's runners have it.
        super().__init__(
            _Copied(together), encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True
        )

    def said(self) -> str:
        self.flush()
        return cast("io.BytesIO", self.buffer).getvalue().decode(errors="replace")


class _Copied(io.BytesIO):
    def __init__(self, together: bytearray) -> None:
        super().__init__()
        self._together = together

    def write(self, data: Any) -> int:
        self._together += data
        return super().write(data)


def _call(program: Callable[..., Any], args: list[str], input: str | None) -> CliResult:
    together = bytearray()
    out, err = _Both(together), _Both(together)
    exception: BaseException | None = None
    code: Any = 0
    with _standing_in(io.TextIOWrapper(io.BytesIO((input or "").encode()), encoding="utf-8"), out, err, program, args):
        try:
            code = program(args) if _takes_arguments(program) else program()
        except SystemExit as end:
            code = end.code
        except (Exception, KeyboardInterrupt) as error:
            exception = error
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
            traceback.print_exception(error)
        if isinstance(code, str):  # what sys.exit prints of a text
            print(code, file=sys.stderr)
            code = 1
    return CliResult(
        exit_code=code if isinstance(code, int) else 0, stdout=out.said(), stderr=err.said(),
        output=together.decode(errors="replace"), exception=exception,
    )  # fmt: skip


@contextlib.contextmanager
def _standing_in(
    stdin: TextIO, out: TextIO, err: TextIO, program: Callable[..., Any], args: list[str]
) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr, sys.argv
    sys.stdin, sys.stdout, sys.stderr = stdin, out, err
    sys.argv = [getattr(program, "__name__", "program"), *args]
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr, sys.argv = before


def _takes_arguments(program: Callable[..., Any]) -> bool:
    """Whether its first parameter is for the arguments: one that has to be given, or is None where it is not."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = next(iter(inspect.signature(program).parameters.values()), None)
    return first is not None and first.kind in kinds and first.default in (inspect.Parameter.empty, None)


# -- in a process of its own --------------------------------------------------------------------------------------


def _in_process_of_its_own(
    command: list[str],
    input: str | None,
    variables: Mapping[str, str | None],
    cwd: str | os.PathLike[str] | None,
    timeout: float,
) -> CliResult:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    for name, value in variables.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        cwd=None if cwd is None else Path(cwd),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    together = bytearray()
    said = bytearray(), bytearray()
    readers = [
        threading.Thread(target=_read, args=(stream, part, together), daemon=True)
        for stream, part in zip((process.stdout, process.stderr), said, strict=True)
    ]
    writer = threading.Thread(target=_write, args=(process.stdin, (input or "").encode()), daemon=True)
    threads = [*readers, writer]
    for thread in threads:
        thread.start()
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        so_far = b"".join(said).decode(errors="replace")
        raise TimeoutError(f"{shlex.join(command)} did not end within {timeout:g} s; it said: {so_far}") from None
    finally:
        process.kill()
        process.wait()
        for thread in threads:
            thread.join(_PATIENCE)
        for stream in (process.stdout, process.stderr):
            stream.close()
    out, err, both = map(_text, (*said, together))
    return CliResult(exit_code=code if code >= 0 else 128 - code, stdout=out, stderr=err, output=both)


def _text(said: bytearray) -> str:
    """What was said, with the ends of lines that Python's own text files give, on Windows too."""
    text = bytes(said).decode(errors="replace")
    return text.replace("\r\n", "\n") if sys.platform == "win32" else text


def _read(stream: IO[bytes], part: bytearray, together: bytearray) -> None:
    # Whole lines go into what both said: a program may write a line and its end apart, and the other's come between.
    line = b""
    while data := os.read(stream.fileno(), 65536):
        part += data
        lines, end, line = (line + data).rpartition(b"\n")
        together += lines + end
    together += line


def _write(stream: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), stream:  # it need not read what it is given
        stream.write(data)
