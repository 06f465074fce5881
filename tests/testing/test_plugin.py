"""The fixtures and the marker, in runs of pytest of their own."""

from __future__ import annotations

import re

import pytest

from .preloaded import PRELOADED as PRELOADED

pytest_plugins = ["pytester"]

HEAD = """
import asyncio, contextlib, os, subprocess, sys
import pytest, trio
from poppo_ipc import CommandError, PoppoError, Router, SyncClient, connect
DONE = {"message": "Queue all paused"}

def careless(command="queue.pause", **args):
    with SyncClient() as client, contextlib.suppress(PoppoError):
        client.call(command, **args)
"""


class Runs:
    """Writes a test file, runs pytest on it, and gives the result."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def __call__(self, source: str, *options: str, **outcomes: int) -> str:
        self._pytester.makepyfile(HEAD + source)
        result = self._pytester.runpytest_inprocess("-p", "no:randomly", "--strict-markers", *options)
        result.assert_outcomes(**outcomes)
        return result.stdout.str()


@pytest.fixture
def runs(pytester: pytest.Pytester) -> Runs:
    return Runs(pytester)


def test_fake_daemon_serves_every_kind_of_program(runs: Runs) -> None:
    runs(
        """
LISTENER = '''
from poppo_ipc import SyncClient
with SyncClient() as client:
    print(next(client.subscribe("task.*")).data["taskId"])
'''
PROGRAM = "from poppo_ipc import SyncClient\\nwith SyncClient() as c: print(c.call('queue.pause')['message'])"

async def ask():
    async with connect() as client:
        return await client.call("queue.pause")

def test_sync(fake_daemon):
    fake_daemon.on("queue.pause").reply(DONE)
    with SyncClient() as client:
        assert client.call("queue.pause") == DONE

def test_asyncio(fake_daemon):
    fake_daemon.on("queue.pause").reply(DONE)
    assert asyncio.run(ask()) == DONE

@pytest.mark.trio
async def test_pytest_trio(fake_daemon):
    fake_daemon.on("queue.pause").reply(DONE)
    assert await ask() == DONE

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_anyio(fake_daemon, anyio_backend):
    fake_daemon.on("queue.pause").reply(DONE)
    assert await ask() == DONE

def test_subprocess(fake_daemon):
    fake_daemon.on("queue.pause").reply(DONE)
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout == "Queue all paused\\n"

def test_a_program_beside_the_test(fake_daemon):
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as program:
        fake_daemon.wait_until_subscribed("task.*")
        fake_daemon.emit("task.started", {"taskId": "t1", "type": "build"})
        assert program.communicate()[0] == "t1\\n"
""",
        passed=7,
    )


def test_the_environment_is_that_of_the_test_alone(runs: Runs) -> None:
    runs(
        """
def test_within(fake_daemon):
    assert os.environ["POPPO_SOCKET"] == fake_daemon.socket
    assert os.environ["POPPO_TOKEN"] == fake_daemon.token

def test_without():
    assert "POPPO_SOCKET" not in os.environ
""",
        passed=2,
    )


def test_it_is_strict_at_teardown(runs: Runs) -> None:
    shown = runs(
        """
def test_unused(fake_daemon):
    fake_daemon.on("queue.pause").reply(DONE)

def test_swallowed(fake_daemon):
    careless()

def test_fault(fake_daemon):
    fake_daemon.faults.garbage(3)
""",
        passed=3,
        errors=3,
    )
    assert "unused: queue.pause() at test_it_is_strict_at_teardown.py:" in shown
    assert "unexpected: queue.pause(): no expectation names this command" in shown
    assert "the fault garbage(3) at test_it_is_strict_at_teardown.py:" in shown
    # The report is the harness' own sentence, not its code.
    assert "def verify" not in shown


def test_the_marker_loosens_it(runs: Runs) -> None:
    runs(
        """
@pytest.mark.poppo(assert_all_called=False)
def test_unused(fake_daemon):
    fake_daemon.on("queue.pause").reply(DONE)

@pytest.mark.poppo(allow_unexpected=True)
def test_unexpected(fake_daemon):
    careless()

@pytest.mark.poppo(allow_unexpected=True)
class TestMany:
    def test_that_of_the_class(self, fake_daemon):
        careless()

    @pytest.mark.poppo(assert_all_called=False)
    def test_that_of_both(self, fake_daemon):
        fake_daemon.on("queue.pause", queue="a").reply(DONE)
        careless()

    @pytest.mark.poppo(allow_unexpected=False)
    def test_the_closest_goes_first(self, fake_daemon):
        careless()

@pytest.mark.poppo(token=None)
def test_other_options(fake_daemon):
    assert fake_daemon.token is None
""",
        passed=6,
        errors=1,
    )


def test_a_marker_that_makes_no_sense_is_told(runs: Runs) -> None:
    shown = runs(
        """
@pytest.mark.poppo(True)
def test_positional(fake_daemon):
    pass

@pytest.mark.poppo(asert_all_called=True)
def test_misspelt(fake_daemon):
    pass
""",
        errors=2,
    )
    assert "takes arguments by name only" in shown
    assert "unexpected keyword argument 'asert_all_called'" in shown


def test_a_test_that_fails_is_told_once_with_the_calls(runs: Runs) -> None:
    shown = runs(
        """
def test_failing(fake_daemon):
    fake_daemon.on("project.add").fail("BUSY")
    careless()
    assert 1 == 2
""",
        failed=1,
    )
    assert "- fake daemon -" in shown
    assert "unexpected: queue.pause(): no expectation names this command" in shown
    assert "  1. queue.pause()" in shown


def test_a_test_that_ends_early_has_not_left_anything_out(runs: Runs) -> None:
    runs(
        """
def test_skipped(fake_daemon):
    fake_daemon.on("project.add").fail("BUSY")
    pytest.skip("not here")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail(fake_daemon):
    fake_daemon.on("project.add").fail("BUSY")
    assert 1 == 2
""",
        skipped=1,
        xfailed=1,
    )


def test_a_test_that_is_run_again_is_as_strict(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(2):
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
    )
    runs(
        """
runs = []

def test_it(fake_daemon):
    runs.append(1)
    fake_daemon.on("queue.pause").reply(DONE)
    assert len(runs) == 2
""",
        failed=1,
        passed=1,
        errors=1,
    )


def test_a_wrong_promise_is_shown_at_the_line_of_the_test(runs: Runs) -> None:
    shown = runs(
        """
def test_promise(fake_daemon):
    fake_daemon.on("queue.pause").reply({"message": 5})
""",
        failed=1,
    )
    assert re.search(r"^> +fake_daemon\.on\(.queue\.pause.\)\.reply", shown, re.MULTILINE)
    assert "the result of queue.pause does not fit: message: expected a string, got an integer" in shown
    assert "_schemas.py" not in shown
    assert "_expectations.py" not in shown


def test_a_router_of_ones_own(runs: Runs) -> None:
    runs(
        """
@pytest.fixture
def poppo_router():
    router = Router()

    @router.command("greet")
    def greet(name: str) -> str: ...

    return router

def test_it(fake_daemon):
    fake_daemon.on("greet", name="Ada").reply("Hello")
    with SyncClient() as client:
        assert client.call("greet", name="Ada") == "Hello"

@pytest.mark.trio
async def test_in_memory(memory_daemon):
    memory_daemon.on("greet", name="Ada").reply("Hello")
    async with memory_daemon, memory_daemon.connect() as client:
        assert await client.call("greet", name="Ada") == "Hello"
""",
        passed=2,
    )


def test_memory_daemon_with_each_plugin(runs: Runs) -> None:
    runs(
        """
from trio.testing import MockClock

@pytest.mark.trio
async def test_pytest_trio(memory_daemon, daemon_clock):
    memory_daemon.on("queue.pause").reply(DONE).delay(1000)
    async with memory_daemon, memory_daemon.connect(timeout=None) as client:
        assert await client.call("queue.pause") == DONE

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_anyio(memory_daemon, anyio_backend):
    memory_daemon.on("queue.pause").reply(DONE).delay(1000)
    async with memory_daemon, memory_daemon.connect(timeout=None) as client:
        assert await client.call("queue.pause") == DONE

def test_plain(memory_daemon):
    async def main(daemon):
        memory_daemon.on("queue.pause").reply(DONE).delay(1000)
        async with daemon.connect(timeout=None) as client:
            assert await client.call("queue.pause") == DONE
    memory_daemon.run(main)
""",
        passed=3,
    )


def test_memory_daemon_is_strict_at_teardown_even_where_it_never_ran(runs: Runs) -> None:
    shown = runs(
        """
def test_unused(memory_daemon):
    memory_daemon.on("queue.pause").reply(DONE)

@pytest.mark.poppo(assert_all_called=False)
def test_allowed(memory_daemon):
    memory_daemon.on("queue.pause").reply(DONE)
""",
        passed=2,
        errors=1,
    )
    assert "unused: queue.pause()" in shown


def test_real_daemons(runs: Runs) -> None:
    runs(
        """
seen = []

@pytest.fixture(scope="session")
def poppo_real_daemon():
    return {"without": {"workers"}}

@pytest.mark.parametrize("which", [1, 2])
def test_new_for_each_test(real_daemon, which, tmp_path):
    with SyncClient() as client:
        assert client.call("project.list")["count"] == 0
        client.call("project.add", path=str(tmp_path))

@pytest.mark.parametrize("which", [0, 1])
def test_one_for_all(real_daemon_session, which, tmp_path):
    with SyncClient() as client:
        assert client.call("project.list")["count"] == which
        client.call("project.add", path=str(tmp_path))

def test_none():
    assert "POPPO_SOCKET" not in os.environ

def test_both(real_daemon_session, fake_daemon):
    assert os.environ["POPPO_SOCKET"] == fake_daemon.socket
""",
        passed=6,
    )


def test_with_xdist(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        HEAD
        + """
@pytest.mark.parametrize("number", range(20))
def test_it(fake_daemon, number):
    fake_daemon.on("queue.pause", queue=str(number)).reply({"message": str(number)})
    with SyncClient() as client:
        assert client.call("queue.pause", queue=str(number)) == {"message": str(number)}

def test_unused(fake_daemon):
    fake_daemon.on("queue.pause").reply(DONE)

@pytest.mark.parametrize("which", [1, 2])
def test_session(real_daemon_session, which):
    with SyncClient() as client:
        assert client.call("status")
"""
    )
    result = pytester.runpytest_subprocess("-n", "2")
    result.assert_outcomes(passed=23, errors=1)
    assert "unused: queue.pause()" in result.stdout.str()


def test_the_plugin_loads_nothing_until_a_fixture_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import sys

def test_it(pytestconfig):
    assert pytestconfig.pluginmanager.get_plugin("poppo_ipc") is not None
    loaded = {name for name in sys.modules if name.startswith("poppo_ipc")}
    light = {"poppo_ipc", "poppo_ipc._lazy", "poppo_ipc._version", "poppo_ipc.testing"}
    assert {name for name in loaded - light if not name.startswith("poppo_ipc.testing._plugin")} == set()
"""
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
