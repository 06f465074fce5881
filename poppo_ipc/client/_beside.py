"""Where the files of an address are: beside a socket, and for a named pipe in the user's own directory."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

from poppo_ipc.transport import Address, AddressKind

__all__ = ["beside", "forget", "root_directory"]

_ENDINGS: Final = (".lock", ".start", ".log", ".started")


def beside(address: Address, suffix: str) -> str:
    """The file of the address with this suffix (`.log`); that with `.lock` is the one that its daemon locks.

    A pipe is in no directory, so its files are where all of this user's processes look for them, whatever the daemon's
    state directory is.
    """
    if sys.platform == "win32" and address.kind is AddressKind.PIPE:
        from poppo_ipc.transport._pipe_claim import lock_path

        return lock_path(address, suffix)
    return f"{address.name}{suffix}"


def forget(address: Address) -> None:
    """Delete the files of a pipe that nobody is to listen at again; those of a socket go with its directory."""
    if address.kind is AddressKind.PIPE:
        for ending in _ENDINGS:
            with suppress(OSError):
                os.unlink(beside(address, ending))


def root_directory() -> str:
    """The directory of a process that is to be in none that anybody would want to delete."""
    return f"{os.environ.get('SYSTEMDRIVE', 'C:')}\\" if sys.platform == "win32" else "/"
