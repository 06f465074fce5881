"""Each fault, as each of the three clients sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from poppo_ipc import (
    AuthenticationError,
    CallTimeout,
    ConnectFailed,
    ConnectionLost,
    Event,
    Gap,
    GapReason,
    OutcomeUnknown,
    VersionMismatch,
)
from poppo_ipc.testing import FakeDaemon, Mispromise, Unmet

from .answers import ADDED, DONE, PATH, STARTED
from .clients import RUNNERS, AnyClient

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_crash(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No fault of the wire may be one of the server too."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []


@pytest.fixture(params=list(RUNNERS))
def run(request: pytest.FixtureRequest) -> Run:
    return RUNNERS[request.param]


async def add(client: AnyClient) -> Any:
    return await client.call("project.add", path=PATH)


async def add_for_sure(client: AnyClient) -> Any:
    """Asked again where the connection is lost: on a pipe the loss may show only when it has been sent."""
    return await client.call("project.add", path=PATH, idempotent=True)


async def add_twice(client: AnyClient) -> Any:
    return [await add(client), await add(client)]


#: Faults that make a connection end where a reply has to come.
CUTTING = ["drop_before_reply", "half_frame"]
#: Faults after which a client does not trust the answer to this command any more.
SPOILING = ["garbage", "oversized"]


@pytest.mark.parametrize("fault", CUTTING)
def test_a_reply_that_is_lost_is_asked_for_again_by_its_key(run: Run, fault: str) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)
        getattr(daemon.faults, fault)(1)
        assert run(add) == ADDED
        daemon.assert_called_once_with("project.add", path=PATH)
        assert daemon.calls.last.idempotency_key


@pytest.mark.parametrize("fault", SPOILING)
def test_what_is_no_frame_ends_the_call_and_not_the_client(run: Run, fault: str) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)
        daemon.on("queue.pause").reply(DONE)
        getattr(daemon.faults, fault)(1)

        async def scenario(client: AnyClient) -> None:
            with pytest.raises(OutcomeUnknown, match=r"Not a POPPO frame|over the limit"):
                await add(client)
            assert await client.call("queue.pause") == DONE

        run(scenario)


@pytest.mark.parametrize("fault", CUTTING + SPOILING)
def test_without_another_connection_its_outcome_is_unknown(run: Run, fault: str) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)
        getattr(daemon.faults, fault)(1)
        with pytest.raises(OutcomeUnknown, match="may have run"):
            run(add, reconnect=False)
        daemon.assert_called_once("project.add")


@pytest.mark.parametrize("fault", CUTTING + SPOILING)
def test_it_happens_to_the_reply_that_is_named_and_to_no_other(run: Run, fault: str) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED).times(2)
        daemon.on("queue.pause").reply(DONE)

        async def scenario(client: AnyClient) -> None:
            assert await add(client) == ADDED
            assert await client.call("queue.pause") == DONE
            getattr(daemon.faults, fault)(1, "queue.pause")
            assert await add(client) == ADDED
            daemon.on("queue.pause").reply(DONE)
            with pytest.raises(OutcomeUnknown):
                await client.call("queue.pause")

        run(scenario, reconnect=False)


def test_a_connection_dropped_after_a_reply_costs_nothing(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED).times(2)
        daemon.faults.drop_after_reply(1)
        assert run(add_twice) == [ADDED, ADDED]
        assert len(daemon.calls) == 2
        assert daemon.calls[0].session != daemon.calls[1].session


@pytest.mark.parametrize("fault", ["drop_before_reply", "drop_after_reply", "half_frame"])
def test_the_welcome_is_reply_number_0(run: Run, fault: str) -> None:
    with FakeDaemon() as daemon:
        getattr(daemon.faults, fault)(0)
        daemon.on("project.add").reply(ADDED)
        assert run(add) == ADDED


def test_garbage_for_a_welcome_is_told(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.faults.garbage(0, data=b"220 mail.example ESMTP\r\n")
        with pytest.raises(Exception, match="Not a POPPO frame"):
            run(add)


def test_a_refusing_daemon(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)
        with daemon.faults.refuse(), pytest.raises(ConnectFailed):
            run(add)
        assert run(add) == ADDED


def test_a_refusing_daemon_goes_on_with_whom_it_has(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED).times(2)

        async def scenario(client: AnyClient) -> None:
            daemon.faults.refuse()
            daemon.faults.refuse()
            assert await add(client) == ADDED
            daemon.faults.clear()
            daemon.faults.drop()
            assert await add(client) == ADDED

        run(scenario)


def test_a_daemon_of_another_version(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.faults.wrong_version("7.0.0")
        with pytest.raises(VersionMismatch, match=r"7\.0\.0"):
            run(add)


def test_a_daemon_that_sends_byte_by_byte(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)
        daemon.on("queue.pause").reply(DONE)
        with daemon.faults.slow():
            assert run(add) == ADDED

        async def pause(client: AnyClient) -> Any:
            return await client.call("queue.pause")

        assert run(pause) == DONE


def test_a_daemon_that_never_answers(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED).times(2)
        with daemon.faults.never_answer(), pytest.raises(CallTimeout):
            run(add, timeout=0.05, timeout_grace=0.0)
        assert run(add) == ADDED


def test_a_daemon_that_is_wholly_silent_is_found_out_by_pings(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)
        with (
            daemon.faults.never_answer(pings=False),
            pytest.raises(OutcomeUnknown, match="silent"),
        ):
            run(add, ping_seconds=0.02, reconnect=False)


def test_a_daemon_that_does_not_even_welcome(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.faults.never_answer(0)
        with pytest.raises(ConnectionLost, match="handshake"):
            run(add, handshake_seconds=0.02)


def test_another_token(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)

        async def scenario(client: AnyClient) -> None:
            daemon.faults.token_changed("another")
            assert daemon.token == "another"
            with pytest.raises(AuthenticationError):
                await add_for_sure(client)

        run(scenario)
        with pytest.raises(AuthenticationError):
            run(add)
        assert run(add, token="another") == ADDED
        daemon.faults.clear()
        daemon.on("project.add").reply(ADDED)
        assert run(add) == ADDED


def test_a_token_where_there_was_none() -> None:
    with FakeDaemon(token=None) as daemon:
        with daemon.faults.token_changed(), pytest.raises(AuthenticationError):
            RUNNERS["sync"](add, token="guessed")
        daemon.on("project.add").reply(ADDED)
        assert RUNNERS["sync"](add) == ADDED


async def _taken(events: Any, count: int) -> list[Any]:
    return [await anext(events) for _ in range(count)]


def test_a_restarted_daemon_numbers_anew(run: Run) -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)

        async def scenario(client: AnyClient) -> None:
            async with client.subscribe("task.*") as events:
                assert daemon.emit("task.started", STARTED) == 1
                assert (await anext(events)).data == STARTED
                daemon.faults.restart()
                assert await add_for_sure(client) == ADDED
                assert daemon.emit("task.started", STARTED) == 1
                gap, event = await _taken(events, 2)
                assert isinstance(gap, Gap)
                assert gap.reason is GapReason.RESTARTED
                assert event.seq == 1

        run(scenario)


def test_lost_events_are_a_gap(run: Run) -> None:
    with FakeDaemon() as daemon:

        async def scenario(client: AnyClient) -> None:
            async with client.subscribe("task.*") as events:
                daemon.emit("task.started", STARTED)
                assert isinstance(await anext(events), Event)
                daemon.faults.lose_events(3)
                gap = await anext(events)
                assert gap == Gap(3, GapReason.EXPIRED)
                assert daemon.emit("task.started", STARTED) == 5
                assert (await anext(events)).seq == 5

        run(scenario)


def test_dropped_events_are_a_gap_too(run: Run) -> None:
    with FakeDaemon() as daemon:

        async def scenario(client: AnyClient) -> None:
            async with client.subscribe("task.*") as events:
                daemon.emit("task.started", STARTED)
                assert isinstance(await anext(events), Event)
                daemon.faults.drop_events(2)
                assert await anext(events) == Gap(2, GapReason.SERVER_DROPPED)

        run(scenario)


# -- the faults themselves ----------------------------------------------------------------------------------------


def test_a_fault_that_did_not_happen_fails_the_test() -> None:
    text = r"the fault half_frame\(2\) at test_faults\.py:\d+ never happened"
    with pytest.raises(Unmet, match=text), FakeDaemon() as daemon:
        daemon.faults.half_frame(2)
    with FakeDaemon(assert_all_called=False) as daemon:
        daemon.faults.half_frame(2)


def test_replies_are_counted_from_1() -> None:
    with FakeDaemon() as daemon, pytest.raises(Mispromise, match="counted from 1"):
        daemon.faults.garbage(-1)


def test_two_faults_happen_one_after_the_other() -> None:
    with FakeDaemon() as daemon:
        daemon.on("project.add").reply(ADDED)
        daemon.faults.drop_before_reply(1)
        daemon.faults.half_frame(2)
        assert RUNNERS["sync"](add) == ADDED


def test_the_reply_to_a_subscription_counts_where_it_is_named() -> None:
    with FakeDaemon() as daemon:
        daemon.faults.drop_before_reply(1, "events.subscribe")

        async def scenario(client: AnyClient) -> None:
            async with client.subscribe("task.*") as events:
                daemon.wait_until_subscribed("task.*")
                daemon.emit("task.started", STARTED)
                assert (await anext(events)).data == STARTED

        RUNNERS["sync"](scenario)
