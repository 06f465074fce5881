"""How a claimed path is bound: never with a mode over 0600, at any length, whatever the file system cannot do."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from poppo_ipc.errors import AddressError, AddressInUse
from poppo_ipc.transport import _claim, connect_blocking
from poppo_ipc.transport._address import path_limit
from poppo_ipc.transport._claim import Claim

from ._claims import claimed, linux_only, mode, plain_server, run

AUDIT = """
import os, socket, stat, sys
from poppo_ipc.transport._claim import Claim
bound = []
def umask():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1], 8) for line in status if line.startswith("Umask"))
def hook(event, args):
    if event == "socket.bind":
        bound.append(args[1])
        assert umask() == 0o177, oct(umask())
    elif event == "os.link":
        mode = os.stat(args[0], dir_fd=args[2]).st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, oct(mode)
        assert args[1] == "s" and bound
    elif event in ("os.chmod", "os.rename"):
        raise AssertionError(event)
os.umask(0)
sys.addaudithook(hook)
claim = Claim.take(sys.argv[1], 16)
assert umask() == 0
assert bound == [sys.argv[1].removesuffix("s") + ".s.new"], bound
assert stat.S_IMODE(os.lstat(sys.argv[1]).st_mode) == 0o600
print("fine")
"""


@linux_only
def test_the_mode_is_never_wider_than_0600(short_dir: Path) -> None:
    """The umask is looked at in the very call of bind, the mode in the very call of link; nothing calls chmod."""
    with run(AUDIT, short_dir / "s") as process:
        output, _ = process.communicate(timeout=30)
    assert output == "fine\n"


def test_the_umask_is_given_back_after_a_failure() -> None:
    before = os.umask(0o022)
    try:
        with pytest.raises(OSError, match="too long"):
            _claim._bind("/" + "x" * 200)
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


KILLED = """
import os, signal, sys
from poppo_ipc.transport._claim import Claim
moment = sys.argv[2]
def hook(event, args):
    if event == moment:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
Claim.take(sys.argv[1], 16)
"""


@pytest.mark.parametrize("moment", ["os.link", "os.remove"])
@pytest.mark.parametrize("long", [False, True])
def test_a_start_that_was_killed_half_way_is_cleaned_up(short_dir: Path, moment: str, long: bool) -> None:
    path = longest(short_dir) if long else short_dir / "s"
    with run(KILLED, path, moment) as process:
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    left = set(os.listdir(short_dir)) - {f"{path.name}.lock"}
    assert len(left) == (1 if moment == "os.link" else 2)
    with claimed(path):
        assert set(os.listdir(short_dir)) == {path.name, f"{path.name}.lock"}
        connect_blocking(path, 1).close()


def longest(directory: Path, over: int = 0) -> Path:
    return directory / ("x" * (path_limit() - len(os.fsencode(directory)) - 1 + over))


@pytest.mark.parametrize("shape", ["long-name", "deep"])
def test_the_longest_path_works_and_one_more_byte_does_not(short_dir: Path, shape: str) -> None:
    """The temporary name must not take from the length that users have."""
    if shape == "deep":
        room = path_limit() - len(os.fsencode(short_dir)) - len("//s")
        path = short_dir / ("d" * room) / "s"
        beyond = short_dir / ("d" * room) / "st"
    else:
        path, beyond = longest(short_dir), longest(short_dir, 1)
    assert len(os.fsencode(path)) == path_limit()
    with claimed(path):
        connect_blocking(path, 1).close()
        assert mode(path) == 0o600
    with pytest.raises(AddressError, match=f"{path_limit() + 1} bytes"):
        Claim.take(os.fspath(beyond), 16)
    assert sorted(os.listdir(path.parent)) == [f"{path.name}.lock"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_that_links_no_sockets(short_dir: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def link(*args: object, **options: object) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(os, "link", link)
    with claimed(short_dir / "s"):
        assert sorted(os.listdir(short_dir)) == ["s", "s.lock"]
        assert mode(short_dir / "s") == 0o600
        connect_blocking(short_dir / "s", 1).close()
    assert os.listdir(short_dir) == ["s.lock"]


def test_no_way_to_a_staging_name(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_claim, "_LINUX", False)
    path = longest(short_dir)
    with claimed(path):
        assert mode(path) == 0o600
        connect_blocking(path, 1).close()


def test_a_socket_that_appears_at_the_last_moment_is_not_overwritten(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = short_dir / "s"
    real = os.link
    rivals = []

    def link(*args: Any, **options: Any) -> None:
        rivals.append(plain_server(path))
        real(*args, **options)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(AddressInUse, match="at the same moment"):
        Claim.take(os.fspath(path), 16)
    connect_blocking(path, 1).close()
    assert sorted(os.listdir(short_dir)) == ["s", "s.lock"]
    rivals[0].close()
