"""The directory of a socket: made private where it is ours alone, left alone where it is not, refused where unsafe."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import stat
from pathlib import Path

import pytest

from poppo_ipc.errors import AddressError
from poppo_ipc.transport import _directory
from poppo_ipc.transport._directory import open_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check(path: Path) -> None:
    fd = open_directory(os.fspath(path))
    try:
        assert os.path.samestat(os.fstat(fd), path.stat())
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_all_that_is_missing_is_made_private(short_dir: Path) -> None:
    before = os.umask(0)
    try:
        check(short_dir / "a" / "b")
    finally:
        os.umask(before)
    assert mode(short_dir / "a") == mode(short_dir / "a" / "b") == 0o700


@pytest.mark.parametrize("before", [0o755, 0o777, 0o770, 0o711, 0o700])
def test_our_own_is_made_private(short_dir: Path, before: int) -> None:
    os.chmod(short_dir, before)
    check(short_dir)
    assert mode(short_dir) == 0o700


def test_a_link_leads_to_what_is_judged(short_dir: Path) -> None:
    real = short_dir / "real"
    real.mkdir()
    os.chmod(real, 0o755)
    (short_dir / "link").symlink_to(real)
    check(short_dir / "link")
    assert mode(real) == 0o700


def test_a_sticky_directory_is_left_alone(short_dir: Path) -> None:
    os.chmod(short_dir, 0o1777)
    check(short_dir)
    assert mode(short_dir) == 0o1777


@pytest.mark.parametrize("before", [0o755, 0o711])
def test_a_home_is_left_alone(short_dir: Path, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    monkeypatch.setenv("HOME", os.fspath(short_dir))
    os.chmod(short_dir, before)
    check(short_dir)
    assert mode(short_dir) == before


def test_a_home_that_others_write_to_is_refused(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", os.fspath(short_dir))
    os.chmod(short_dir, 0o775)
    with pytest.raises(AddressError, match="Others may replace files"):
        check(short_dir)
    assert mode(short_dir) == 0o775


@pytest.mark.parametrize("path", ["/", "/tmp", "/var", "/etc", "/usr", "/dev", "/proc"])
def test_places_of_the_system_are_shared(path: str) -> None:
    """Only looked at: a bug here must not shut the machine that runs the tests."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert _directory._is_shared(fd, os.fstat(fd))
    finally:
        os.close(fd)


def test_a_directory_of_ours_is_not_shared(short_dir: Path) -> None:
    fd = os.open(short_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert not _directory._is_shared(fd, os.fstat(fd))
    finally:
        os.close(fd)


@as_root
def test_another_users_is_refused_by_name(short_dir: Path) -> None:
    os.chown(short_dir, 65534, -1)
    with pytest.raises(AddressError, match=r"belongs to .*uid 65534"):
        check(short_dir)
    os.chmod(short_dir, 0o1777)
    with pytest.raises(AddressError, match="belongs to"):
        check(short_dir)


@pytest.mark.parametrize("before", [0o755, 0o770])
def test_roots_is_left_alone(short_dir: Path, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    os.chmod(short_dir, before)
    pretend_root_owns(short_dir, monkeypatch)
    check(short_dir)
    assert mode(short_dir) == before


def test_roots_that_anyone_writes_to_is_refused(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chmod(short_dir, 0o777)
    pretend_root_owns(short_dir, monkeypatch)
    with pytest.raises(AddressError, match="Others may replace files"):
        check(short_dir)


def pretend_root_owns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the code see us as user 4711 and `path` as root's, which it is if we are root."""
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        status = list(real(fd))
        status[stat.ST_UID] = 0
        return os.stat_result(status)

    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "fstat", fstat)
    monkeypatch.setattr(os.path, "samestat", lambda one, other: True)


def test_a_file_system_that_keeps_no_modes(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chmod(short_dir, 0o777)
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: None)
    with pytest.raises(AddressError, match="Others may replace files"):
        check(short_dir)
    os.chmod(short_dir, 0o755)
    check(short_dir)


def test_what_is_no_directory(short_dir: Path) -> None:
    (short_dir / "file").touch()
    (short_dir / "dangling").symlink_to("nowhere")
    for path in ("file", "file/below", "dangling"):
        with pytest.raises(AddressError, match=path.split("/")[0]):
            open_directory(f"{short_dir}/{path}")
