"""Where a program in the background writes: a file of its own, or a pipe for as long as it starts."""

from __future__ import annotations

import os
import sys
from typing import Final, Protocol

if sys.platform == "win32":
    from poppo_ipc.client._read_windows import never_blocking, read_now
else:
    from poppo_ipc.client._read_unix import never_blocking, read_now

__all__ = ["LAST_BYTE", "LogFile", "Output", "Pipe"]

#: What a program says to the pipe last, before it lets go of it: somebody else may have inherited its end.
LAST_BYTE: Final = b"\0"

_TAIL_BYTES: Final = 16 * 1024
#: What a log of a daemon's stray output grows to before the next start begins it anew.
_LOG_BYTES: Final = 1024 * 1024
_LOG_FLAGS: Final = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_APPEND
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOINHERIT", 0)
    | getattr(os, "O_BINARY", 0)
)


class Output(Protocol):
    """Where a child's stdout and stderr go."""

    fd: int

    @property
    def released(self) -> bool:
        """Whether the child does not need us for its output any more."""

    def begun(self) -> None:
        """The child has `fd`."""

    def text(self) -> str:
        """The end of what it has said so far."""

    def close(self) -> None:
        """Read no more. Idempotent."""


class LogFile:
    """A file that the child writes to for as long as it lives. Raises OSError where there can be none."""

    released = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.fd = os.open(path, _LOG_FLAGS, 0o600)
        if os.fstat(self.fd).st_size > _LOG_BYTES:
            os.ftruncate(self.fd, 0)
        # On Windows a child is handed the position, and no O_APPEND.
        self._from = os.lseek(self.fd, 0, os.SEEK_END)
        self._path = path

    def begun(self) -> None:
        """Nothing to do: both ends are ours to keep."""

    def text(self) -> str:
        """The end of what was written since this was made."""
        start = max(self._from, os.fstat(self.fd).st_size - _TAIL_BYTES)
        with open(self._path, "rb") as file:
            file.seek(start)
            return _decoded(file.read(_TAIL_BYTES))

    def close(self) -> None:
        """Close our end."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Pipe:
    """A pipe that the child writes to while it starts, and lets go of when it is ready."""

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()
        never_blocking(self._read)
        self._data = b""
        self._over = False

    @property
    def released(self) -> bool:
        """Whether it has said its last byte, or nobody can write any more."""
        self._pump()
        return self._over

    def begun(self) -> None:
        """Close the end that is the child's."""
        os.close(self.fd)
        self.fd = -1

    def text(self) -> str:
        """What was written."""
        self._pump()
        return _decoded(self._data)

    def close(self) -> None:
        """Close our end."""
        for fd in (self.fd, self._read):
            if fd >= 0:
                os.close(fd)
        self.fd = self._read = -1

    def _pump(self) -> None:
        while not self._over and self._read >= 0:
            data = read_now(self._read, _TAIL_BYTES)
            if data is None:
                return
            data, last, _ = data.partition(LAST_BYTE)
            self._over = bool(last) or not data
            self._data = (self._data + data)[-_TAIL_BYTES:]


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n")
