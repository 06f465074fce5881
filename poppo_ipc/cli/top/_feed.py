"""Keeps a model up to date: asks once a second, and listens to events, the log and the connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint

from poppo_ipc.cli._safe import safe
from poppo_ipc.cli.top._answers import Answers, event_entry, log_entry
from poppo_ipc.cli.top._model import EventEntry, Lack, Link, LinkState, Model, Part
from poppo_ipc.client import Client, ClientState, Event, Position
from poppo_ipc.errors import CallTimeout, CommandError, ConnectionLost, OutcomeUnknown

__all__ = ["Feed"]

#: Seconds between two questions, and that an answer may take.
PERIOD: Final = 1.0
_PATIENCE: Final = 5.0
#: What looks far back is asked for every so many times.
_SELDOM: Final = 5
#: Lines of the log that are asked for at the beginning.
_LOG_LINES: Final = 100
#: Events that are asked for at the beginning.
_PAST_EVENTS: Final = 50
#: Errors that say nothing of what the daemon has.
_PASSING: Final = frozenset({"BUSY", "SHUTTING_DOWN", "TIMEOUT", "CANCELLED", "INTERNAL"})
_STATES: Final = ("running", "failed", "cancelled", "pending")

Question = tuple[Part, str, dict[str, Any], Callable[[Any], None]]


class Feed:
    """The model's source, on the event loop that runs.

    Args:
        client: connected; it may lose its connection, and connect again.
        model: what is written to.
        changed: called whenever something was written, often.
        period: seconds between two questions.
        clock: seconds, for the times in `Link`.
    """

    def __init__(
        self,
        client: Client,
        model: Model,
        changed: Callable[[], None],
        *,
        period: float = PERIOD,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._model = model
        self._changed = changed
        self._period = period
        self._clock = clock
        self._answers = Answers(model)
        self._turn = 0
        self._poked = anyio.Event()
        self._connected = anyio.Event()
        self._asking = anyio.CancelScope()

    async def run(self) -> None:
        """Until cancelled. Raises the client's error once there can be no connection any more, in a group."""
        async with anyio.create_task_group() as tasks:
            for listen in (self._watch_link, self._ask_on, self._follow_events, self._follow_logs):
                tasks.start_soon(listen)

    def poke(self) -> None:
        """Ask at once: something was changed."""
        self._poked.set()

    # -- the connection -----------------------------------------------------------------------------------------

    async def _watch_link(self) -> None:
        model = self._model
        async with self._client.state_changes() as changes:
            async for change in changes:
                if change.state is ClientState.CONNECTED:
                    model.link = Link(LinkState.CONNECTED, self._clock())
                    model.forget_lacks()
                    self._answers.begin()
                    self._turn = 0
                    self._connected.set()
                    self.poke()
                elif model.link.state is LinkState.CONNECTED or change.error is not None:
                    if model.link.state is LinkState.CONNECTED:
                        self._connected = anyio.Event()
                        # Its questions would wait for another session, and the curves with them.
                        self._asking.cancel()
                    since = model.link.since if model.link.state is LinkState.AWAY else self._clock()
                    model.link = Link(LinkState.AWAY, since, safe(change.error.message if change.error else ""))
                self._changed()
                if change.state is ClientState.FAILED and change.error is not None:
                    raise change.error

    # -- questions ----------------------------------------------------------------------------------------------

    async def _ask_on(self) -> None:
        while True:
            self._poked = anyio.Event()
            if self._connected.is_set():
                with anyio.CancelScope() as self._asking:
                    await self._ask()
            self._model.mark()
            self._changed()
            with anyio.move_on_after(self._period):
                await self._poked.wait()

    def _questions(self) -> Iterator[Question]:
        answers = self._answers
        yield Part.DAEMON, "daemon.status", {}, answers.take_status
        yield Part.REQUESTS, "daemon.metrics", {}, answers.take_metrics
        yield Part.LATENCY, "metrics.get", {"type": "requests", "period": "10s"}, answers.take_latency
        yield Part.QUEUE, "queue.status", {}, answers.take_queue
        yield Part.WORKERS, "worker.status", {}, answers.take_workers
        for status in _STATES:
            limit = 100 if status == "running" else 20
            yield Part.TASKS, "task.list", {"status": status, "limit": limit}, partial(answers.take_tasks, status)
        if self._turn % _SELDOM == 0:
            yield Part.STATISTICS, "queue.stats", {"period": "5m"}, answers.take_statistics

    async def _ask(self) -> None:
        """Ask for all that the daemon is not known to lack, in one write."""
        asked = []
        try:
            async with self._client.pipeline() as pipeline:
                for part, command, args, take in self._questions():
                    if not self._model.is_lasting(part):
                        call = pipeline.call(command, args, timeout=_PATIENCE, idempotent=True)
                        asked.append((part, call, take))
            self._turn += 1
            for part, call, take in asked:
                try:
                    result = call.result()
                except CallTimeout:
                    raise
                except CommandError as error:
                    self._lack(part, error)
                else:
                    self._model.lacks.pop(part, None)
                    take(result)
        except (CallTimeout, ConnectionLost, OutcomeUnknown):
            return  # how it stands with the connection is told elsewhere

    def _lack(self, part: Part, error: CommandError) -> None:
        self._model.lacks[part] = Lack(safe(error.message), lasting=error.code not in _PASSING)

    # -- what comes by itself -------------------------------------------------------------------------------------

    async def _follow_events(self) -> None:
        while True:
            await self._connected.wait()
            try:
                async with self._client.subscribe("**", since=self._lately(), timeout=None) as events:
                    async for thing in events:
                        self._model.events.append(_entry(thing))
                        self._changed()
            except CommandError as error:
                self._lack(Part.EVENTS, error)
                await self._until_another_session()

    def _lately(self) -> Position | None:
        """A place a few events back, so that the screen does not begin empty."""
        session = self._client.session
        if session is None or session.epoch is None or session.seq is None or not session.has_replay:
            return None
        return Position(session.epoch, max(0, session.seq - _PAST_EVENTS))

    async def _follow_logs(self) -> None:
        while True:
            await self._connected.wait()
            session = self._client.session
            try:
                if session is not None and session.has_stream:
                    await self._stream_logs()
                else:
                    await self._tail_logs()
            except (CallTimeout, ConnectionLost, OutcomeUnknown):
                await checkpoint()  # asked again, which waits for the next session
            except CommandError as error:
                self._lack(Part.LOGS, error)
                self._changed()
                await self._until_another_session()

    async def _stream_logs(self) -> None:
        args = {"lines": _LOG_LINES, "follow": True}
        async with self._client.stream("logs.tail", args, idempotent=True) as items:
            fresh = True
            async for line in items:
                if fresh:
                    self._model.logs.clear()
                    fresh = False
                self._model.logs.append(log_entry(line))
                self._changed()
        # The daemon ended the stream, as it does when it stops.
        await self._until_another_session()

    async def _tail_logs(self) -> None:
        while self._connected.is_set():
            answer = await self._client.call("logs.tail", {"lines": _LOG_LINES}, timeout=_PATIENCE, idempotent=True)
            lines = answer.get("lines") if isinstance(answer, dict) else None
            self._model.logs.clear()
            self._model.logs.extend(map(log_entry, lines if isinstance(lines, list) else []))
            self._changed()
            await anyio.sleep(self._period * 2)

    async def _until_another_session(self) -> None:
        async with self._client.state_changes() as changes:
            async for change in changes:
                if change.state is not ClientState.CONNECTED:
                    break


def _entry(thing: Any) -> EventEntry:
    if isinstance(thing, Event):
        return event_entry(thing.name, thing.data, thing.timestamp)
    how_many = "events are missing" if thing.missed is None else f"up to {thing.missed} events are missing"
    return EventEntry(None, "gap", f"{how_many} ({thing.reason.value})", gap=True)
