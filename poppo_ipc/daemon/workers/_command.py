"""Command tasks, in the worker: one program, no shell. The standard library and msgspec only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Protocol

import msgspec

from poppo_ipc._exits import exit_text
from poppo_ipc.daemon.workers._call import Result, failed
from poppo_ipc.daemon.workers._output import pass_on
from poppo_ipc.daemon.workers._program import BatchFile, command_environment, program_of

__all__ = ["run_command"]


class _Pipes(Protocol):
    """What a relay has for a command."""

    writers: list[int]

    def close_writers(self) -> None: ...


class _Command(msgspec.Struct, forbid_unknown_fields=True):
    argv: list[str]
    cwd: str | None = None
    env: dict[str, str] = {}
    stdin: str | None = None


def run_command(payload: bytes | msgspec.Raw, home: str | None, stopping: Callable[[], bool]) -> Result:
    """Run a command to its end, in this process's group, and say how it ended.

    `home` is the working directory that the payload's `cwd` is relative to. A SIGTERM goes to the whole group, so it
    is the command's to answer; this waits on, and starts nothing when it came before (`stopping`).
    """
    try:
        command = msgspec.json.decode(payload, type=_Command)
    except msgspec.ValidationError as error:
        return failed(f"The payload of a command is not valid: {error}")
    if not command.argv or not command.argv[0]:
        return failed("The payload of a command is not valid: `argv` names no program")
    cwd = os.path.join(home or os.getcwd(), command.cwd) if command.cwd is not None else home
    if cwd is not None and not os.path.isdir(cwd):
        return failed(f"No such working directory: {cwd}")
    if stopping():
        return failed("Stopped before it began")
    with ExitStack() as stack:
        return _run(command, cwd, _open_relay(stack))


def _open_relay(stack: ExitStack) -> _Pipes | None:
    """What keeps the order between the two streams; None where that cannot be had, and the worker's are used."""
    if sys.platform == "linux":
        from poppo_ipc.daemon.workers._relay import Relay

        with suppress(OSError):
            return stack.enter_context(Relay(pass_on))
    return None


def _run(command: _Command, cwd: str | None, relay: _Pipes | None) -> Result:
    stdout, stderr = (None, None) if relay is None else relay.writers
    environment = command_environment(command.env)
    try:
        program = None
        if sys.platform == "win32":
            program = program_of(command.argv[0], environment, cwd or os.getcwd())
        process = subprocess.Popen(
            command.argv,
            executable=program,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
        )
    except FileNotFoundError:
        return failed(f"Command not found: {command.argv[0]}")
    except BatchFile as error:
        return failed(f"{error} is a batch file, which a shell would run: name that shell (cmd /c) as the program")
    except PermissionError:
        return failed(f"Command cannot be executed, permission denied: {command.argv[0]}")
    except ValueError as error:
        return failed(f"The payload of a command is not valid: {error}")
    except OSError as error:
        return failed(f"Command cannot be executed: {command.argv[0]}: {error.strerror}")
    if relay is not None:
        relay.close_writers()
    process.communicate(None if command.stdin is None else command.stdin.encode("utf-8", "surrogatepass"))
    code = process.returncode
    result = msgspec.json.encode({"exitCode": code})
    if code == 0:
        return Result(True, result, None)
    return Result(False, result, exit_text(code).removeprefix("exited with "))
