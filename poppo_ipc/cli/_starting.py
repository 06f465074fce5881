"""Starting the daemon in the background: `serve`, told to let go of us, and what becomes of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._foreground import notice
from poppo_ipc.cli._gone import pid_of_daemon
from poppo_ipc.cli._serve import ServeOptions
from poppo_ipc.client import SyncClient, token_from_environment
from poppo_ipc.client._launch import DaemonStartFailed, child_environment, spawn
from poppo_ipc.client._output import Pipe
from poppo_ipc.client._starter import Starter, run_blocking
from poppo_ipc.daemon import DaemonConfig
from poppo_ipc.daemon._config_model import keys
from poppo_ipc.errors import ConnectFailed, PoppoError
from poppo_ipc.server import read_token_file
from poppo_ipc.transport import Address, AddressKind

__all__ = ["START_SECONDS", "Begun", "StartRefused", "address_of", "flag_arguments", "start_daemon", "token_for"]

START_SECONDS: Final = 30.0
_SAID_BY_US: Final = "poppo-ipc: "


class StartRefused(Exception):
    """The daemon said why it does not start: `lines` for stderr, and the exit code that it ended with."""

    def __init__(self, lines: list[str], exit_code: int) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.exit_code = exit_code


@frozen
class Begun:
    """A daemon that runs."""

    started: bool
    """Whether it was started now."""
    pid: int | None
    address: Address

    def __str__(self) -> str:
        who = "" if self.pid is None else f" (pid {self.pid})"
        return f"The daemon {'has started' if self.started else 'runs already'}{who} at {self.address}"

    def result(self) -> dict[str, Any]:
        """For a program."""
        return {"started": self.started, "pid": self.pid, "address": str(self.address)}


def address_of(config: DaemonConfig) -> Address:
    """Where it listens. Raises AddressError, and Failure where no other process could find it."""
    address = Address.default() if config.socket is None else Address.parse(config.socket)
    if address.kind is AddressKind.MEMORY:
        what = f"A daemon in the background needs a socket or a pipe, not {address}"
        raise Failure(what, "See --socket", ExitCode.USAGE)
    return address


def token_for(options: ServeOptions, config: DaemonConfig) -> str | None:
    """The token of a daemon with these settings; None where it has none, or will make one. Raises PoppoError."""
    if config.no_auth:
        return None
    if options.flags.get("token_file") is None:
        from_environment = token_from_environment(options.environ)
        if from_environment is not None:
            return from_environment
    path = config.token_file or config.state_dir / "token"
    return read_token_file(path) if os.path.lexists(path) else None


def start_daemon(options: ServeOptions, timeout: float | None) -> Begun:
    """Have a daemon with these settings, started now unless one runs at its address.

    Raises ConfigError; StartRefused with the daemon's own words; Failure where something else has the address, or it
    was not ready within `timeout` seconds.
    """
    config = options.load()
    address = address_of(config)
    options = _from_anywhere(options, config, address)
    argv = [sys.executable, "-m", "poppo_ipc", "serve", "--detached", *_arguments(options)]
    environ = child_environment(options.environ)
    # Not in `/` at first: a program that is run from its source tree is only found from where it is.
    starter = Starter(address, lambda: spawn(argv, Pipe(), cwd=None, environ=environ), timeout or START_SECONDS)
    try:
        run_blocking(starter)
    except DaemonStartFailed as error:
        lines = [line for line in error.output.splitlines() if line.startswith(_SAID_BY_US)]
        if lines and error.exit_code is not None:
            raise StartRefused(lines, ExitCode.USAGE if error.exit_code == 2 else ExitCode.FAILED) from error
        code = ExitCode.TIMED_OUT if error.exit_code is None else ExitCode.FAILED
        raise Failure(error.message, f"See {config.state_dir / 'logs' / 'daemon.log'}", code) from error
    except ConnectFailed as error:
        raise Failure(error.message, "Stop what has the address, or choose another with --socket") from error
    if starter.ours:
        for line in starter.said.splitlines():
            notice(line)
        return Begun(True, starter.pid, address)
    return Begun(False, _pid_of_ours(options, config, address), address)


def _pid_of_ours(options: ServeOptions, config: DaemonConfig, address: Address) -> int | None:
    """The process of the daemon that runs there. Raises Failure where that is none of ours to use."""
    try:
        with SyncClient(address, token=token_for(options, config), client_name="poppo-ipc", reconnect=False) as client:
            return pid_of_daemon(client, address)
    except PoppoError as error:
        what = f"What runs at {address} is not the daemon that was to be started: {error.message}"
        raise Failure(what, "Stop that first, or choose another address with --socket") from error


def _from_anywhere(options: ServeOptions, config: DaemonConfig, address: Address) -> ServeOptions:
    """The same settings, with no path in them that leads elsewhere from another directory."""
    flags = {**options.flags, "socket": str(address), "state_dir": str(config.state_dir)}
    if flags.get("token_file"):
        flags["token_file"] = str(config.token_file)
    paths = {key.variable for key in keys().values() if key.type is Path}
    environ = {name: _absolute(value) if name in paths and value else value for name, value in options.environ.items()}
    file = None if options.file is None else Path(_absolute(str(options.file)))
    return evolve(options, file=file, flags=flags, environ=environ)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _arguments(options: ServeOptions) -> list[str]:
    found = [] if options.file is None else ["--config", str(options.file)]
    return found + flag_arguments(options.flags)


def flag_arguments(flags: Mapping[str, Any]) -> list[str]:
    """The settings as they are typed. With `=`, since a value may begin with a dash."""
    known = keys()
    return [
        known[path].flag if value is True else f"{known[path].flag}={value}"
        for path, value in flags.items()
        if value not in (None, False)
    ]
