"""Settings that all tests share."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import left_out
import psutil
import pytest
from addresses import native_address, short_directory
from hypothesis import settings

# No deadlines: a loaded machine is no bug. In CI the same examples each time, so that a red build can be repeated.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell that is no person's ignores Ctrl-C for what it runs in the background, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_TESTS = Path(__file__).parent
_LEFT_OUT = left_out.ON_WINDOWS if sys.platform == "win32" else left_out.ON_UNIX


def _is_left_out(name: str) -> bool:
    """Whether a test is on the list: with its parameters or without them."""
    test, _, _ = name.partition("[")
    return not _LEFT_OUT.keys().isdisjoint((name, test))


class _NotImported(pytest.Module):
    """A file on the list: it may need what is not there."""

    def collect(self) -> list[pytest.Item]:
        return []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Of a file on the list nothing is collected, also where somebody names it."""
    is_test = module_path.is_relative_to(_TESTS)
    if is_test and module_path.relative_to(_TESTS).as_posix() in _LEFT_OUT:
        return _NotImported.from_parent(parent, path=module_path)
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests on the list count as deselected, which the closing line tells."""
    left = [item for item in items if _is_left_out(item.nodeid.removeprefix(f"{_TESTS.name}/"))]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_report_header() -> str:
    """What is left out here, and where it is told why."""
    files = sum("::" not in name for name in _LEFT_OUT)
    return (
        f"left out on {sys.platform} (tests/left_out.py): whole files {files}, other entries {len(_LEFT_OUT) - files}"
    )


@pytest.fixture
def address() -> Iterator[str]:
    """An address of the kind that the platform itself has, which nobody has used."""
    with native_address() as fresh:
        yield fresh


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A private directory whose path leaves room for a socket's name."""
    with short_directory() as directory:
        yield directory


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
    # Wine halts a process to read what it inherited, and a service of its own that stays so would halt them all.
    others = set(psutil.pids()) if sys.platform == "win32" else {os.getpid()}

    def left() -> list[int]:
        found = []
        for pid in set(psutil.pids()) - others:
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).environ().get("TEST_MARK") == mark:
                    found.append(pid)
        return found

    yield left
    while pids := left():
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
