"""The lock file beside a socket: who holds it owns the address.

The file stays when its owner ends. To delete a lock file is a race that cannot be won without a second lock, and an
empty file harms nobody. Should something else delete it, a later owner makes a new one and finds the first owner by
its socket.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress

from ..errors import AddressError, AddressInUse
from ._borders import user_name

__all__ = ["holds", "release_lock", "take_lock"]

_MODE = 0o600
# A pid and a newline are all that we ever write; 32 bytes leave room for any pid.
_MOST_BYTES = 32
# An owner writes its pid right after it has the lock, and until then the file is empty or has the pid of the one
# before. A start that is refused anyway can wait a moment to name the right one: 10 tries, 10 ms apart.
_PID_TRIES = 10
_PID_WAIT = 0.01


def take_lock(directory: int, name: str, path: str) -> int:
    """Lock the file `name` in the open `directory`, write our pid into it, return its file descriptor.

    The lock belongs to the open file: it ends with `release_lock` or with this process, however that dies. A child
    made by `os.fork` without exec shares it and keeps it alive. `path` is the whole path, for messages.

    Raises AddressInUse with the owner's pid if it is locked, AddressError if there can be no lock file.
    """
    while True:
        fd = _open(directory, name, path)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _in_use(fd, path) from None
            except OSError as exc:
                raise AddressError(
                    f"{path} cannot be locked ({exc.strerror})", remedy="choose a directory on a local file system"
                ) from exc
            if holds(fd, directory, name):
                _write_pid(fd)
                return fd
        except BaseException:
            os.close(fd)
            raise
        # The file was deleted or replaced between the opening and the locking: what we have locked nobody will look
        # at. This comes round again only if somebody deletes it again.
        os.close(fd)


def holds(fd: int, directory: int, name: str) -> bool:
    """Whether the open lock file is still the one that others find under its name."""
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    ours = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def release_lock(fd: int) -> None:
    """Give the lock back, and take our pid out of the file first."""
    try:
        with suppress(OSError):
            os.ftruncate(fd, 0)
        # Closing alone would leave the lock to a forked child that shares the file.
        fcntl.flock(fd, fcntl.LOCK_UN)
    finally:
        os.close(fd)


def _open(directory: int, name: str, path: str) -> int:
    # O_NONBLOCK: if somebody put a FIFO there, opening it must not wait for its other end.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, _MODE, dir_fd=directory)
    except OSError as exc:
        if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT):
            raise
        why, remedy = _why(directory, name, exc)
        raise AddressError(f"The lock file {path} cannot be opened{why}", remedy=remedy) from exc
    status = os.fstat(fd)
    # What is written below must never land in something else that has this name, be it by chance or by a hard link.
    ours = status.st_uid == os.geteuid() and status.st_nlink <= 1 and status.st_size <= _MOST_BYTES
    if not stat.S_ISREG(status.st_mode) or not ours:
        os.close(fd)
        raise AddressError(
            f"{path}, owned by {user_name(status.st_uid)}, is no lock file of ours",
            remedy="choose another path for the socket",
        )
    return fd


def _why(directory: int, name: str, exc: OSError) -> tuple[str, str]:
    try:
        owner = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return f" ({exc.strerror})", "choose a directory that you may write to"
    if stat.S_ISLNK(owner.st_mode):
        return ", it is a symbolic link", "remove that, or choose another path"
    return f" ({exc.strerror}); it belongs to {user_name(owner.st_uid)}", "choose another path"


def _write_pid(fd: int) -> None:
    # On a full disk the lock holds all the same; only the pid in somebody's error message is lost.
    with suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)


def _in_use(fd: int, path: str) -> AddressInUse:
    pid = _live_pid(fd)
    for _ in range(_PID_TRIES):
        if pid is not None:
            break
        time.sleep(_PID_WAIT)
        pid = _live_pid(fd)
    who = "another process" if pid is None else f"process {pid}"
    return AddressInUse(
        f"A daemon runs there already: {who} holds {path}. Stop it first, or choose another address", pid=pid
    )


def _live_pid(fd: int) -> int | None:
    try:
        pid = int(os.pread(fd, _MOST_BYTES, 0))
        if pid <= 0:
            return None
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (ValueError, OverflowError, ProcessLookupError):
        return None
    return pid
