"""The token from the environment."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from poppo_ipc.errors import AuthenticationError

__all__ = ["FILE_VARIABLE", "TOKEN_VARIABLE", "token_from_environment"]

TOKEN_VARIABLE = "POPPO_TOKEN"
FILE_VARIABLE = "POPPO_TOKEN_FILE"
_OTHER = f"set {FILE_VARIABLE} to the daemon's token file"
_NEW = "make one with poppo-ipc token new"
_MAX_BYTES = 64 * 1024  # far over any token; bounds what is read where the variable names the wrong file


def token_from_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """The token that `POPPO_TOKEN` holds, or else the file that `POPPO_TOKEN_FILE` names; None where neither is set.

    White space around the token in the file is no part of it. The file has to belong to this user (or root) and be
    closed to others, since whoever reads it can do what its owner can.

    Raises:
        AuthenticationError: the file cannot be read, is open to others, or holds no token. The message says what to do
            and never holds the token.
    """
    environ = os.environ if environ is None else environ
    token = environ.get(TOKEN_VARIABLE)
    if token:
        return token
    path = environ.get(FILE_VARIABLE)
    return _read(os.path.expanduser(path)) if path else None


def _read(path: str) -> str:
    try:
        # O_NONBLOCK: a pipe by that name must not hang the program before it can say anything.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    try:
        # What was opened, not of what the path names by now.
        _check(path, fd)
        data = os.read(fd, _MAX_BYTES)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    finally:
        os.close(fd)
    try:
        token = data.decode().strip()
    except UnicodeDecodeError:
        raise _unusable(f"The token file {path} is not UTF-8 text", path, f"{_OTHER}, or {_NEW} --force") from None
    if not token:
        raise _unusable(f"The token file {path} is empty", path, f"{_OTHER}, or {_NEW} --force")
    return token


def _check(path: str, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise _unusable(f"The token file {path} is not a regular file", path, _OTHER)
    # Loaded here: few programs have a token file, and they are to start fast.
    from poppo_ipc.transport._private import why_not_private

    problem = why_not_private(path, descriptor)
    if problem is not None:
        raise _unusable(f"The token file {path} {problem}, and change the token if others may have read it", path)


def _unreadable(path: str, exc: OSError) -> AuthenticationError:
    remedy = f"{_OTHER}, or {_NEW}" if isinstance(exc, FileNotFoundError) else _OTHER
    return _unusable(f"Cannot read the token file {path}: {exc.strerror}", path, remedy)


def _unusable(what: str, path: str, remedy: str = "") -> AuthenticationError:
    return AuthenticationError(what, remedy=remedy, token_file=path)
