"""A claim whose files were deleted is made whole again, or says that another has it."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from poppo_ipc.errors import AddressInUse
from poppo_ipc.transport import connect_blocking
from poppo_ipc.transport._claim import Claim

from ._claims import claimed, plain_server


def lose_both(path: Path) -> None:
    path.unlink()
    Path(f"{path}.lock").unlink()


def lose_directory(path: Path) -> None:
    lose_both(path)
    path.parent.rmdir()


def lose_to_a_dead_socket(path: Path) -> None:
    path.unlink()
    plain_server(path).close()


LOSSES: dict[str, Callable[[Path], None]] = {
    "socket": Path.unlink,
    "both": lose_both,
    "directory": lose_directory,
    "replaced": lose_to_a_dead_socket,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_was_deleted_is_made_again(short_dir: Path, loss: str) -> None:
    path = short_dir / "d" / "s"
    with claimed(path) as claim:
        old = claim.sock
        LOSSES[loss](path)
        assert not claim.still_bound()
        fresh = claim.heal()
        assert fresh is claim.sock is not old
        old.close()
        assert claim.still_bound()
        connect_blocking(path, 1).close()
        with pytest.raises(AddressInUse):
            Claim.take(os.fspath(path), 16)
    assert os.listdir(path.parent) == ["s.lock"]


def test_a_lost_lock_file_costs_no_socket(short_dir: Path) -> None:
    path = short_dir / "s"
    with claimed(path) as claim:
        os.unlink(f"{path}.lock")
        os.utime(path, (1, 1))
        assert claim.heal() is None
        assert os.lstat(path).st_mtime > 1
        assert (short_dir / "s.lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(AddressInUse, match="holds"):
            Claim.take(os.fspath(path), 16)


def test_healing_freshens_what_is_well(short_dir: Path) -> None:
    with claimed(short_dir / "s") as claim:
        for name in ("s", "s.lock"):
            os.utime(short_dir / name, (1, 1))
        assert claim.heal() is None
        assert all(os.lstat(short_dir / name).st_mtime > 1 for name in ("s", "s.lock"))


def test_an_address_that_was_taken_over_is_not_taken_back(short_dir: Path) -> None:
    path = short_dir / "s"
    with claimed(path) as claim:
        os.unlink(path)
        with plain_server(path):
            for _ in range(2):
                with pytest.raises(AddressInUse):
                    claim.heal()
            connect_blocking(path, 1).close()
        with claim.sock:  # the old one
            assert claim.heal() is not None


def test_healing_leaks_nothing(short_dir: Path) -> None:
    with claimed(short_dir / "d" / "s") as claim:
        before = len(os.listdir("/dev/fd"))
        for loss in LOSSES.values():
            old = claim.sock
            loss(short_dir / "d" / "s")
            assert claim.heal()
            old.close()
        assert len(os.listdir("/dev/fd")) == before
