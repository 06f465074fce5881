"""Where a daemon listens, as a value: parsed from text, printed in one canonical form, checked before it is used."""

from __future__ import annotations

import enum
import os
import re
import sys
from collections.abc import Mapping
from string import ascii_uppercase

from attrs import frozen

from ..errors import AddressError

__all__ = ["PIPE_PREFIX", "SOCKET_VARIABLE", "Address", "AddressKind", "check_path_length", "path_limit"]

SOCKET_VARIABLE = "POPPO_SOCKET"
_FORMS = r"write unix:/path or a bare path, npipe:NAME or \\.\pipe\NAME, or memory:NAME"
_DEFAULT = "npipe:poppobuilder-daemon" if sys.platform == "win32" else "~/.poppobuilder/daemon.sock"
PIPE_PREFIX = "\\\\.\\pipe\\"
# Windows refuses a pipe path of more than 256 characters, prefix included.
_PIPE_NAME_LIMIT = 256 - len(PIPE_PREFIX)
_PIPE_NAME = re.compile(rf"[^\\/]{{1,{_PIPE_NAME_LIMIT}}}")
_SMALL_LETTERS = {ord(letter): letter.lower() for letter in ascii_uppercase}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_REMOTE_PIPE = re.compile(r"\\\\[^\\]+\\pipe\\", re.IGNORECASE)


class AddressKind(enum.Enum):
    """The means of transport; the value is the scheme that a written address begins with."""

    UNIX = "unix"
    PIPE = "npipe"
    MEMORY = "memory"


@frozen
class Address:
    """Where a daemon listens. Two addresses are equal when they are written the same in canonical form.

    Symbolic links are not resolved, so two equal places may have unequal addresses. Windows does not tell the case of a
    pipe's name, so its ASCII letters are small ones in canonical form; of other letters nobody should have two cases.
    """

    kind: AddressKind
    """The means of transport."""

    name: str
    """An absolute path (UNIX), the pipe's name without its prefix (PIPE), or a name within one event loop (MEMORY)."""

    def __attrs_post_init__(self) -> None:
        if not self.name.strip():
            raise AddressError("An address is empty", remedy=_FORMS)
        if "\0" in self.name:
            raise AddressError(
                f"{self.name!r} holds a NUL character, and abstract sockets are not supported", remedy=_FORMS
            )
        if self.kind is AddressKind.UNIX:
            _check_path(self.name)
        elif self.kind is AddressKind.PIPE:
            if not _PIPE_NAME.fullmatch(self.name):
                raise AddressError(
                    f"The pipe name {self.name!r} holds a slash or more than {_PIPE_NAME_LIMIT} characters",
                    remedy=_FORMS,
                )
            object.__setattr__(self, "name", self.name.translate(_SMALL_LETTERS))

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"

    @classmethod
    def parse(cls, text: str | os.PathLike[str] | Address) -> Address:
        r"""The address that `text` names.

        A path object is always a path. Text is `unix:/path`, `npipe:NAME`, `\\.\pipe\NAME`, `memory:NAME`, or else a
        bare path; on Windows it may name a pipe with slashes the other way as well. In paths a leading `~` is expanded
        and a relative path is taken from the working directory of now; `..` is left as it is, because only the file
        system knows where it leads behind a symbolic link.

        Raises AddressError for text that names nothing of these. Whether a path is too long for a socket is told by
        `check_path_length`, when it is used.
        """
        if isinstance(text, Address):
            return text
        if not isinstance(text, str):
            path = os.fspath(text)
            if not isinstance(path, str):
                raise AddressError(f"The path {path!r} is bytes, and an address is text", remedy=_FORMS)
            return cls(AddressKind.UNIX, _absolute(path))
        if not text.strip():
            raise AddressError("An address is empty", remedy=_FORMS)
        scheme, colon, rest = text.partition(":")
        if colon and scheme == AddressKind.UNIX.value:
            return cls(AddressKind.UNIX, _absolute(rest))
        if colon and scheme == AddressKind.MEMORY.value:
            return cls(AddressKind.MEMORY, rest)
        if colon and scheme == AddressKind.PIPE.value:
            # Docker writes npipe:////./pipe/NAME, and that is what people have at hand.
            if rest.startswith("////"):
                rest = rest[2:].replace("/", "\\")
            return cls(AddressKind.PIPE, _pipe_name(rest))
        if _with_backslashes(text)[: len(PIPE_PREFIX)].lower() == PIPE_PREFIX:
            text = _with_backslashes(text)
            return cls(AddressKind.PIPE, _pipe_name(text))
        if _REMOTE_PIPE.match(text):
            raise AddressError(f"{text!r} is a pipe of another machine, which is not supported", remedy=_FORMS)
        if url := _URL.match(text):
            # A bare path never needs "://", and a directory named "tcp:" is not what the writer had in mind.
            raise AddressError(f"{url[1]!r} in {text!r} is no known scheme", remedy=_FORMS)
        return cls(AddressKind.UNIX, _absolute(text))

    @classmethod
    def default(cls, environ: Mapping[str, str] | None = None) -> Address:
        r"""The address used where none is given.

        That of the variable `POPPO_SOCKET` in `environ` (of this process unless given) if it is set and not empty,
        else `~/.poppobuilder/daemon.sock`, on Windows `\\.\pipe\poppobuilder-daemon`.

        Raises AddressError if the variable's text is no address.
        """
        chosen = (os.environ if environ is None else environ).get(SOCKET_VARIABLE)
        if chosen:
            return cls.parse(chosen)
        return cls.parse(_DEFAULT)


def _absolute(text: str) -> str:
    if not text.strip():
        raise AddressError("An address has an empty path", remedy=_FORMS)
    path = text
    if text.startswith("~"):
        path = os.path.expanduser(text)
        if path.startswith("~"):
            raise AddressError(f"No home directory is known for the start of {text!r}", remedy="write the whole path")
    if os.name == "nt":
        return os.path.abspath(path)
    if not path.startswith("/"):
        try:
            path = f"{os.getcwd()}/{path}"
        except FileNotFoundError:
            raise AddressError(
                f"The path {text!r} is relative and the working directory is gone", remedy="write the whole path"
            ) from None
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _with_backslashes(text: str) -> str:
    # What Windows takes for the same; to Unix these are paths.
    return text.replace("/", "\\") if sys.platform == "win32" else text


def _pipe_name(text: str) -> str:
    return text[len(PIPE_PREFIX) :] if text[: len(PIPE_PREFIX)].lower() == PIPE_PREFIX else text


def _check_path(path: str) -> None:
    if not os.path.isabs(path) or path == os.path.dirname(path):
        raise AddressError(f"{path!r} is not the absolute path of a socket", remedy=_FORMS)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise AddressError(f"The path {path!r} cannot be written in this system's encoding") from None


def path_limit(platform: str = sys.platform) -> int:
    """The most bytes that the path of a Unix socket may have on `platform`, a value of `sys.platform`.

    The kernel's field has 108 bytes on Linux and 104 on macOS and the BSDs, of which one is for the final NUL.
    """
    return 103 if platform.startswith(("darwin", "freebsd", "openbsd", "netbsd", "dragonfly")) else 107


def check_path_length(path: str | os.PathLike[str]) -> None:
    """Raise AddressError unless `path`, in the bytes of the file system's encoding, fits a Unix socket's address.

    Too long a path is otherwise refused by some systems and silently cut by others.
    """
    length, limit = len(os.fsencode(path)), path_limit()
    if length > limit:
        raise AddressError(
            f"The socket path {os.fspath(path)} is {length} bytes long, and {limit} is the most that this system takes",
            remedy=f"choose a shorter path, or set {SOCKET_VARIABLE} to one",
        )
