"""Claiming a path: at most one owner, no living socket lost, no dead one in the way, nothing of others deleted."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import fcntl
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from poppo_ipc.errors import AddressError, AddressInUse
from poppo_ipc.transport import _lock, connect_blocking
from poppo_ipc.transport._claim import Claim

from ._claims import claimed, close, linux_only, mode, plain_server, run


def test_the_files_of_a_claim(short_dir: Path) -> None:
    path = short_dir / "s"
    with claimed(path) as claim:
        assert claim.still_bound()
        assert sorted(os.listdir(short_dir)) == ["s", "s.lock"]
        assert mode(path) == mode(f"{path}.lock") == 0o600
        assert (short_dir / "s.lock").read_text() == f"{os.getpid()}\n"
        connect_blocking(path, 1).close()
        assert not claim.sock.get_inheritable()
    assert os.listdir(short_dir) == ["s.lock"]
    assert (short_dir / "s.lock").read_text() == ""
    with claimed(path):
        pass


def test_a_claim_leaves_no_descriptor_open(short_dir: Path) -> None:
    before = os.listdir("/dev/fd")
    with claimed(short_dir / "s"), pytest.raises(AddressInUse):
        Claim.take(f"{short_dir}/s", 1)
    (short_dir / "t").touch()
    with pytest.raises(AddressError):
        Claim.take(f"{short_dir}/t", 1)
    assert os.listdir("/dev/fd") == before


# -- who gets it -------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from poppo_ipc.transport._claim import Claim
claim = Claim.take(sys.argv[1], 16)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_second_start_is_refused_and_told_the_pid(short_dir: Path) -> None:
    path = short_dir / "s"
    with run(HOLDER, path, stdin=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        before = os.lstat(path)
        with pytest.raises(AddressInUse, match=rf"process {holder.pid} holds .*/s\.lock.*Stop it first") as caught:
            Claim.take(os.fspath(path), 16)
        assert caught.value.pid == holder.pid
        assert os.lstat(path) == before
        connect_blocking(path, 1).close()
        holder.send_signal(signal.SIGKILL)
    assert path.exists(), "a killed owner leaves its socket"
    with claimed(path):
        connect_blocking(path, 1).close()


def test_the_same_process_is_refused_too(short_dir: Path) -> None:
    with claimed(short_dir / "s"), pytest.raises(AddressInUse) as caught:
        Claim.take(f"{short_dir}/s", 16)
    assert caught.value.pid == os.getpid()


RACE = """
import json, os, sys
from poppo_ipc.errors import AddressInUse
from poppo_ipc.transport._claim import Claim
starters = int(sys.argv[2])
gate, go = os.pipe()
report, tell = os.pipe()
hold, end = os.pipe()
for _ in range(starters):
    if os.fork() == 0:
        os.close(go)
        os.close(end)
        os.read(gate, 1)
        try:
            Claim.take(sys.argv[1], 16)
        except AddressInUse as exc:
            os.write(tell, f"lost {exc.pid}\\n".encode())
        except BaseException as exc:
            os.write(tell, f"error {exc!r}\\n".encode())
        else:
            os.write(tell, f"won {os.getpid()}\\n".encode())
            os.read(hold, 1)
        os._exit(0)
os.close(go)
os.close(tell)
told = os.fdopen(report)
lines = [told.readline().split(maxsplit=1) for _ in range(starters)]
os.close(end)
print(json.dumps(lines))
"""


@pytest.mark.parametrize("leftover", [False, True])
def test_of_twenty_that_start_at_once_one_wins(short_dir: Path, leftover: bool) -> None:
    path = short_dir / "sub" / "s"
    if leftover:
        path.parent.mkdir()
        plain_server(path).close()
    with run(RACE, path, 20) as race:
        output, _ = race.communicate(timeout=30)
    lines = json.loads(output)
    winners = [rest for word, rest in lines if word == "won"]
    assert len(winners) == 1, lines
    assert [line for line in lines if line[0] == "lost" and line[1] == winners[0]] == [
        line for line in lines if line[0] != "won"
    ]


def test_a_lock_file_replaced_between_opening_and_locking(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locking a file that nobody can find any more would let two owners in."""
    path = short_dir / "s"
    real = fcntl.flock
    replaced: list[int] = []

    def flock(fd: int, operation: int) -> None:
        if not replaced:
            replaced.append(fd)
            os.unlink(f"{path}.lock")
            Path(f"{path}.lock").touch(0o600)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with claimed(path), pytest.raises(AddressInUse, match=r"holds .*s\.lock"):
        Claim.take(os.fspath(path), 16)
    assert replaced


def test_a_deleted_lock_file_lets_nobody_in_while_the_socket_lives(short_dir: Path) -> None:
    path = short_dir / "s"
    with claimed(path):
        os.unlink(f"{path}.lock")
        with pytest.raises(AddressInUse, match="accepts connections") as caught:
            Claim.take(os.fspath(path), 16)
        assert caught.value.pid == os.getpid()
        connect_blocking(path, 1).close()


def test_the_pid_of_a_dead_owner_is_not_named(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has the last owner's pid until the next one has written its own."""
    monkeypatch.setattr(_lock, "_PID_WAIT", 0)
    child = run("")
    child.communicate()
    with claimed(short_dir / "s"):
        for text in (f"{child.pid}\n", "", "-1", "0", "garbage", "9" * 30):
            (short_dir / "s.lock").write_text(text)
            with pytest.raises(AddressInUse, match="another process") as caught:
                Claim.take(f"{short_dir}/s", 16)
            assert caught.value.pid is None


# -- what is at the path -----------------------------------------------------------------------------------------


def test_a_living_server_without_a_lock_is_left_alone(short_dir: Path) -> None:
    path = short_dir / "s"
    with plain_server(path):
        before = os.lstat(path)
        with pytest.raises(AddressInUse, match="accepts connections") as caught:
            Claim.take(os.fspath(path), 16)
        assert caught.value.pid == os.getpid()
        after = os.lstat(path)
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
        connect_blocking(path, 1).close()


@linux_only
def test_a_server_whose_queue_is_full_lives(short_dir: Path) -> None:
    path = short_dir / "s"
    with plain_server(path, 0), socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(os.fspath(path))
        with pytest.raises(AddressInUse, match="queue of clients is full"):
            Claim.take(os.fspath(path), 16)
        assert path.exists()


def test_a_probe_that_tells_nothing_refuses(short_dir: Path) -> None:
    path = short_dir / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(os.fspath(path))
        with pytest.raises(AddressInUse, match="cannot be told"):
            Claim.take(os.fspath(path), 16)
        assert path.exists()


def test_a_dead_socket_is_replaced(short_dir: Path) -> None:
    path = short_dir / "s"
    plain_server(path).close()
    dead = os.lstat(path)
    with claimed(path):
        assert os.lstat(path).st_mode != dead.st_mode
        connect_blocking(path, 1).close()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling", "fifo", "link-to-socket"])
@pytest.mark.parametrize("name", ["s", ".s.new"])
def test_what_is_no_socket_is_never_touched(short_dir: Path, kind: str, name: str) -> None:
    path = short_dir / name
    other = short_dir / "other"
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "link":
            other.write_text("precious")
            path.symlink_to(other)
        case "dangling":
            path.symlink_to(other)
        case "fifo":
            os.mkfifo(path)
        case _:
            plain_server(other).close()
            path.symlink_to(other)
    before = os.lstat(path)
    with pytest.raises(AddressError, match="no socket, so it was not touched"):
        Claim.take(f"{short_dir}/s", 16)
    assert os.lstat(path) == before
    if kind == "file":
        assert path.read_text() == "precious"


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "content", "hard-link"])
def test_what_is_no_lock_file_of_ours_is_not_written_to(short_dir: Path, kind: str) -> None:
    lock = short_dir / "s.lock"
    other = short_dir / "other"
    other.write_text("precious")
    match kind:
        case "link":
            lock.symlink_to(other)
        case "fifo":
            os.mkfifo(lock)
        case "directory":
            lock.mkdir()
        case "content":
            lock.write_text("[[package]]\n" * 10)
        case _:
            lock.hardlink_to(other)
    before = os.lstat(lock)
    with pytest.raises(AddressError, match=r"s\.lock"):
        Claim.take(f"{short_dir}/s", 16)
    assert os.lstat(lock) == before
    assert other.read_text() == "precious"


# -- letting go --------------------------------------------------------------------------------------------------


def test_a_strangers_socket_is_not_deleted_at_the_end(short_dir: Path) -> None:
    path = short_dir / "s"
    with claimed(path) as claim:
        os.unlink(path)
        rival = plain_server(path)
        assert not claim.still_bound()
    connect_blocking(path, 1).close()
    rival.close()


def test_releasing_twice_closes_no_stranger(short_dir: Path) -> None:
    claim = Claim.take(f"{short_dir}/s", 16)
    close(claim)
    with (short_dir / "other").open("w") as other:
        claim.release()
        other.write("fine")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gives_nothing_away(short_dir: Path) -> None:
    path = short_dir / "s"
    with claimed(path) as claim:
        child = os.fork()
        if child == 0:
            try:
                close(claim)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert claim.still_bound()
        assert (short_dir / "s.lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(AddressInUse):
            Claim.take(os.fspath(path), 16)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_that_lives_on_does_not_keep_the_lock(short_dir: Path) -> None:
    hold, end = os.pipe()
    claim = Claim.take(f"{short_dir}/s", 16)
    child = os.fork()
    if child == 0:
        os.close(end)
        os.read(hold, 1)
        os._exit(0)
    close(claim)
    with claimed(short_dir / "s"):
        pass
    os.close(end)
    os.close(hold)
    os.waitpid(child, 0)
