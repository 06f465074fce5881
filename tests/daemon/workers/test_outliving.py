"""Nothing outlives the daemon, even when it is killed by SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from poppo_ipc.daemon.workers._platform import Guardian

from .kit import alive, wait_gone

_HERE = Path(__file__).parent
_COMMAND = [sys.executable, str(_HERE / "daemon.py")]


def _command(then: str, count: int) -> list[str]:
    path = os.pathsep.join([str(_HERE.parent), *(entry for entry in sys.path if entry)])
    return [*_COMMAND, then, str(count), path]


@pytest.mark.parametrize("then", ["stubborn", "free"])
def test_a_killed_daemon_takes_everything_with_it(then: str) -> None:
    """`free`: the worker does not die with its parent, so that the guardian alone is put to the test."""
    with subprocess.Popen(_command(then, 2), stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        families = [[int(word) for word in daemon.stdout.readline().split()] for _ in range(2)]
        workers = [int(word) for word in daemon.stdout.readline().split()]
        guardians = [child.pid for child in psutil.Process(daemon.pid).children() if child.pid not in workers]
        strays = [family.pop() for family in families]
        group = [pid for family in families for pid in family]
        assert (len(group), len(workers), len(guardians)) == (6, 2, 2)
        everybody = [*group, *workers, *guardians]
        try:
            assert alive(everybody) == everybody
            daemon.kill()
            daemon.wait()
            assert wait_gone(everybody) == []
        finally:
            # Those that left the group for a session of their own: beyond the guardian's reach.
            for pid in alive(strays):
                os.kill(pid, signal.SIGKILL)


def test_a_worker_dies_with_its_daemon_without_a_guardian() -> None:
    with subprocess.Popen(_command("stubborn", 1), stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        family = [int(word) for word in daemon.stdout.readline().split()]
        (worker,) = [int(word) for word in daemon.stdout.readline().split()]
        (guardian,) = [child for child in psutil.Process(daemon.pid).children() if child.pid != worker]
        try:
            guardian.kill()
            daemon.kill()
            daemon.wait()
            assert wait_gone([worker, guardian.pid]) == []
        finally:
            for pid in alive(family):
                os.kill(pid, signal.SIGKILL)


def test_a_guardian_that_is_released_kills_nobody() -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as leader:
        guardian = Guardian(leader.pid)
        shell = psutil.Process(guardian.pid)
        assert os.getsid(guardian.pid) == guardian.pid
        guardian.release()
        guardian.release()
        assert shell.wait(10) == 0
        guardian.close()
        assert alive([leader.pid]) == [leader.pid]
        guardian._shell.wait()
        leader.kill()


def test_a_guardian_that_loses_its_daemon_kills_the_group() -> None:
    """The counterpart: the end of its input, without a word, is the daemon's death."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as leader:
        guardian = Guardian(leader.pid)
        stdin = guardian._shell.stdin
        assert stdin is not None
        stdin.close()
        assert leader.wait(10) == -signal.SIGKILL
        assert guardian._shell.wait(10) == 0
        guardian.close()


def test_a_function_of_the_main_file_is_found_there() -> None:
    done = subprocess.run(_command("main", 1), stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    assert done.stdout == "['__mp_main__', 5]\n"
