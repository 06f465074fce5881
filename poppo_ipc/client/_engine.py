"""What a client does, with no I/O: calls, subscriptions and pings, over any number of sessions.

The shells, `_client.py` for event loops and `_sync.py` for none, move the bytes and the time; all methods here return
at once. A session begins with `begin`, ends with `end`, and `finish` ends everything. Each waiter is woken exactly
once, whatever happens.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, Final

from poppo_ipc.client._call import Call, Exposure, fresh
from poppo_ipc.client._handshake import wire_error
from poppo_ipc.client._options import Options
from poppo_ipc.client._outbox import Outbox
from poppo_ipc.client._outcome import refusal
from poppo_ipc.client._session import Session
from poppo_ipc.client._subscriptions import Subscription, SubscriptionBook
from poppo_ipc.errors import BadMessage, ConnectionLost, LocalProtocolError, PoppoError, ProtocolError
from poppo_ipc.protocol import (
    ClientConnection,
    ErrorMessage,
    Event,
    Item,
    Ping,
    Pong,
    Received,
    Refusal,
    Response,
    State,
)

__all__ = ["CROWD", "Engine"]

CROWD: Final = 8
"""Open calls from which on a call is not sent at once but together with those that follow it in the same moment."""

_ANSWERS = frozenset({"response", "error", "item"})
_AGAIN = frozenset({"SHUTTING_DOWN", "CANCELLED"})  # a subscription refused so is made again in the next session


def _nothing() -> None:
    pass


def _warn(error: PoppoError) -> None:
    import logging  # here, since programs that are over in an instant would pay for it at each start

    logging.getLogger(__name__).warning("The server sent what is no message of the protocol: %s", error)


class Engine:
    """The state of a client.

    `now` gives the seconds of the clock that deadlines are told by. `flush` is called when frames wait to be sent,
    `flush_soon` in its place when many calls are open, so that more are likely to follow at once and go out together;
    `rearm` when a deadline is nearer than the one that was given by `next_alarm`.
    """

    def __init__(self, options: Options, now: Callable[[], float]) -> None:
        self.session: Session | None = None
        self.error: Exception | None = None  # why there will be no session any more
        self.flush: Callable[[], None] = _nothing
        self.flush_soon: Callable[[], None] = _nothing
        self.rearm: Callable[[], None] = _nothing
        self.book = SubscriptionBook()
        self.answered = False  # a call of the user was answered in this session
        self.now = now
        self.alarm = math.inf  # no call is due before it: the nearest, or what was the nearest before it ended
        self._options = options
        self._connection: ClientConnection | None = None
        self._outbox = Outbox()
        self._pending: dict[str, Call] = {}  # sent in the present session
        self._held: dict[Call, None] = {}  # not submitted yet
        self._waiting: dict[Call, None] = {}  # for the next one, which decides on those that were sent in an old one
        self._pings: dict[str, Call] = {}
        self._count = 0
        self._key_prefix = os.urandom(12).hex()
        self._parting: ErrorMessage | None = None

    @property
    def _sending(self) -> bool:
        """Whether commands can go out: a connection ends a little before its session does."""
        return self._connection is not None and self._connection.state is State.READY

    # -- asking -------------------------------------------------------------------------------------------------

    def new_key(self) -> str:
        """An idempotency key that no other call in the world has."""
        self._count += 1
        return f"{self._key_prefix}-{self._count}"

    def submit(self, call: Call, *, flush: bool = True, now: float | None = None) -> None:
        """Hand the call over, now or in the next session. `now` is the time, where the caller has just looked at it.

        Raises what `ClientConnection.command` raises where it cannot be sent as it is, and the reason where there is
        no session any more. Nothing is left behind then.
        """
        if self._held:
            self._held.pop(call, None)
        if self.error is not None:
            raise fresh(self.error)
        if self._sending:
            self._send(call, now)
            if flush:
                (self.flush if len(self._pending) < CROWD else self.flush_soon)()
        else:
            self._waiting[call] = None
        self._watch(call)

    def hold(self, call: Call) -> None:
        """Keep the time of a call that its owner will `submit` later, as a pipeline does when its window is full."""
        self._held[call] = None
        self._watch(call)

    def _watch(self, call: Call) -> None:
        if call.due < self.alarm:
            self.alarm = call.due
            self.rearm()

    def abandon(self, call: Call) -> None:
        """Nobody waits for the call any more: take it back, or cancel it at the server. Idempotent; never waits."""
        call.done = True
        self._held.pop(call, None)
        self._waiting.pop(call, None)
        if self._pending.get(call.id) is not call:
            return
        del self._pending[call.id]
        assert self._connection is not None
        if self._outbox.withdraw(call):
            self._connection.forget(call.id)
            return
        frame = self._connection.cancel(call.id)
        self._connection.forget(call.id)
        if frame is not None:
            self._outbox.put(frame)
            self.flush()

    def grant(self, call: Call, credit: int) -> None:
        """Let the server send `credit` more items of a stream."""
        if self._connection is not None and self._pending.get(call.id) is call:
            frame = self._connection.credit(call.id, credit)
            if frame is not None:
                self._outbox.put(frame)
                self.flush()

    def ping(self, call: Call) -> None:
        """Send a ping; `call` is done when its pong comes.

        Raises LocalProtocolError where the server has no `ping`, and ConnectionLost where there is no session.
        """
        if self.error is not None:
            raise fresh(self.error)
        if self._connection is None or self.session is None or not self._sending:
            raise ConnectionLost("There is no connection to ping over just now")
        if not self.session.has_ping:
            raise LocalProtocolError("This server has no ping; call a command that does little instead")
        self._count += 1
        call.id = f"p{self._count}"
        self._outbox.put(self._connection.ping(call.id))
        self._pings[call.id] = call
        self.flush()

    def forget_ping(self, call: Call) -> None:
        """Nobody waits for this pong any more."""
        self._pings.pop(call.id, None)

    def _send(self, call: Call, now: float | None = None) -> None:
        session, connection = self.session, self._connection
        assert session is not None
        assert connection is not None
        self._count += 1
        message_id = str(self._count)
        timeout_ms = None
        call.due = call.deadline
        if session.has_deadline and call.deadline < math.inf:
            # A clock may stand still meanwhile, and what floats are off by is not to become a millisecond.
            timeout_ms = max(1, math.ceil((call.deadline - (self.now() if now is None else now)) * 1000 - 1e-6))
            call.due += self._options.timeout_grace
        frame = connection.command(
            message_id,
            call.command,
            call.args,
            timeout_ms=timeout_ms,
            credit=call.credit,
            idempotency_key=call.key,
        )
        call.id = message_id
        call.handed = False
        self._pending[message_id] = call
        self._outbox.put(frame, call)

    # -- subscriptions --------------------------------------------------------------------------------------------

    def subscribe(self, subscription: Subscription) -> None:
        """Make the subscription, now and again in each session. Raises the reason where there is none any more."""
        if self.error is not None:
            raise fresh(self.error)
        self.book.add(subscription)
        if self._sending:
            self._make([subscription])
            self.flush()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End the subscription, at the server too. Idempotent; never waits."""
        self.book.remove(subscription)
        wire_id = subscription.wire_id
        subscription.end(None)
        if wire_id is not None and self._sending:
            call = Call("events.unsubscribe", {"subscriptionId": wire_id}, idempotent=True)
            call.internal = True
            self._send(call)
            self.flush()

    def _make(self, subscriptions: list[Subscription]) -> None:
        """Make one subscription after the other: a server bounds the commands of one client that run at once."""
        session = self.session
        subscriptions = [each for each in subscriptions if not each.over]
        if session is None or not subscriptions or not self._sending:
            return
        subscription, *others = subscriptions
        if not session.has_subscribe:
            for each in subscriptions:
                each.made_by_original()
            return

        def answered() -> None:
            if call.error is None:
                subscription.made(call.result, session)
                if subscription.over and subscription.wire_id is not None:
                    self.unsubscribe(subscription)
            elif getattr(call.error, "code", "") not in _AGAIN:
                self.book.remove(subscription)
                subscription.end(call.error)
            self._make(others)

        call = Call("events.subscribe", subscription.request(session), idempotent=True, wake=answered)
        call.internal = True
        self._send(call)

    # -- receiving ------------------------------------------------------------------------------------------------

    def receive(self, received: list[Received]) -> PoppoError | None:
        """Take what the server sent, in order. An error ends the session: then close, and call `end` with it."""
        for message in received:
            if type(message) is Response:
                call = self._pending.pop(message.id, None)
                if call is not None:
                    self.answered |= not call.internal
                    call.resolve(message.result)
            elif type(message) is Event:
                self.book.deliver(message)
            elif type(message) is Item:
                streaming = self._pending.get(message.id)
                if streaming is not None:
                    streaming.item(message.data)
            elif isinstance(message, Refusal):
                if message.fatal:
                    return message.error
                _warn(message.error)
                self._receive_malformed(message.error)
            else:
                self._receive_other(message)
        # What the answers led to (the next subscription, an end of one) goes out in one piece.
        if self._outbox:
            self.flush()
        return None

    def _receive_other(self, message: Any) -> None:
        if isinstance(message, ErrorMessage):
            self._receive_error(message)
        elif isinstance(message, Ping):
            if self._connection is not None and self._sending:
                self._outbox.put_first(self._connection.pong(message))
        elif isinstance(message, Pong):
            ping = self._pings.pop(message.id, None)
            if ping is not None:
                ping.resolve(None)

    def _receive_error(self, message: ErrorMessage) -> None:
        if message.id is None:
            # About the connection as a whole. Whether it ends with this, its end will tell.
            self._parting = message
            return
        call = self._pending.pop(message.id, None)
        if call is not None:
            self.answered = self.answered or not call.internal
            call.fail(wire_error(message.error))

    def _receive_malformed(self, error: PoppoError) -> None:
        """No other answer will come to the call that it was for."""
        if isinstance(error, BadMessage) and error.message_id is not None and error.kind in _ANSWERS:
            call = self._pending.pop(error.message_id, None)
            if call is not None:
                call.fail(error)

    # -- sessions -------------------------------------------------------------------------------------------------

    def begin(self, connection: ClientConnection, session: Session, outbox: Outbox) -> None:
        """A session is settled: send what waits."""
        self._connection, self.session, self._outbox = connection, session, outbox
        self.answered = False
        self._parting = None
        # First, so that nobody acts on an answer before the events are flowing again.
        self._make(list(self.book))
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            if not self._sending:  # it came to its end together with its beginning
                self._waiting[call] = None
            elif self._judge(call, session):
                try:
                    self._send(call)
                except (PoppoError, TypeError, ValueError, RecursionError) as error:
                    call.fail(error)
        self.flush()

    def end(self, error: PoppoError, *, heard: float, another: bool) -> None:
        """The session is over; its last byte came at `heard`. `another`: one more will be tried for.

        What can be asked again then waits for that one; what cannot ends here.
        """
        session, pending = self.session, self._pending
        assert session is not None
        # What broke the rules of the wire (an answer over the bound, it may be) would come again for the same question.
        spoilt = isinstance(error, ProtocolError)
        self._connection = self.session = None
        self._pending, self._outbox = {}, Outbox()
        self.flush = self.flush_soon = _nothing
        self.book.lost()
        pings, self._pings = self._pings, {}
        for ping in pings.values():
            ping.fail(fresh(error))
        # What was sent is older than what waits already.
        later, self._waiting = self._waiting, {}
        for call in pending.values():
            if call.internal:
                continue
            if call.handed:
                call.exposed = Exposure(session, heard)
            call.handed = False
            call.due = call.deadline
            # What was not sent in any session cannot have spoilt this one.
            follows = another and not (spoilt and call.exposed)
            if self._judge(call, session if follows else None, error):
                self._waiting[call] = None
        self._waiting.update(later)
        self.next_alarm()  # with no session there is no grace either: it may be nearer now
        self.rearm()
        if not another:
            self.finish(error)

    def finish(self, error: Exception) -> None:
        """There will be no session any more. Idempotent: the first reason stays."""
        if self.error is None:
            self.error = error
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            self._judge(call, None)
        for subscription in self.book:
            subscription.end(fresh(self.error))

    def cancel_all(self) -> None:
        """Cancel at the server what still runs. Who waits for it is told by `finish` or `end`."""
        self.flush()  # what is only put off goes out first: it is cancelled too, where it was meant to be sent
        for call in self._pending.values():
            if self._connection is not None and call.handed and not call.internal:
                frame = self._connection.cancel(call.id)
                if frame is not None:
                    self._outbox.put(frame)
        self.flush()

    def parting(self, error: PoppoError) -> PoppoError:
        """Why the connection ended: in the server's own words, where it said some before."""
        if self._parting is None:
            return error
        body = self._parting.error
        return ConnectionLost(f"The server ended the connection: {body.message} ({body.code})")

    def _judge(self, call: Call, new: Session | None, error: PoppoError | None = None) -> bool:
        """Whether the call goes out again in `new`; ends it where it does not."""
        failure = refusal(call, new, error or self.error, self.now())
        if failure is not None:
            call.fail(failure)
        return failure is None

    # -- time -----------------------------------------------------------------------------------------------------

    def next_alarm(self) -> float:
        """When `expire` has to be called next, by the engine's clock; infinity for never."""
        dues = [call.due for calls in (self._pending.values(), self._waiting, self._held) for call in calls]
        self.alarm = min(dues, default=math.inf)
        return self.alarm

    def expire(self) -> None:
        """End the calls whose time is over, and cancel them at the server."""
        now = self.now()
        if now < self.alarm:
            return
        for call in [call for call in (*self._pending.values(), *self._waiting, *self._held) if call.due <= now]:
            if call.done:  # what ended one of the others has ended this one too
                continue
            sent, held = call.handed or call.exposed is not None, call in self._held
            self.abandon(call)
            call.done = False
            call.fail(call.timed_out(sent, held))
        self.next_alarm()
