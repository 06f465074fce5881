"""What starts the daemon of a program that brings its own along: the arguments, checked, as a `Starter`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from attrs import frozen

from poppo_ipc.client._beside import beside, root_directory
from poppo_ipc.client._launch import Child, child_environment, command_of, spawn
from poppo_ipc.client._output import LogFile
from poppo_ipc.client._probe import nothing_listens, somebody_listens
from poppo_ipc.client._starter import Starter
from poppo_ipc.errors import AuthenticationError, PoppoError
from poppo_ipc.transport import Address

__all__ = ["Command", "Start", "must_start"]

Command = Sequence[str] | ModuleType | Callable[[], Any]


@frozen(kw_only=True)
class Start:
    """How the daemon is started. `starter` raises what `command_of` does."""

    command: Command
    timeout: float
    log: str | os.PathLike[str] | None
    cwd: str | os.PathLike[str] | None
    environ: Mapping[str, str] | None

    def starter(self, address: Address) -> Starter:
        """One attempt."""
        argv = command_of(self.command)
        # So it listens where this looks for it, unless it knows better.
        environ = {**child_environment(), "POPPO_SOCKET": str(address), **(self.environ or {})}
        log = beside(address, ".log") if self.log is None else self.log
        cwd = root_directory() if self.cwd is None else self.cwd

        def begin() -> Child:
            return spawn(argv, LogFile(log), cwd=cwd, environ=environ)

        return Starter(address, begin, self.timeout)


def must_start(error: PoppoError, address: Address) -> bool:
    """Whether a client that failed with this found nobody at the address. Whoever answers there is left alone."""
    if isinstance(error, AuthenticationError):
        # There may be no token yet: the daemon makes it when it starts for the first time.
        return not somebody_listens(address)
    return nothing_listens(error)
