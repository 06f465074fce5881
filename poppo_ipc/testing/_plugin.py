"""The pytest plugin: fixtures, and the marker that loosens them. Imports nothing of the kit until one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from trio.testing import MockClock

    from poppo_ipc.testing import FakeDaemon, MemoryDaemon, RealDaemon
    from poppo_ipc.testing._expecting import Expecting

__all__ = [
    "daemon_clock", "fake_daemon", "memory_daemon", "poppo_real_daemon", "poppo_router", "real_daemon",
    "real_daemon_session",
]  # fmt: skip

_MARKER: Final = (
    "poppo(assert_all_called=True, allow_unexpected=False): how strict fake_daemon and memory_daemon are at the end of "
    "the test; other arguments go to FakeDaemon and MemoryDaemon too."
)
#: The rest of this plugin.
pytest_plugins = ("poppo_ipc.testing._plugin_programs",)
_DAEMONS: Final = pytest.StashKey[list["Expecting"]]()
_ENDED_EARLY: Final = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin anew: plugins that repeat a failed test run one item several times."""
    item.stash[_DAEMONS] = []
    item.stash[_ENDED_EARLY] = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what the fake daemons were asked: it is the reason as often as not."""
    report = yield
    if call.when == "call" and call.excinfo is not None:
        item.stash[_ENDED_EARLY] = True
        if report.failed:
            sections = [("fake daemon", daemon.account()) for daemon in item.stash.get(_DAEMONS, [])]
            report.sections += sections
    return report


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The arguments of all `poppo` markers; the closest to the test goes first."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("poppo"):
        if marker.args:
            raise pytest.UsageError(f"the marker poppo takes arguments by name only, not {marker.args!r}")
        options = {**marker.kwargs, **options}
    return options


def _watched(request: pytest.FixtureRequest, daemon: Expecting) -> None:
    request.node.stash.setdefault(_DAEMONS, []).append(daemon)


def _verify(request: pytest.FixtureRequest, daemon: Expecting) -> None:
    __tracebackhide__ = True
    # A test that has failed has said so, with the account, and one that was skipped is none: what they did not come to
    # is no fault of its own.
    if not request.node.stash.get(_ENDED_EARLY, False):
        daemon.verify()


@pytest.fixture
def poppo_router() -> Any:
    """What the fake daemons are declared to answer: a router or several. Override it; None for the standard ones."""
    return None


@pytest.fixture
def fake_daemon(request: pytest.FixtureRequest, poppo_router: Any) -> Iterator[FakeDaemon]:
    """A fake daemon on a real socket, that `POPPO_SOCKET` and `POPPO_TOKEN` lead to; strict at the end of the test."""
    from poppo_ipc.testing import FakeDaemon

    daemon = FakeDaemon(**{"router": poppo_router, **_options(request)})
    _watched(request, daemon)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.stop()
    _verify(request, daemon)


@pytest.fixture
def memory_daemon(request: pytest.FixtureRequest, poppo_router: Any) -> Iterator[MemoryDaemon]:
    """A fake daemon for the test's own Trio run: `async with memory_daemon, memory_daemon.connect() as client:`."""
    from poppo_ipc.testing import MemoryDaemon

    daemon = MemoryDaemon(**{"router": poppo_router, **_options(request)})
    _watched(request, daemon)
    yield daemon
    _verify(request, daemon)


@pytest.fixture
def daemon_clock() -> MockClock:
    """A clock that jumps over every wait; pytest-trio takes it for a test that asks for it."""
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)


@pytest.fixture(scope="session")
def poppo_real_daemon() -> dict[str, Any]:
    """The arguments of `RealDaemon` for `real_daemon` and `real_daemon_session`. Override it."""
    return {}


@pytest.fixture
def real_daemon(poppo_real_daemon: dict[str, Any]) -> Iterator[RealDaemon]:
    """The whole daemon on a temporary state directory, new for each test; the environment leads to it."""
    from poppo_ipc.testing import RealDaemon

    with RealDaemon(**poppo_real_daemon) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def _poppo_session_daemon(poppo_real_daemon: dict[str, Any]) -> Iterator[RealDaemon]:
    from poppo_ipc.testing import RealDaemon

    with RealDaemon(**{**poppo_real_daemon, "set_environment": False}) as daemon:
        yield daemon


@pytest.fixture
def real_daemon_session(_poppo_session_daemon: RealDaemon) -> Iterator[RealDaemon]:
    """The same, one for all tests of the session (and each worker of pytest-xdist), with what they leave in it.

    The environment leads to it during the tests that ask for it.
    """
    from poppo_ipc.testing._environment import Environment

    environment = Environment(_poppo_session_daemon.environment)
    environment.apply()
    try:
        yield _poppo_session_daemon
    finally:
        environment.restore()
