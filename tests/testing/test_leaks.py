"""What is left behind by many fake daemons: nothing."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading

import psutil
import pytest
from addresses import short_directory

from poppo_ipc import CommandError
from poppo_ipc.testing import FakeDaemon

from .answers import DONE, ENDED
from .clients import QUICK

#: Each takes several times as long under wine.
COUNT = 100 if sys.platform == "win32" else 500


def open_files() -> int:
    if sys.platform == "win32":
        return psutil.Process().num_handles()
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def use(number: int) -> None:
    with FakeDaemon(allow_unexpected=True) as daemon, daemon.client() as client:
        daemon.on("queue.pause").reply(DONE)
        if number % 5 == 1:
            daemon.faults.refuse()
        elif number % 5 == 2:
            daemon.faults.slow()
        elif number % 5 == 3:
            daemon.faults.restart()
        if number % 5 == 4:
            # A connection that ends in the middle of a frame, and a command that is still at it at the end.
            daemon.on("task.output").stream([{"text": "a"}] * 10, result=ENDED)
            assert next(client.stream("task.output", taskId="t1", credit=1)) == {"text": "a"}
            daemon.faults.half_frame(0)
        with client if number % 5 == 1 else daemon.client(**QUICK) as other:
            assert other.call("queue.pause") == DONE
            with pytest.raises(CommandError):
                other.call("queue.resume")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_leave_no_thread_file_or_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    # A directory of its own, so that what others make there does not count; short enough for sockets.
    with short_directory() as directory:
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        use(0)
        gc.collect()
        threads, files = set(threading.enumerate()), open_files()
        for number in range(COUNT):
            use(number)
        gc.collect()
        assert set(threading.enumerate()) <= threads
        assert open_files() <= files
        assert os.listdir(directory) == []
