"""The command line, run to its end: as its users do in a process of its own, or within this one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO
from unittest.mock import patch

from poppo_ipc.cli import main

from .processes import PATIENCE, environment

if TYPE_CHECKING:
    import pexpect

__all__ = ["PROGRAM", "Ran", "Shell", "on_terminal", "to_the_end"]

PROGRAM = (sys.executable, "-m", "poppo_ipc")


class Ran(NamedTuple):
    """How it ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as the one JSON value that it is."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """What it printed, as JSON Lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Shell:
    """Runs the program with one environment."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)

    def run(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ran:
        """Run it with stdout and stderr as pipes."""
        ran = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env=environment({**self.env, **(env or {})}),
            timeout=PATIENCE,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def ask(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ran:
        """The same within this process, which is much cheaper: for what hangs on no process, and starts none."""
        settings = environment({**self.env, **(env or {})})
        with captured() as out, captured() as err:
            with patch.dict(os.environ, settings, clear=True), redirect_stdout(out), redirect_stderr(err):
                code = main([*map(str, arguments)])
            return Ran(int(code), said(out), said(err))

    def terminal(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> pexpect.spawn[str]:
        """Start it in a terminal of its own: 120 columns, with colours unless `env` says otherwise."""
        return on_terminal([*PROGRAM, *map(str, arguments)], {**self.env, **(env or {})})

    def shown(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
        """All that it shows in a terminal."""
        child = self.terminal(*arguments, env=env)
        to_the_end(child)
        assert child.before is not None
        return child.before.replace("\r\n", "\n")


@contextmanager
def captured() -> Iterator[TextIO]:
    """A stream as a program has one: a file."""
    with tempfile.TemporaryFile() as file, io.TextIOWrapper(file, "utf-8", newline="\n") as stream:
        yield stream


def said(stream: TextIO) -> str:
    """All that was written."""
    stream.flush()
    stream.seek(0)
    return stream.read()


def to_the_end(child: pexpect.spawn[str]) -> None:
    """Read all that it says, up to its end."""
    import pexpect

    child.expect(pexpect.EOF)
    child.close()


def on_terminal(command: list[str], env: Mapping[str, str]) -> pexpect.spawn[str]:
    """Start a program in a terminal of its own: there are none on Windows that a program could hold."""
    import pexpect

    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    settings = {**environment({**env}), "TERM": env.get("TERM", "xterm-256color")}
    return pexpect.spawn(
        command[0],
        command[1:],
        env={name: value for name, value in settings.items() if name in kept or name in env or name == "TERM"},
        encoding="utf-8",
        dimensions=(40, 120),
        timeout=PATIENCE,
    )
