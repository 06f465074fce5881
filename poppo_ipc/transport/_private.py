"""Files and directories that are their owner's alone, on every system."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

__all__ = ["create_private_file", "make_private_directory", "why_not_private"]

if sys.platform == "win32":
    from . import _private_windows

    def create_private_file(path: str) -> int:
        """Make a file for its owner alone, to be written; gives its descriptor. Raises FileExistsError, and OSError."""
        return _private_windows.create_private_file(path)

    def _make_directory(path: str) -> None:
        _private_windows.make_private_directory(path)

    def why_not_private(path: str, descriptor: int | None = None) -> str | None:
        """Why a file or directory is not its owner's alone, with what to do; None where it is. Raises OSError.

        Looks at what is open as `descriptor`, where that is given: `path` may name something else by now.
        """
        others = _private_windows.open_to_others(path if descriptor is None else descriptor)
        if others is None:
            return None
        rights = "(OI)(CI)F" if os.path.isdir(path) else "F"
        command = f'icacls "{path}" /inheritance:r /grant:r "%USERNAME%:{rights}" "*S-1-5-18:{rights}"'
        return f"is open to {others}; run: {command}"

else:

    def create_private_file(path: str) -> int:
        """Make a file for its owner alone, to be written; gives its descriptor. Raises FileExistsError, and OSError."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _make_directory(path: str) -> None:
        os.mkdir(path, 0o700)

    def why_not_private(path: str, descriptor: int | None = None) -> str | None:
        """Why a file or directory is not its owner's alone, with what to do; None where it is. Raises OSError.

        Looks at what is open as `descriptor`, where that is given: `path` may name something else by now.
        """
        status = os.stat(path if descriptor is None else descriptor)
        if status.st_uid not in (os.geteuid(), 0):
            return f"belongs to another user (uid {status.st_uid}); it has to be this user's: choose another"
        if status.st_mode & 0o077:
            mode = "700" if stat.S_ISDIR(status.st_mode) else "600"
            return f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod {mode} {path}"
        return None


def make_private_directory(path: str) -> None:
    """Make a directory for its owner alone, where there is none; its parents as they come. Raises OSError."""
    if os.path.isdir(path):
        return
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with suppress(FileExistsError):
        _make_directory(path)
    if not os.path.isdir(path):
        raise NotADirectoryError(None, "Not a directory", path)
