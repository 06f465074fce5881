"""Where the files of an address are: beside a socket, and for a named pipe in the user's own directory."""

from __future__ import annotations

import os
import sys

from poppo_ipc.transport import Address, AddressKind

__all__ = ["beside", "root_directory"]


def beside(address: Address, suffix: str) -> str:
    """The file of the address with this suffix (`.log`); that with `.lock` is the one that its daemon locks.

    A pipe is in no directory, so its files are where all of this user's processes look for them, whatever the daemon's
    state directory is.
    """
    if sys.platform == "win32" and address.kind is AddressKind.PIPE:
        from poppo_ipc.transport._pipe_claim import lock_path

        return f"{lock_path(address).removesuffix('.lock')}{suffix}"
    return f"{address.name}{suffix}"


def root_directory() -> str:
    """The directory of a process that is to be in none that anybody would want to delete."""
    return f"{os.environ.get('SYSTEMDRIVE', 'C:')}\\" if sys.platform == "win32" else "/"
