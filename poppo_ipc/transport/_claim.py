"""Claiming the path of a Unix socket: of all who want it at most one gets it, and a living one never loses it.

The lock file is the truth. That something accepts a connection is a hint, needed against servers that use no lock; that
nothing does is a hint too, and only trusted by the holder of the lock.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what Windows lacks

from __future__ import annotations

import sys

assert sys.platform != "win32"

import errno
import os
import socket
import stat
import threading
import time
import zlib
from contextlib import ExitStack, suppress
from typing import Self

from attrs import frozen

from ..errors import AddressError, AddressInUse
from ._address import check_path_length, path_limit
from ._borders import BACKLOG_FULL
from ._directory import open_directory
from ._lock import holds, release_lock, take_lock
from ._peer import peer_credentials

__all__ = ["Claim", "Identity", "identity_of"]

Identity = tuple[int, int]
"""Device and inode number of a file."""

_LINUX = sys.platform == "linux"
# Outside Linux a full queue is refused with the same error as a dead socket, so one refusal proves little there:
# 5 in a row, 20 ms apart. On Linux the first one is proof.
_REFUSALS = 1 if _LINUX else 5
_REFUSAL_WAIT = 0.02
_UMASK = 0o177
# The umask belongs to the process, so two threads in the window below would leave each other's behind.
_umask_lock = threading.Lock()
# Linking a socket is refused by some file systems, and a staging name that does not fit cannot be bound.
_CANNOT_LINK = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


class Claim:
    """A path that is ours: its directory, the lock, and the listening socket.

    Let go by `unlink`, closing the socket, and `release`, in this order: while the socket is open its inode number
    cannot come to belong to another, and while the lock is held no other start can put its own socket there.
    """

    def __init__(
        self, path: str, backlog: int, directory: int, lock: int, sock: socket.socket, identity: Identity
    ) -> None:
        self.sock = sock
        self._path = path
        self._backlog = backlog
        self._directory = directory
        self._lock = lock
        self._identity = identity
        self._owner = os.getpid()
        self._released = False

    @classmethod
    def take(cls, path: str, backlog: int) -> Self:
        """Claim `path` and listen there. Raises as `poppo_ipc.transport.listen`; then nothing is held.

        Blocks for the few microseconds that local file system calls take, and a refused start for up to 100 ms.
        """
        check_path_length(path)
        name = os.path.basename(path)
        with ExitStack() as undo:
            directory = open_directory(os.path.dirname(path))
            undo.callback(os.close, directory)
            lock = take_lock(directory, f"{name}.lock", f"{path}.lock")
            undo.callback(release_lock, lock)
            sock, identity = _occupy(path, backlog, directory)
            undo.pop_all()
        return cls(path, backlog, directory, lock, sock, identity)

    def still_bound(self) -> bool:
        """Whether the path still leads to our socket."""
        # By the whole path, as clients go: the directory itself may have been replaced.
        return identity_of(self._path) == self._identity

    def heal(self) -> socket.socket | None:
        """Claim anew whatever was deleted of the lock file, the socket and the directory; freshen what was not.

        Returns the new listening socket if there had to be one: the caller takes what the old one, its own now, had in
        its queue, and closes it. Raises as `take`; then the claim is as it was.
        """
        if self.still_bound() and identity_of(f"{self._path}.lock") == _identity(os.fstat(self._lock)):
            self._freshen()  # needs no file descriptor: works during a shortage too
            return None
        name = os.path.basename(self._path)
        with ExitStack() as undo:
            directory = open_directory(os.path.dirname(self._path))
            undo.callback(os.close, directory)
            lock, sock, identity = self._lock, None, self._identity
            if not holds(lock, directory, f"{name}.lock"):
                lock = take_lock(directory, f"{name}.lock", f"{self._path}.lock")
                undo.callback(release_lock, lock)
            if not self.still_bound():
                sock, identity = _occupy(self._path, self._backlog, directory)
            undo.pop_all()
        replaced = {self._directory, self._lock} - {lock}
        self.sock, self._identity = sock or self.sock, identity
        self._directory, self._lock = directory, lock
        for fd in replaced:
            os.close(fd)
        self._freshen()
        return sock

    def _freshen(self) -> None:
        with suppress(FileNotFoundError):  # deleted in between: the next call's business
            os.utime(self._path, follow_symlinks=False)
        os.utime(self._lock)

    def unlink(self) -> None:
        """Delete the socket's path if it still leads to our socket, which must be open. A forked child deletes none."""
        name = os.path.basename(self._path)
        if os.getpid() == self._owner and _identity_at(self._directory, name) == self._identity:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._directory)

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._released:
            return
        self._released = True
        try:
            os.close(self._directory)
        finally:
            if os.getpid() == self._owner:
                release_lock(self._lock)
            else:
                os.close(self._lock)


def identity_of(path: str) -> Identity | None:
    """The identity of what is at `path`, not following a link there; None if nothing can be seen."""
    try:
        return _identity(os.lstat(path))
    except OSError:
        return None


def _identity_at(directory: int, name: str) -> Identity | None:
    try:
        return _identity(os.stat(name, dir_fd=directory, follow_symlinks=False))
    except OSError:
        return None


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _occupy(path: str, backlog: int, directory: int) -> tuple[socket.socket, Identity]:
    """With the lock held: clear the path of the dead and put a listening socket there."""
    name = os.path.basename(path)
    try:
        _clear(path, directory, name)
        staged = _stage(path, directory)
        if staged is not None:
            _clear(staged.target, directory, staged.name)  # left by an owner that was killed on the way
            done = _publish(staged, backlog, directory, name)
            if done is not None:
                return done
        return _bind_in_place(path, backlog, directory, name)
    except OSError as exc:
        error = _cannot_bind(path, exc)
        if error is exc:
            raise
        raise error from exc


def _clear(path: str, directory: int, name: str) -> None:
    """Delete a dead socket. Raises unless the path is free afterwards; then nothing was touched."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise AddressError(f"{path} is no socket, so it was not touched", remedy="move it away, or choose another path")
    if _is_dead(path) and _identity_at(directory, name) == _identity(status):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def _is_dead(path: str) -> bool:
    """Whether nobody can ever accept at the socket `path`. Raises AddressInUse unless that is certain."""
    for refusals in range(_REFUSALS):
        if refusals:
            time.sleep(_REFUSAL_WAIT)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except OSError as exc:
                if exc.errno == errno.ECONNREFUSED:
                    continue
                if exc.errno == errno.ENOENT:
                    return False  # it went away by itself
                if exc.errno in BACKLOG_FULL:
                    raise _alive(path, None, "its queue of clients is full") from exc
                raise _alive(path, None, f"it cannot be told whether it is alive: {exc.strerror}") from exc
            pid = None
            with suppress(OSError):
                pid = peer_credentials(probe).pid
            raise _alive(path, pid, "it accepts connections")
    return True


def _alive(path: str, pid: int | None, reason: str) -> AddressInUse:
    who = "A server that uses no lock file" if pid is None else f"Process {pid}"
    return AddressInUse(
        f"{who} has the socket {path} ({reason}), so it was not touched. Stop it first, or choose another address",
        pid=pid,
    )


@frozen
class _Staging:
    """The name that a socket is bound to first, in the same directory."""

    name: str
    target: str
    """A path to it that fits a socket's address."""


def _stage(path: str, directory: int) -> _Staging | None:
    """None if there is no way: then the limit on the final path would have to be lower than the system's."""
    where, name = os.path.split(path)
    # Tools that list sockets show for ever the path that was bound, so the one that tells people most comes first.
    readable = _Staging(f".{name}.new", os.path.join(where, f".{name}.new"))
    if len(os.fsencode(readable.target)) <= path_limit():
        return readable
    by_descriptor = f"/proc/self/fd/{directory}"
    if _LINUX and os.path.isdir(by_descriptor):
        short = f".poppo-{zlib.crc32(os.fsencode(name)):08x}"
        return _Staging(short, f"{by_descriptor}/{short}")
    return None


def _publish(staged: _Staging, backlog: int, directory: int, name: str) -> tuple[socket.socket, Identity] | None:
    """Listen under the staging name, then give the socket its real one, which cannot overwrite anything.

    So nobody ever finds a socket there that refuses. None if the file system links no sockets.
    """
    with ExitStack() as undo:
        sock = _bind(staged.target)
        undo.callback(sock.close)
        with ExitStack() as always:
            always.callback(os.unlink, staged.name, dir_fd=directory)
            identity = _identity(os.stat(staged.name, dir_fd=directory, follow_symlinks=False))
            sock.listen(backlog)
            try:
                os.link(staged.name, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
            except OSError as exc:
                if exc.errno not in _CANNOT_LINK:
                    raise
                return None
        undo.pop_all()
    return sock, identity


def _bind_in_place(path: str, backlog: int, directory: int, name: str) -> tuple[socket.socket, Identity]:
    """The second choice. Binding overwrites nothing either, but until it listens a client is refused."""
    with ExitStack() as undo:
        sock = _bind(path)
        undo.callback(sock.close)
        undo.callback(os.unlink, name, dir_fd=directory)
        identity = _identity(os.stat(name, dir_fd=directory, follow_symlinks=False))
        sock.listen(backlog)
        undo.pop_all()
    return sock, identity


def _bind(target: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The mode is right from the first moment: a chmod afterwards leaves a window, and one before the bind is
        # heeded by some kernels only. A file that another thread makes meanwhile comes out too private, never too
        # open.
        with _umask_lock:
            before = os.umask(_UMASK)
            try:
                sock.bind(target)
            finally:
                os.umask(before)
    except BaseException:
        sock.close()
        raise
    return sock


def _cannot_bind(path: str, exc: OSError) -> Exception:
    if exc.errno in (errno.EADDRINUSE, errno.EEXIST):
        return AddressInUse(f"Another server took {path} at the same moment: stop it, or choose another address")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ENOTSUP):
        return AddressError(
            f"No socket can be made at {path} ({exc.strerror})", remedy="choose a directory you may write to"
        )
    return exc
