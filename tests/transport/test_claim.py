"""Claiming a path: at most one owner, no living socket lost, no dead one in the way, never a mode over 0600."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from poppo_ipc.errors import AddressError, AddressInUse
from poppo_ipc.transport import _claim, _lock, connect_blocking
from poppo_ipc.transport._address import path_limit
from poppo_ipc.transport._claim import Claim

ROOT = Path(__file__).parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@contextmanager
def claimed(path: Path | str) -> Iterator[Claim]:
    claim = Claim.take(os.fspath(path), 16)
    try:
        yield claim
    finally:
        close(claim)


def close(claim: Claim) -> None:
    claim.unlink()
    claim.sock.close()
    claim.release()


def run(program: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, **options)


def plain_server(path: Path, backlog: int = 8) -> socket.socket:
    """What a server without a lock does."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(path))
    sock.listen(backlog)
    return sock


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


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
    with claimed(path), pytest.raises(AddressInUse):
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


# -- how it is bound ---------------------------------------------------------------------------------------------

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


# -- healing -----------------------------------------------------------------------------------------------------


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
        assert claim.heal() is None
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
