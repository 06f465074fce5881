"""What the doctor sees without a word to the daemon: the address, the directory, the socket, the lock, the token."""

from __future__ import annotations

import os
import stat
import sys

from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._doctor_check import Check
from poppo_ipc.cli._failures import HOW_TO_START
from poppo_ipc.cli._tokens import token_source
from poppo_ipc.client._beside import beside
from poppo_ipc.errors import AddressError, AuthenticationError
from poppo_ipc.transport import Address, AddressKind, check_path_length
from poppo_ipc.transport._borders import user_name
from poppo_ipc.transport._lock_holder import lock_holder

__all__ = ["check_place"]


def check_place(invocation: Invocation) -> tuple[list[Check], Address | None]:
    """The checks, and the address; None where that cannot be used."""
    try:
        address = invocation.address()
        if address.kind is AddressKind.UNIX:
            check_path_length(address.name)
    except AddressError as error:
        return [Check("address", False, error.what, error.remedy), _token(invocation)], None
    source = "--socket" if invocation.socket else "POPPO_SOCKET" if os.environ.get("POPPO_SOCKET") else "the default"
    checks = [Check("address", True, f"{address} ({source})", facts={"address": str(address)})]
    if address.kind is AddressKind.UNIX:
        path = address.name
        checks += [_directory(os.path.dirname(path)), _socket(path)]
    if address.kind is not AddressKind.MEMORY:
        checks.append(_lock(beside(address, ".lock")))
    return [*checks, _token(invocation)], address


def _directory(path: str) -> Check:
    try:
        status = os.stat(path)
    except OSError as error:
        todo = f"{HOW_TO_START}; that makes the directory" if isinstance(error, FileNotFoundError) else ""
        return Check("directory", False, f"{path}: {error.strerror}", todo or "Name a directory that you may enter")
    mode = stat.S_IMODE(status.st_mode)
    about = f"{path}, mode {mode:04o}, of {user_name(status.st_uid)}"
    if not stat.S_ISDIR(status.st_mode):
        return Check("directory", False, f"{path} is no directory", "Name another place with --socket or POPPO_SOCKET")
    if not _is_trusted(status):
        return Check("directory", False, about, "Use a directory of your own: its owner could replace the socket")
    if mode & 0o022 and not mode & stat.S_ISVTX:
        return Check("directory", False, f"{about}: others may replace the socket", f"Run: chmod go-w {path}")
    return Check("directory", True, about)


def _is_trusted(status: os.stat_result) -> bool:
    # Python has no Unix sockets on Windows, so nothing there is looked at this way.
    return sys.platform == "win32" or status.st_uid in (os.geteuid(), 0)


def _socket(path: str) -> Check:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return Check("socket", False, f"there is none at {path}", HOW_TO_START)
    except OSError as error:
        return Check("socket", False, f"{path}: {error.strerror}", "Name a place that you may enter")
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISSOCK(status.st_mode):
        return Check("socket", False, f"{path} is no socket", "Move that away, or name another place with --socket")
    if not _is_trusted(status):
        about = f"it belongs to {user_name(status.st_uid)}"
        return Check("socket", False, about, "Run as that user, or start a daemon of your own")
    if mode & 0o077:
        return Check("socket", False, f"others may connect to it (mode {mode:04o})", f"Run: chmod 600 {path}")
    return Check("socket", True, f"mode {mode:04o}, of {user_name(status.st_uid)}")


def _lock(path: str) -> Check:
    held, pid = lock_holder(path)
    facts = {"pid": pid}
    if not os.path.lexists(path):
        return Check("lock", None, "there is no lock file: no daemon of this kit has been here", facts=facts)
    if held is None:
        return Check("lock", None, f"{path} cannot be read", facts=facts)
    if not held:
        return Check("lock", None, "nobody holds it: no daemon of this kit runs here", facts=facts)
    if pid is None:
        return Check("lock", True, "held by a process that has not said its number yet", facts=facts)
    return Check("lock", True, f"held by process {pid}{_program(pid)}", facts=facts)


def _program(pid: int) -> str:
    if sys.platform != "linux":
        return ""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).decode("utf-8", "replace").split("\0")
    except OSError:
        return ""
    return f" ({' '.join(words[:4]).strip()})" if any(words) else ""


def _token(invocation: Invocation) -> Check:
    source = token_source(invocation)
    facts = {"source": source or None}
    try:
        token = invocation.token()
    except AuthenticationError as error:
        return Check("token", False, error.what, "Put that right", facts)
    if token is None:
        return Check("token", None, "there is none; a daemon with --no-auth needs none", facts=facts)
    return Check("token", True, f"from {source}", facts=facts)
