"""The directory that a socket lives in: made, made private, or refused."""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import errno
import logging
import os
import stat

from ..errors import AddressError
from ._borders import user_name

__all__ = ["open_directory"]

logger = logging.getLogger(__name__)

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
# Places that others need, which root owns and might be told to put a socket into. A system without one of them has
# no harm from its name being here.
# fmt: off
_SYSTEM = (
    "/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/private",
    "/private/tmp", "/private/var", "/root", "/run", "/run/lock", "/run/user", "/sbin", "/srv", "/sys", "/tmp", "/usr",
    "/usr/local", "/var", "/var/lib", "/var/lock", "/var/log", "/var/run", "/var/tmp",
)
# fmt: on


def open_directory(path: str) -> int:
    """Open the directory `path` for a socket of ours and return its file descriptor; make it private if it is ours.

    Missing directories are made, with mode 0700. One that we own is set to 0700, unless it is shared by nature: a
    sticky one, a mount point, one of the system's, somebody's home. Such a one is left as it is, and so is one that
    root owns.

    Symbolic links are followed, and what is judged and changed is the directory at their end, held open so that no
    link can be moved between the look and the use.

    Raises AddressError if there is no such directory and none can be made, if it belongs to another user than us or
    root, or if anyone may replace files in it.
    """
    _make(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise AddressError(f"The directory {path} for the socket cannot be opened: {exc.strerror}") from exc
    try:
        _secure(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make(path: str) -> None:
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        try:
            os.mkdir(each, 0o700)  # not makedirs: it would give the parents whatever mode the umask leaves
        except FileExistsError:
            pass  # another starter was quicker; what it made is judged like any other
        except OSError as exc:
            raise AddressError(
                f"The directory {each} for the socket cannot be made: {exc.strerror}; make it, or choose another path"
            ) from exc


def _secure(fd: int, path: str) -> None:
    status = os.fstat(fd)
    own = os.geteuid()
    if status.st_uid not in (own, 0):
        raise AddressError(
            f"The directory {path} belongs to {user_name(status.st_uid)}, who could replace the socket",
            remedy=f"choose a directory of {user_name(own)}",
        )
    if status.st_mode & stat.S_ISVTX:
        return  # in a sticky directory others cannot replace what is ours
    if status.st_uid != own and not status.st_mode & stat.S_IWOTH:
        return  # root decides which groups may write there
    if status.st_uid == own and status.st_mode & 0o077 and not _is_shared(fd, status):
        try:
            os.fchmod(fd, 0o700)
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.EROFS, errno.ENOTSUP):
                raise
        else:
            logger.info("made %s private: its mode was %o and is 700", path, stat.S_IMODE(status.st_mode))
        status = os.fstat(fd)  # some file systems agree and change nothing
    if status.st_mode & _OTHERS_WRITE:
        raise AddressError(
            f"Others may replace files in {path} (mode {stat.S_IMODE(status.st_mode):o})",
            remedy="choose a directory of your own below it for the socket",
        )


def _is_shared(fd: int, status: os.stat_result) -> bool:
    return _is_mount_point(fd, status) or any(
        _is_at(place, status) for place in (*_SYSTEM, os.path.expanduser("~"), *_homes(status.st_uid))
    )


def _is_mount_point(fd: int, status: os.stat_result) -> bool:
    try:
        parent = os.stat("..", dir_fd=fd)
    except OSError:
        return False
    return parent.st_dev != status.st_dev or parent.st_ino == status.st_ino


def _is_at(place: str, status: os.stat_result) -> bool:
    try:
        there = os.stat(place)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)


def _homes(uid: int) -> list[str]:
    import pwd

    try:
        return [pwd.getpwuid(uid).pw_dir]
    except KeyError:
        return []
