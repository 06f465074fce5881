"""What fails a test at its end, and what loosens that."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any

import pytest
import trio

from poppo_ipc import Address, CommandError, PoppoError, SyncClient, connect
from poppo_ipc.testing import FakeDaemon, MemoryDaemon, Unmet

from .answers import ADDED, DONE, PATH
from .failing import unmet


def careless(command: str, **args: Any) -> None:
    """A program that does not care how its command ended."""
    with SyncClient() as client, contextlib.suppress(PoppoError):
        client.call(command, **args)


def test_an_expectation_that_stays_unused() -> None:
    text = r"\n  unused: project\.add\(path='/srv/blog'\) at test_strict\.py:\d+ was never called\ncalls: none\Z"
    with unmet(text) as daemon:
        daemon.on("project.add", path=PATH).reply(ADDED)


def test_an_expectation_that_is_used_too_seldom() -> None:
    with unmet("was called once, and 4 calls are expected") as daemon:
        daemon.on("queue.pause").reply(DONE).times(3).then.fail("BUSY")
        careless("queue.pause")


def test_an_expectation_without_an_answer() -> None:
    with unmet(r"(?s)unexpected: queue\.pause\(\): .*unused: .* has no answer: say \.reply\(\.\.\.\)") as daemon:
        daemon.on("queue.pause")
        careless("queue.pause")


def test_a_call_that_no_one_expects_though_its_error_is_swallowed() -> None:
    with unmet(r"unexpected: queue\.pause\(\): no expectation names this command"):
        careless("queue.pause")


def test_a_call_that_differs_is_shown_beside_the_nearest_expectation() -> None:
    nearest = r"differs from project\.add\(path='/srv/blog', name='blog'\) at test_strict\.py:\d+\n"
    with unmet(nearest + r" +name: expected 'blog', got 'blgo'\n  unused") as daemon:
        daemon.on("project.add", path="/x", name="y").reply(ADDED)
        daemon.on("project.add", path=PATH, name="blog").reply(ADDED)
        careless("project.add", path=PATH, name="blgo")


def test_a_call_too_many() -> None:
    with unmet(r"was for 1 call: say \.times\(n\) or \.always\(\)") as daemon:
        daemon.on("queue.pause").reply(DONE)
        careless("queue.pause")
        careless("queue.pause")


def test_both_can_be_allowed() -> None:
    with FakeDaemon(assert_all_called=False, allow_unexpected=True) as daemon, SyncClient() as client:
        daemon.on("project.add").reply(ADDED)
        with pytest.raises(CommandError, match=r"The test does not expect queue\.pause\(\)"):
            client.call("queue.pause")
    assert daemon.calls.commands == ["queue.pause"]


def test_an_exception_of_the_block_comes_out_with_an_account() -> None:
    with pytest.raises(ZeroDivisionError) as raised, FakeDaemon() as daemon:
        raise _failing(daemon)
    (note,) = raised.value.__notes__
    assert "unexpected: queue.pause()" in note
    assert "unused: project.add()" in note


def _failing(daemon: FakeDaemon) -> ZeroDivisionError:
    daemon.on("project.add").reply(ADDED)
    careless("queue.pause")
    return ZeroDivisionError()


def test_a_memory_daemon_is_as_strict() -> None:
    async def main(daemon: MemoryDaemon) -> None:
        async with daemon.connect() as client:
            with pytest.raises(CommandError):
                await client.call("queue.pause")

    with pytest.raises(Unmet, match=r"unexpected: queue\.pause\(\)"):
        MemoryDaemon().run(main)


def test_many_calls_are_not_all_listed() -> None:
    with FakeDaemon() as daemon, SyncClient() as client:
        daemon.on("queue.pause").reply(DONE).always()
        for _ in range(30):
            client.call("queue.pause")
    assert daemon.account().splitlines()[:2] == ["calls:", "  … 10 before these"]


# -- the daemon as a decorator and in the environment -----------------------------------------------------------------


def test_the_environment_leads_to_it_and_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POPPO_SOCKET", "before")
    monkeypatch.setenv("POPPO_TOKEN_FILE", "/nowhere")
    with FakeDaemon() as outer:
        with FakeDaemon() as inner:
            assert os.environ["POPPO_SOCKET"] == inner.socket
            assert os.environ["POPPO_TOKEN"] == inner.token
        assert os.environ["POPPO_SOCKET"] == outer.socket
        assert "POPPO_TOKEN_FILE" not in os.environ
    assert os.environ["POPPO_SOCKET"] == "before"
    assert os.environ["POPPO_TOKEN_FILE"] == "/nowhere"
    assert "POPPO_TOKEN" not in os.environ
    assert not os.path.exists(os.path.dirname(outer.socket))


@FakeDaemon()
def decorated(number: int, *, fake_daemon: FakeDaemon) -> int:
    fake_daemon.on("queue.pause").reply(DONE)
    careless("queue.pause")
    return number


@FakeDaemon(allow_unexpected=True)
def decorated_without_a_parameter() -> None:
    careless("queue.pause")


@FakeDaemon()
async def decorated_async(daemon: FakeDaemon) -> str:
    daemon.on("queue.pause").reply(DONE)
    async with connect() as client:
        return str((await client.call("queue.pause"))["message"])


def test_as_a_decorator_each_call_has_a_new_daemon() -> None:
    # The types do not tell that the decorator gives the daemon.
    assert [decorated(3), decorated(4)] == [3, 4]
    decorated_without_a_parameter()
    assert asyncio.run(decorated_async()) == DONE["message"]
    assert trio.run(decorated_async) == DONE["message"]


@FakeDaemon()
def test_pytest_runs_a_decorated_test(daemon: FakeDaemon) -> None:
    daemon.on("queue.pause").reply(DONE)
    careless("queue.pause")


def test_a_decorated_function_is_checked_too() -> None:
    @FakeDaemon()
    def unused(daemon: FakeDaemon) -> None:
        daemon.on("queue.pause").reply(DONE)

    with pytest.raises(Unmet):
        unused()


def test_a_daemon_serves_once() -> None:
    daemon = FakeDaemon()
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = daemon.socket
    with pytest.raises(RuntimeError, match="has not been started"):
        daemon.emit("daemon.started", {"pid": 1})
    with daemon, pytest.raises(RuntimeError, match="started already"):
        daemon.start()
    daemon.stop()
    with pytest.raises(RuntimeError, match="has ended"):
        daemon.emit("daemon.started", {"pid": 1})


def test_without_a_token_every_process_of_this_user_may_ask() -> None:
    with FakeDaemon(token=None) as daemon, SyncClient(token=None) as client:
        daemon.on("queue.pause").reply(DONE)
        assert client.call("queue.pause") == DONE
        assert "POPPO_TOKEN" not in os.environ


def test_a_socket_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeDaemon, "address", Address.parse("unix:/proc/nowhere/sock"))
    with pytest.raises(PoppoError, match="/proc/nowhere"), FakeDaemon():
        pass
