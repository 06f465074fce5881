"""What can go wrong between a daemon and a program, by name."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self

import msgspec
from attrs import define, frozen

from poppo_ipc.protocol import MAGIC, frame
from poppo_ipc.server import generate_token
from poppo_ipc.testing._book import caller
from poppo_ipc.testing._errors import Mispromise

__all__ = ["Cut", "Fault", "FaultPlan", "Faults", "Host"]

_GARBAGE: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
_OVERSIZED: Final = MAGIC + struct.pack(">I", 2**32 - 1) + b"{"


@frozen
class Cut:
    """What becomes of one frame of the server: the bytes in its place, and whether the connection ends there."""

    data: bytes
    close: bool = False


@define(eq=False)
class Fault:
    """One fault. A context manager: it is over at the end of the block, and by `clear` before that."""

    name: str
    where: str
    cut: Callable[[bytes], Cut] | None = None
    """What it does to a frame; None where it does nothing to frames."""
    welcome: bool = False
    """Whether it is for `welcome`, and not for replies."""
    command: str | None = None
    """The command whose replies count; None for those of all that the test expects."""
    after: int = 1
    """The reply that it begins with, counted from when it was armed."""
    lasting: bool = False
    """Whether it holds for all replies from there on."""
    everything: bool = False
    """Whether it holds for all frames once a session has begun, and not for replies alone."""
    undo: Callable[[], None] | None = None
    seen: int = 0
    happened: bool = False
    over: bool = False

    def clear(self) -> None:
        """From here on it no longer happens. Idempotent."""
        if not self.over:
            self.over = True
            if self.undo is not None:
                self.undo()

    @property
    def unmet(self) -> str | None:
        """That it never happened, in words."""
        return None if self.happened or self.cut is None else f"the fault {self.name} at {self.where} never happened"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.clear()


class FaultPlan:
    """The faults of one daemon: armed by the test, and asked by the daemon's connections, in different threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self.byte_seconds: float | None = None
        """Seconds between single bytes; None where they are not slowed down."""

    def arm(self, fault: Fault) -> Fault:
        """From here on it happens."""
        with self._lock:
            self._armed.append(fault)
        return fault

    def clear(self) -> None:
        """End all."""
        with self._lock:
            armed, self._armed = self._armed, []
        for fault in armed:
            fault.clear()

    def on_welcome(self, data: bytes) -> Cut:
        """What becomes of a `welcome`."""
        return self._applied(data, lambda fault: fault.welcome)

    def on_reply(self, data: bytes, command: str, *, built_in: bool) -> Cut:
        """What becomes of the reply to a command."""

        def concerned(fault: Fault) -> bool:
            return not fault.welcome and (fault.command == command if fault.command else not built_in)

        return self._applied(data, concerned)

    def on_other(self, data: bytes) -> Cut:
        """What becomes of another frame of the server."""
        return self._applied(data, lambda fault: fault.everything and fault.seen >= fault.after)

    def _applied(self, data: bytes, concerned: Callable[[Fault], bool]) -> Cut:
        with self._lock:
            due = self._due(concerned)
            if due is None:
                return Cut(data)
            due.happened = True
            due.over = not due.lasting
        assert due.cut is not None
        return due.cut(data)

    def _due(self, concerned: Callable[[Fault], bool]) -> Fault | None:
        self._armed = [fault for fault in self._armed if not fault.over]
        due: Fault | None = None
        for fault in self._armed:
            if fault.cut is None or not (fault.everything or concerned(fault)):
                continue
            fault.seen += concerned(fault)
            if due is None and fault.seen >= fault.after:
                due = fault
        return due


class Host(Protocol):
    """The daemon that faults happen to. All in the daemon's own thread."""

    plan: FaultPlan

    def shut(self) -> None: ...
    def open(self) -> None: ...
    def drop_clients(self) -> None: ...
    def restart(self) -> None: ...
    def lose_events(self, count: int) -> None: ...
    def drop_events(self, count: int) -> None: ...
    def change_token(self, token: str | None) -> str | None: ...


class Faults:
    """Faults of a fake daemon, each one line: `fake_daemon.faults.drop_before_reply(1)`.

    Those that take `reply` happen to that reply, counted from 1 from now on and over all connections, and once; 0 is
    the daemon's first word on the next connection, its `welcome`. Replies to `events.*` and `ipc.describe` are not
    counted, unless `command` names them: with it, only replies to that command are.

    Each gives a `Fault`, which is over at the end of a `with` block, by its `clear()`, or by `faults.clear()`. A test
    in which an armed fault did not happen fails, as one with an unused expectation does.
    """

    def __init__(self, host: Host, run: Callable[[Callable[[], Any]], Any], watch: Callable[..., None]) -> None:
        self._host = host
        self._run = run
        self._watch = watch

    # -- one reply ------------------------------------------------------------------------------------------------

    def drop_before_reply(self, reply: int = 1, command: str | None = None) -> Fault:
        """Close the connection in place of a reply: the command has run, and the program cannot know."""
        return self._arm("drop_before_reply", lambda data: Cut(b"", close=True), reply, command)

    def drop_after_reply(self, reply: int = 1, command: str | None = None) -> Fault:
        """Close the connection right after a reply."""
        return self._arm("drop_after_reply", lambda data: Cut(data, close=True), reply, command)

    def half_frame(self, reply: int = 1, command: str | None = None) -> Fault:
        """Send the first half of a reply's frame, and close the connection."""
        return self._arm("half_frame", lambda data: Cut(data[: len(data) // 2], close=True), reply, command)

    def garbage(self, reply: int = 1, command: str | None = None, data: bytes = _GARBAGE) -> Fault:
        """Send `data` in place of a reply: something that is no frame."""
        return self._arm("garbage", lambda _: Cut(data), reply, command)

    def oversized(self, reply: int = 1, command: str | None = None) -> Fault:
        """Announce a frame of 4 GiB in place of a reply."""
        return self._arm("oversized", lambda _: Cut(_OVERSIZED), reply, command)

    # -- from now on ------------------------------------------------------------------------------------------------

    def never_answer(self, reply: int = 1, command: str | None = None, *, pings: bool = True) -> Fault:
        """Keep back all replies, from that one on; without `pings`, everything else from there on too.

        With `reply=0` connections are taken and not even welcomed.
        """
        return self._arm("never_answer", lambda _: Cut(b""), reply, command, lasting=True, everything=not pings)

    def wrong_version(self, version: str = "2.0.0") -> Fault:
        """Welcome clients in another version of the protocol."""

        def changed(data: bytes) -> Cut:
            message = msgspec.json.decode(data[len(frame(b"")) :])
            return Cut(frame(msgspec.json.encode({**message, "version": version})))

        return self._arm("wrong_version", changed, 0, None, lasting=True)

    def slow(self, seconds: float = 0.0) -> Fault:
        """Send every byte by itself, with so many seconds of the daemon's clock between them."""
        plan = self._host.plan
        plan.byte_seconds = seconds

        def undo() -> None:
            plan.byte_seconds = None

        return plan.arm(Fault("slow", caller(), undo=undo))

    def refuse(self) -> Fault:
        """Refuse new connections, as where no daemon runs; those that there are go on."""
        self._run(self._host.shut)
        return self._host.plan.arm(Fault("refuse", caller(), undo=lambda: self._run(self._host.open)))

    def token_changed(self, token: str | None = None) -> Fault:
        """Take another token from now on, a new one where none is given, and close all connections."""
        new = generate_token() if token is None else token
        old = self._run(lambda: self._host.change_token(new))

        def undo() -> None:
            self._run(lambda: self._host.change_token(old))

        return self._host.plan.arm(Fault("token_changed", caller(), undo=undo))

    # -- now ----------------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Close all connections."""
        self._run(self._host.drop_clients)

    def restart(self) -> None:
        """Another daemon takes over: all connections are closed, events are numbered anew, kept answers are gone."""
        self._run(self._host.restart)

    def lose_events(self, count: int = 1) -> None:
        """Close all connections, and let so many events be gone for good before clients come back: they see a gap."""
        self._run(lambda: self._host.lose_events(count))

    def drop_events(self, count: int = 1) -> None:
        """Tell all clients that so many events were dropped, as they read too slowly: they see a gap."""
        self._run(lambda: self._host.drop_events(count))

    def clear(self) -> None:
        """End all faults."""
        self._run(self._host.plan.clear)

    def _arm(
        self,
        name: str,
        cut: Callable[[bytes], Cut],
        reply: int,
        command: str | None,
        *,
        lasting: bool = False,
        everything: bool = False,
    ) -> Fault:
        __tracebackhide__ = True
        if reply < 0:
            raise Mispromise(f"{name}({reply}): replies are counted from 1, and 0 is the welcome")
        shown = f"{name}({reply})" if command is None else f"{name}({reply}, {command!r})"
        fault = Fault(
            shown,
            caller(),
            cut,
            welcome=reply == 0,
            command=command,
            after=max(reply, 1),
            lasting=lasting,
            everything=everything,
        )
        self._watch(lambda: fault.unmet)
        return self._host.plan.arm(fault)
