"""Nothing outlives the daemon, even when it is killed by SIGKILL."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from .kit import LIMIT, alive, guardian_of, wait_gone

_HERE = Path(__file__).parent
_COMMAND = [sys.executable, str(_HERE / "daemon.py")]


def _command(then: str, count: int) -> list[str]:
    path = os.pathsep.join([str(_HERE.parent), *(entry for entry in sys.path if entry)])
    return [*_COMMAND, then, str(count), path]


@contextmanager
def _daemon(then: str, count: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(_command(then, count), stdout=subprocess.PIPE, text=True) as daemon:
        try:
            yield daemon
        finally:
            daemon.kill()


def _numbers(daemon: subprocess.Popen[str]) -> list[int]:
    """The next line that it prints."""
    assert daemon.stdout is not None
    return [int(word) for word in daemon.stdout.readline().split()]


@pytest.mark.parametrize("then", ["stubborn", "free"])
def test_a_killed_daemon_takes_everything_with_it(then: str) -> None:
    """Children, orphans, and those in sessions of their own. `free`: the worker does not die with its parent."""
    with _daemon(then, 2) as daemon:
        families = [_numbers(daemon), _numbers(daemon)]
        workers = _numbers(daemon)
        assert (*map(len, families), len(workers)) == (4, 4, 2)
        everybody = [*families[0], *families[1], *workers]
        if sys.platform != "win32":
            guardians = [child.pid for child in psutil.Process(daemon.pid).children()]
            assert len(guardians) == 2
            assert {guardian_of(worker).pid for worker in workers} == set(guardians)
            everybody += guardians
        assert alive(everybody) == everybody
        daemon.kill()
        daemon.wait()
        assert wait_gone(everybody) == []


def test_a_fork_of_the_daemon_that_lives_on_does_not_hide_its_death() -> None:
    """It holds all that the daemon held, so that no stream comes to its end."""
    if sys.platform == "win32":
        raise NotImplementedError
    with _daemon("forked", 1) as daemon:
        (fork,) = _numbers(daemon)
        try:
            everybody = [*_numbers(daemon), *_numbers(daemon)]
            assert len(everybody) == 5
            daemon.kill()
            daemon.wait()
            assert wait_gone(everybody) == []
            assert alive([fork]) == [fork]
        finally:
            os.kill(fork, signal.SIGKILL)


def test_a_chain_of_forks_does_not_outrun_the_death_of_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    fifo = tmp_path / "chain"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setenv("CHAIN", str(fifo))
    try:
        with _daemon("chain", 1) as daemon:
            everybody = [*_numbers(daemon), daemon.pid]
            assert len(everybody) == 2
            assert select.select([held], [], [], 0)[0] == [], "the chain has ended by itself"
            daemon.kill()
            daemon.wait()
            assert select.select([held], [], [], LIMIT)[0] == [held]
            assert os.read(held, 1) == b""
            assert wait_gone(everybody) == []
    finally:
        os.close(held)


def test_a_worker_dies_with_its_guardian() -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    with _daemon("stubborn", 1) as daemon:
        family = _numbers(daemon)
        (worker,) = _numbers(daemon)
        guardian = guardian_of(worker)
        try:
            # Stopped, the daemon does nothing about it.
            os.kill(daemon.pid, signal.SIGSTOP)
            guardian.kill()
            assert wait_gone([worker]) == []
        finally:
            for pid in alive(family):
                os.kill(pid, signal.SIGKILL)  # nobody could: the one case in which a task's processes stay


def test_a_function_of_the_main_file_is_found_there() -> None:
    done = subprocess.run(_command("main", 1), stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    assert done.stdout == "['__mp_main__', 5]\n"
