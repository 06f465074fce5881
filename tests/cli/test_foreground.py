"""Signals of a server in the foreground, with time and signals given by the test."""

from __future__ import annotations

import io
import math
import sys

import pytest
import trio

from poppo_ipc import CommandCancelled, ConnectionLost, Limits, OutcomeUnknown, Router, Server, ShuttingDown, connect
from poppo_ipc.cli._foreground import ENDING, notice, run_in_foreground

GRACE = 60.0


class Playing:
    """A server in the foreground, and a client with a command that does not end."""

    def __init__(self) -> None:
        self.send, self._signals = trio.open_memory_channel[int](math.inf)
        self.running = trio.Event()
        self.ended = 0.0
        self.error: BaseException | None = None

    async def serve(self) -> None:
        router = Router()

        @router.command("wait")
        async def wait() -> None:
            self.running.set()
            await trio.sleep_forever()

        server = Server(router, address="memory:foreground", allow_uids=None, limits=Limits(grace_seconds=GRACE))
        await run_in_foreground(server, self._signals)
        self.ended = trio.current_time()

    async def ask(self) -> None:
        try:
            async with connect(
                "memory:foreground", token=None, trusted_uids=None, reconnect=False, retry_initial=True
            ) as client:
                await client.call("wait", timeout=None)
        except (ShuttingDown, CommandCancelled, ConnectionLost, OutcomeUnknown) as error:
            self.error = error


@pytest.mark.trio
async def test_the_first_signal_lets_commands_finish_for_their_grace(
    autojump_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    play = Playing()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play.serve)
        nursery.start_soon(play.ask)
        await play.running.wait()
        began = trio.current_time()
        play.send.send_nowait(ENDING[1])
    assert GRACE <= play.ended - began < GRACE + 5
    assert isinstance(play.error, ShuttingDown)
    assert capsys.readouterr().err == "ready on memory:foreground\n"


@pytest.mark.trio
async def test_the_second_signal_waits_for_nobody(autojump_clock: trio.testing.MockClock) -> None:
    play = Playing()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play.serve)
        nursery.start_soon(play.ask)
        await play.running.wait()
        began = trio.current_time()
        play.send.send_nowait(ENDING[1])
        await trio.sleep(1)
        assert not play.ended
        play.send.send_nowait(ENDING[0])
    assert 1 <= play.ended - began < 2


def test_a_notice_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two, a line that the thread of the log writes came between its text and its end."""
    written: list[str] = []
    monkeypatch.setattr(sys, "stderr", Writes(written))
    notice("ready on memory:x")
    assert written == ["ready on memory:x\n"]


class Writes(io.StringIO):
    """A stream that tells its writes apart."""

    def __init__(self, written: list[str]) -> None:
        super().__init__()
        self._written = written

    def write(self, text: str) -> int:
        self._written.append(text)
        return len(text)
