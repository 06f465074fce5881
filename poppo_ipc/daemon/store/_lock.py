"""One process at a time: the lock beside the database, held for as long as the store is open.

SQLite would let a second daemon in, and each would run the tasks of the other. The lock belongs to the open file, so
it ends with its process, however that dies. The file itself stays, empty: deleting it would be a race.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from poppo_ipc.daemon.store._database import StoreError

__all__ = ["StoreLocked", "release_lock", "take_lock"]

# A pid and a newline are all that is ever written.
_MOST_BYTES: Final = 32


class StoreLocked(StoreError):
    """Another process has the state open; `pid` is which, or None where it could not be told. Nothing was touched."""

    code = "STORE_LOCKED"

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


def _locked(path: Path, pid: int | None) -> StoreLocked:
    who = "another process" if pid is None else f"process {pid}"
    return StoreLocked(
        f"The state in {path} is in use by {who}; stop that first, or use another state directory", pid=pid
    )


if sys.platform == "win32":
    from poppo_ipc._win32.locks import lock_file, read_pid, unlock_file, write_pid

    def take_lock(path: Path) -> int:
        """As on Unix; the lock is on a byte that the file never has, so that others can read whose it is."""
        file = path.with_name(f"{path.name}.lock")
        try:
            lock = lock_file(str(file))
        except OSError as error:
            raise StoreError(f"The lock file {file} cannot be locked: {error.strerror}") from error
        if lock is None:
            raise _locked(path, read_pid(str(file)))
        # On a full disk the lock holds all the same; only the pid in somebody's error is lost.
        with suppress(OSError):
            write_pid(lock, os.getpid())
        return lock

    def release_lock(lock: int) -> None:
        """The opposite of `take_lock`."""
        try:
            with suppress(OSError):
                write_pid(lock, None)
        finally:
            unlock_file(lock)

else:
    import fcntl

    def take_lock(path: Path) -> int:
        """Lock the file beside the database at `path`; what is returned is for `release_lock`.

        Raises StoreLocked where another process, or this one, has it, and StoreError where there can be no lock file.
        """
        file = path.with_name(f"{path.name}.lock")
        try:
            lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise StoreError(f"The lock file {file} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # On a full disk the lock holds all the same; only the pid in somebody's error is lost.
            with suppress(OSError):
                os.ftruncate(lock, 0)
                os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        except BlockingIOError:
            pid = _pid(lock)
            os.close(lock)
            raise _locked(path, pid) from None
        except OSError as error:
            os.close(lock)
            raise StoreError(f"The lock file {file} cannot be locked: {error.strerror}") from error
        return lock

    def release_lock(lock: int) -> None:
        """Give the lock back, and take our pid out of the file first."""
        try:
            with suppress(OSError):
                os.ftruncate(lock, 0)
            # Closing alone would leave the lock to a forked child that shares the file.
            fcntl.flock(lock, fcntl.LOCK_UN)
        finally:
            os.close(lock)

    def _pid(lock: int) -> int | None:
        try:
            pid = int(os.pread(lock, _MOST_BYTES, 0))
        except (OSError, ValueError):
            return None
        return pid if pid > 0 else None
