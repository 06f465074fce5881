"""The lock of those who start a daemon at an address. It dies with its owner."""

from __future__ import annotations

import os
import sys

from poppo_ipc.client._beside import beside
from poppo_ipc.errors import AddressError, AddressInUse
from poppo_ipc.transport import Address

__all__ = ["release_start", "take_start"]


def take_start(address: Address) -> int | None:
    """Take the lock; None where another has it. Raises AddressError where there can be no such file."""
    path = beside(address, ".start")
    if sys.platform == "win32":
        from poppo_ipc._win32.locks import lock_file

        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return lock_file(path)
        except OSError as error:
            raise AddressError(
                f"{path} cannot be locked ({error.strerror})", remedy="see who may write there"
            ) from error
    else:
        from poppo_ipc.transport._directory import open_directory
        from poppo_ipc.transport._lock import take_lock

        directory = open_directory(os.path.dirname(path))
        try:
            return take_lock(directory, os.path.basename(path), path)
        except AddressInUse:
            return None
        finally:
            os.close(directory)


def release_start(lock: int) -> None:
    """Give it back."""
    if sys.platform == "win32":
        from poppo_ipc._win32.locks import unlock_file

        unlock_file(lock)
    else:
        from poppo_ipc.transport._lock import release_lock

        release_lock(lock)
