"""Claiming the name of a named pipe: of all of a user's processes that want it at most one gets it.

Windows itself refuses a second first instance of a pipe, and so another user's too; but it does not tell whose the
first one is, and not every system that runs Windows programs refuses. So a file in the user's own directory is locked.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what only Windows has

from __future__ import annotations

import sys

assert sys.platform == "win32"

import os
import time
from contextlib import suppress
from typing import Final, Self

from .._win32.locks import lock_file, read_pid, unlock_file, write_pid
from .._win32.processes import process_runs
from ..errors import AddressError, AddressInUse
from ._address import Address
from ._pipe_rules import lock_name

__all__ = ["PipeClaim", "lock_path"]

# An owner writes its pid right after it has the lock; until then the file is empty, or has that of one who was killed:
# 10 tries, 10 ms apart.
_PID_TRIES: Final = 10
_PID_WAIT: Final = 0.01


def lock_path(address: Address, ending: str = ".lock") -> str:
    """The lock file of the pipe at `address`: in the user's local directory, the same for all spellings of its name.

    With another `ending`, one of the files that are kept beside it.
    """
    base = os.environ.get("LOCALAPPDATA") or os.path.expanduser(r"~\AppData\Local")
    return os.path.join(base, "poppo_ipc", f"{lock_name(address.name)}{ending}")


class PipeClaim:
    """The name of a pipe that is ours as long as this is not released and the process lives."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @classmethod
    def take(cls, address: Address) -> Self:
        """Claim the name.

        Blocks for the few microseconds that local file system calls take, and a refused start for up to 100 ms.

        Raises AddressInUse with the owner's pid, and AddressError where no lock file can be made.
        """
        path = lock_path(address)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = lock_file(path)
        except OSError as error:
            raise AddressError(
                f"The lock file {path} cannot be used ({error.strerror})",
                remedy="set LOCALAPPDATA to a directory that you may write to",
            ) from error
        if fd is None:
            raise _in_use(address, path)
        with suppress(OSError):  # on a full disk the lock holds all the same
            write_pid(fd, os.getpid())
        return cls(fd)

    def release(self) -> None:
        """Give the name free. Idempotent."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with suppress(OSError):
                write_pid(fd, None)
            unlock_file(fd)


def _in_use(address: Address, path: str) -> AddressInUse:
    for _ in range(_PID_TRIES):
        pid = read_pid(path)
        if pid is not None and process_runs(pid):
            break
        pid = None
        time.sleep(_PID_WAIT)
    who = "another process" if pid is None else f"process {pid}"
    return AddressInUse(
        f"A daemon runs there already: {who} has the pipe {address}. Stop it first, or choose another address", pid=pid
    )
