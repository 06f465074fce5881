"""Settings that all tests share."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import psutil
import pytest
from hypothesis import settings

# No deadlines: a loaded machine is no bug. In CI the same examples each time, so that a red build can be repeated.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-eager", action="store_true", help="without the fast paths of servers in the tests' process")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-eager"):
        from poppo_ipc.server import Server

        defaults = Server.__init__.__kwdefaults__
        assert defaults is not None
        defaults["eager"] = False


@pytest.fixture
def no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[int]]]:
    """Gives the processes that this test has started, by what they all inherit; kills them at its end."""
    mark = f"{os.getpid()}-{os.urandom(8).hex()}"
    monkeypatch.setenv("TEST_MARK", mark)

    def left() -> list[int]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get("TEST_MARK") == mark:
                    found.append(process.pid)
        return found

    yield left
    while pids := left():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
