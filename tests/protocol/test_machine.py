"""Any message, any bytes and any call, in any order: what comes out is what the contract names, and nothing else.

`Joined` is a client and a server that keep to the rules, with a wire between them that cuts as it likes; what each
holds open can then be told from the other. `Hostile` is one side with a peer that keeps to none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poppo_ipc.errors import (
    AuthenticationError,
    CommandError,
    FrameTooLarge,
    LocalProtocolError,
    VersionMismatch,
)
from poppo_ipc.protocol import (
    ALL_CAPABILITIES,
    Auth,
    AuthSuccess,
    Cancel,
    ClientConnection,
    Codec,
    Command,
    Connection,
    Credit,
    ErrorMessage,
    Event,
    Item,
    Message,
    Ping,
    Pong,
    Received,
    Refusal,
    Response,
    ServerConnection,
    State,
    Welcome,
)

from .helpers import TOKEN, cut, framed, new_client, new_server, proof_for, unwire

ids = st.sampled_from(["", "1", "2", "auth", "日", "x" * 128])
capability_sets = st.lists(st.sampled_from(ALL_CAPABILITIES), unique=True).map(tuple) | st.just(ALL_CAPABILITIES)
places = st.lists(st.integers(0, 5000), max_size=3)
data = st.sampled_from([None, {}, {"n": 1}, ["日"], "x" * 400, 1e300])

# What a send may raise; a plain KeyError, AssertionError or TypeError is a bug.
NAMED = (LocalProtocolError, FrameTooLarge, AuthenticationError)


def attempt(call: Callable[[], bytes | None]) -> bytes:
    """What the call sends: nothing where it may not."""
    try:
        return call() or b""
    except NAMED as error:
        assert str(error)  # noqa: PT017
        return b""


class Watched:
    """A side that is watched while it receives: what holds after every call is said here once."""

    def __init__(self, side: Connection) -> None:
        self.side = side
        self.ended = False
        self.was_closed = False
        self.reader = Codec("server", 128)

    def take(self, call: Callable[[], list[Received]]) -> list[Received]:
        silent = self.side.paused or self.side.state in (State.CLOSING, State.CLOSED)
        received = call()
        assert isinstance(received, list)
        if silent:
            assert received == []
        for index, each in enumerate(received):
            if isinstance(each, Refusal):
                self.check_refusal(each, last=index == len(received) - 1)
            if isinstance(each, Auth):
                assert index == len(received) - 1, "nothing comes out behind an auth"
                assert self.side.paused
        return received

    def check_refusal(self, refusal: Refusal, *, last: bool) -> None:
        assert str(refusal.error)
        if refusal.fatal:
            assert last, "nothing comes out behind the end"
            assert self.side.state is State.CLOSING
        if isinstance(self.side, ClientConnection):
            assert refusal.reply is None
            return
        assert refusal.reply is not None
        (fields,) = unwire(refusal.reply)
        message = self.reader.decode(refusal.reply[9:])
        assert isinstance(message, ErrorMessage)
        assert fields["error"]["code"] == refusal.error.code
        assert fields["error"]["message"] == str(refusal.error)
        assert fields["id"] is None or len(fields["id"]) <= 128
        # And a client takes it, whatever it has open.
        other = new_client()
        (welcome,) = other.receive_data(framed(b'{"type":"welcome","authRequired":false}'))
        assert isinstance(welcome, Welcome)
        if fields["id"] is not None:
            other.command(fields["id"], "c", {})
        (told,) = other.receive_data(bytes(refusal.reply))
        assert isinstance(told, ErrorMessage)

    def check(self) -> None:
        side = self.side
        if self.ended:
            assert side.state in (State.CLOSING, State.CLOSED), "an end is for good"
        if self.was_closed:
            assert side.state is State.CLOSED
            assert side.open_requests == frozenset()
        self.ended = side.state in (State.CLOSING, State.CLOSED)
        self.was_closed = side.state is State.CLOSED


class Joined(RuleBasedStateMachine):
    """Both sides, each with an owner that makes every call there is, and all bytes in between."""

    @initialize(
        auth_required=st.booleans(),
        original=st.booleans(),
        offered=capability_sets,
        wanted=capability_sets,
        tries=st.integers(1, 3),
        head_start=st.booleans(),
    )
    def start(
        self,
        auth_required: bool,
        original: bool,
        offered: tuple[str, ...],
        wanted: tuple[str, ...],
        tries: int,
        head_start: bool,
    ) -> None:
        bounds: dict[str, Any] = {"frame_bytes": 3000, "unauthenticated_frame_bytes": 1500}
        self.server = new_server(auth_required=auth_required, capabilities=offered, auth_tries=tries, **bounds)
        self.client = new_client(**bounds)
        self.watched_server, self.watched_client = Watched(self.server), Watched(self.client)
        self.wanted = wanted
        self.to_server = self.to_client = b""
        self.auths: list[Auth] = []
        self.forgotten: set[str] = set()
        self.waits_for_auth = False
        self.asked = 0
        self.answers: list[Received] = []
        welcome = bytes(self.server.welcome())
        if original:
            # As an original server would have said it; the client then takes it for one.
            fields = unwire(welcome)[0]
            welcome = framed(json.dumps({key: fields[key] for key in ("type", "version", "authRequired")}).encode())
        self.to_client += welcome
        if head_start:
            # Into READY at once: by chance alone few runs get there.
            self.deliver_all()
            self.authenticate(TOKEN, "auth")
            self.deliver_all()
            self.answer_auth(good=True)
            self.deliver_all()
            assert self.client.settled

    # The client's owner

    @precondition(lambda self: not self.client.settled and not self.waits_for_auth)
    @rule(token=st.sampled_from([TOKEN, TOKEN, "wrong", None]), message_id=ids)
    def authenticate(self, token: str | None, message_id: str) -> None:
        """One auth at a time: the client knows only the answer to the last one."""
        sent = attempt(lambda: self.client.authenticate(message_id, token, capabilities=self.wanted))
        self.waits_for_auth = bool(sent)
        self.to_server += sent

    @rule(credit=st.none() | st.integers(1, 3), key=st.none() | st.just("k"), args=st.sampled_from([{}, {"x": "日"}]))
    def command(self, credit: int | None, key: str | None, args: dict[str, Any]) -> None:
        self.asked += 1
        message_id = f"c{self.asked}"
        sent = attempt(lambda: self.client.command(message_id, "c", args, credit=credit, idempotency_key=key))
        assert (message_id in self.client.open_requests) == bool(sent)
        self.to_server += sent

    @precondition(lambda self: self.client.open_requests)
    @rule(pick=st.integers(0, 10))
    def command_again(self, pick: int) -> None:
        if still := sorted(self.client.open_requests):
            message_id = still[pick % len(still)]
            assert attempt(lambda: self.client.command(message_id, "c", {})) == b""
            assert message_id in self.client.open_requests

    @precondition(lambda self: self.client.open_requests)
    @rule(pick=st.integers(0, 10), credit=st.integers(1, 3), cancel=st.booleans())
    def steer(self, pick: int, credit: int, cancel: bool) -> None:
        if still := sorted(self.client.open_requests):
            message_id = still[pick % len(still)]
            call = self.client.cancel(message_id) if cancel else self.client.credit(message_id, credit)
            self.to_server += bytes(call or b"")

    @precondition(lambda self: self.client.open_requests)
    @rule(pick=st.integers(0, 10))
    def forget(self, pick: int) -> None:
        if still := sorted(self.client.open_requests):
            self.forgotten.add(still[pick % len(still)])
            self.client.forget(still[pick % len(still)])

    @rule(message_id=ids, client=st.booleans())
    def ping(self, message_id: str, client: bool) -> None:
        if client:
            self.to_server += attempt(lambda: self.client.ping(message_id))
        else:
            self.to_client += attempt(lambda: self.server.ping(message_id))

    # The server's owner

    @precondition(lambda self: self.auths)
    @rule(good=st.booleans())
    def answer_auth(self, good: bool) -> None:
        if not self.auths:
            return
        auth = self.auths.pop()
        proof = proof_for(self.server, auth)
        right = not self.server.auth_required or auth.token == TOKEN or proof is not None
        if right and good:
            self.to_client += attempt(lambda: self.server.accept(auth, session_id="s", proof=proof))
        else:
            self.to_client += attempt(lambda: self.server.reject(auth))
        self.heard_by_server(self.watched_server.take(self.server.resume))

    @precondition(lambda self: self.server.open_requests)
    @rule(pick=st.integers(0, 10), how=st.sampled_from(["respond", "fail", "item"]), value=data)
    def answer(self, pick: int, how: str, value: Any) -> None:
        if still := sorted(self.server.open_requests):
            message_id = still[pick % len(still)]
            match how:
                case "respond":
                    sent = attempt(lambda: self.server.respond(message_id, value))
                case "fail":
                    sent = attempt(lambda: self.server.fail(message_id, CommandError("X", "x", {"value": value})))
                case _:
                    sent = attempt(lambda: self.server.item(message_id, value))
            assert (message_id in self.server.open_requests) == (not sent or how == "item")
            self.to_client += sent

    @rule()
    def event(self) -> None:
        self.to_client += attempt(lambda: self.server.send(Event(event="task.done", data={"n": 1})))

    @precondition(lambda self: self.asked > 3)
    @rule(how=st.sampled_from(["end", "closed", "eof"]), client=st.booleans(), sure=st.integers(0, 3))
    def finish(self, how: str, client: bool, sure: int) -> None:
        if sure:
            return  # not too often: little happens afterwards
        side: Connection = self.client if client else self.server
        match how:
            case "eof":
                side.receive_eof()
                assert side.state is State.CLOSED
            case "closed":
                side.closed()
                assert side.state is State.CLOSED
            case _:
                self.to_client += bytes(self.server.end(CommandError("SHUTTING_DOWN", "x")) or b"")

    # The wire

    def heard_by_server(self, received: list[Received]) -> None:
        for each in received:
            match each:
                case Auth():
                    self.auths.append(each)
                case Ping():
                    self.to_client += attempt(partial(self.server.pong, each))
                case Refusal():
                    assert each.reply is not None
                    self.to_client += each.reply
                    # The client keeps to the rules, so all that is refused is what came before it was let in.
                    assert each.error.code == "AUTH_REQUIRED" or (
                        each.error.code == "BAD_MESSAGE" and str(each.error) == "Already authenticated"
                    )
                case _:
                    assert isinstance(each, Command | Cancel | Credit | Pong)

    def heard_by_client(self, received: list[Received]) -> None:
        for each in received:
            assert isinstance(each, Welcome | AuthSuccess | Response | Item | ErrorMessage | Event | Ping | Pong) or (
                isinstance(each, Refusal) and isinstance(each.error, AuthenticationError)
            ), each
            if isinstance(each, AuthSuccess) or (isinstance(each, ErrorMessage) and each.id == self.client.auth_id):
                self.waits_for_auth = False
            if isinstance(each, Ping):
                self.to_server += attempt(partial(self.client.pong, each))

    @precondition(lambda self: self.to_server)
    @rule(share=st.integers(0, 5000), where=places)
    def deliver_to_server(self, share: int, where: list[int]) -> None:
        count = share % (len(self.to_server) + 1)
        arrived, self.to_server = self.to_server[:count], self.to_server[count:]
        for piece in cut(arrived, where):
            self.heard_by_server(self.watched_server.take(partial(self.server.receive_data, piece)))

    @precondition(lambda self: self.to_client)
    @rule(share=st.integers(0, 5000), where=places)
    def deliver_to_client(self, share: int, where: list[int]) -> None:
        count = share % (len(self.to_client) + 1)
        arrived, self.to_client = self.to_client[:count], self.to_client[count:]
        for piece in cut(arrived, where):
            self.heard_by_client(self.watched_client.take(partial(self.client.receive_data, piece)))

    @precondition(lambda self: self.to_client or self.to_server)
    @rule()
    def deliver_all(self) -> None:
        for _ in range(20):
            if self.to_client:
                self.deliver_to_client(len(self.to_client), [])
            if self.to_server:
                self.deliver_to_server(len(self.to_server), [])
            if not self.to_client and not self.to_server:
                break
        else:
            raise AssertionError("the two sides never come to rest")
        if self.client.state is self.server.state is State.READY and not self.server.paused:
            assert self.server.open_requests - self.forgotten == self.client.open_requests
            assert not self.client.settled or self.client.capabilities == self.server.capabilities
            assert self.client.receive_data(b"") == self.server.receive_data(b"") == []

    @invariant()
    def ends_are_for_good(self) -> None:
        if hasattr(self, "server"):
            self.watched_client.check()
            self.watched_server.check()

    @invariant()
    def the_server_runs_only_what_the_client_asked(self) -> None:
        if hasattr(self, "server") and self.client.state is State.READY:
            assert self.server.open_requests <= {f"c{number}" for number in range(1, self.asked + 1)}


# -- a peer that keeps to no rule -------------------------------------------------------------------------------

TYPES = [
    *("welcome", "auth", "auth-success", "command", "response", "error", "event"),
    *("cancel", "item", "credit", "ping", "pong", "nothing", 5),
]
anything = st.sampled_from([None, True, 0, 1, -1, 1.5, "", "x", [], ["ping", 5], {}, {"a": [1]}, "x" * 600, "日"])
hostile_fields = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={
        "id": ids | anything,
        "version": st.sampled_from(["1.0.0", "1.5", "2.0.0", 1, None]),
        "token": anything,
        "proof": anything,
        "clientNonce": anything,
        "nonce": anything,
        "capabilities": st.just(list(ALL_CAPABILITIES)) | anything,
        "authRequired": st.booleans() | anything,
        "maxFrameBytes": st.sampled_from([-5, 0, 1, 100, 10**30, "x"]),
        "command": st.just("c") | anything,
        "args": st.just({}) | anything,
        "credit": anything,
        "timeoutMs": anything,
        "idempotencyKey": anything,
        "success": st.booleans() | anything,
        "error": st.just({"message": "m", "code": "C", "details": {}}) | anything,
        "event": st.just("e") | anything,
        "seq": anything,
        "sessionId": anything,
    },
)
hostile_payloads = hostile_fields.map(lambda fields: json.dumps(fields, ensure_ascii=False).encode()) | st.sampled_from(
    [b"", b"[]", b"\xff", b"NaN", b"[" * 500, b'{"type":"ping","id":"\\ud800"}', b'{"type":"command","id":"1"']
)
good_frames = ids.map(lambda each: framed(json.dumps({"type": "command", "id": each, "command": "c"}).encode()))


class Hostile(RuleBasedStateMachine):
    """One side, an owner that calls anything at any time, and a peer that sends anything at all."""

    @initialize(
        role=st.sampled_from(["server", "client"]),
        auth_required=st.booleans(),
        offered=capability_sets,
        head_start=st.booleans(),
    )
    def start(self, role: str, auth_required: bool, offered: tuple[str, ...], head_start: bool) -> None:
        bounds: dict[str, Any] = {
            "frame_bytes": 2000,
            "unauthenticated_frame_bytes": 1000,
            "nesting": 16,
            "bad_messages": 4,
        }
        self.server: ServerConnection | None = None
        self.client: ClientConnection | None = None
        if role == "server":
            side: Connection = new_server(auth_required=auth_required, capabilities=offered, **bounds)
            assert isinstance(side, ServerConnection)
            self.server = side
            side.welcome()
        else:
            side = new_client(**bounds)
            assert isinstance(side, ClientConnection)
            self.client = side
        self.side = side
        self.auth_required = auth_required
        self.watched = Watched(side)
        self.auths: list[Auth] = []
        if head_start:
            self.the_way_in(list(ALL_CAPABILITIES), [], [])
            if (server := self.server) is not None:
                attempt(lambda: server.accept(self.auths[-1], session_id="s"))

    def receive(self, stream: bytes, where: list[int]) -> None:
        for piece in cut(stream, where):
            received = self.watched.take(partial(self.side.receive_data, piece))
            self.auths += [each for each in received if isinstance(each, Auth)]
            for each in received:
                if isinstance(each, Refusal) and isinstance(each.error, VersionMismatch):
                    assert each.fatal
                if isinstance(each, Command):
                    assert each.id in self.side.open_requests
                    assert isinstance(each.args, dict)
                if isinstance(each, ErrorMessage):
                    assert isinstance(each.error.message, str)
                    assert isinstance(each.error.code, str)

    @rule(payloads=st.lists(hostile_payloads, max_size=6), where=places)
    def messages(self, payloads: list[bytes], where: list[int]) -> None:
        self.receive(b"".join(map(framed, payloads)), where)

    @rule(payload=hostile_payloads, at=st.integers(0, 5000), bit=st.integers(0, 7), where=places)
    def a_message_with_one_bit_turned(self, payload: bytes, at: int, bit: int, where: list[int]) -> None:
        stream = bytearray(framed(payload))
        at = at % len(payload) + 9 if payload and at % 8 else at % len(stream)
        stream[at] ^= 1 << bit
        self.receive(bytes(stream), where)

    @precondition(lambda self: len(self.auths) > 1)
    @rule(noise=st.binary(max_size=12), where=places)
    def noise(self, noise: bytes, where: list[int]) -> None:
        self.receive(noise, where)

    @rule(frames=st.lists(good_frames, max_size=4), where=places)
    def good_commands(self, frames: list[bytes], where: list[int]) -> None:
        self.receive(b"".join(frames), where)

    @rule(wanted=st.just(list(ALL_CAPABILITIES)) | anything, behind=st.lists(good_frames, max_size=2), where=places)
    def the_way_in(self, wanted: Any, behind: list[bytes], where: list[int]) -> None:
        """As far as READY, or most of what comes is refused for being too early."""
        if self.server is not None:
            auth = framed(json.dumps({"type": "auth", "id": "auth", "capabilities": wanted}).encode())
            self.receive(auth + b"".join(behind), where)
            return
        assert self.client is not None
        if self.client.welcome is None:
            fields: dict[str, Any] = {"type": "welcome", "authRequired": self.auth_required}
            if isinstance(wanted, list):
                fields["capabilities"] = list(ALL_CAPABILITIES[1:])
            self.receive(framed(json.dumps(fields).encode()), where)
        client = self.client
        if not client.settled and attempt(lambda: client.authenticate("auth", TOKEN)):
            success = {"type": "auth-success", "id": "auth", "sessionId": "s", "capabilities": ["stream", "cancel"]}
            self.receive(framed(json.dumps(success).encode()), where)

    @rule(message_id=ids, value=data, number=st.integers(1, 3), call=st.integers(0, 20))
    def any_call(self, message_id: str, value: Any, number: int, call: int) -> None:
        messages: list[Message] = [
            *(Response(id=message_id, result=value), Event(event="e", data=value), Ping(id=message_id)),
            *(Item(id=message_id, data=value), Pong(id=message_id), ErrorMessage(id=None, error={"message": "m"})),
            *(Credit(id=message_id, credit=number), Cancel(id=message_id), Auth(id=message_id), Welcome()),
        ]
        message = messages[call % 10]
        calls: list[Callable[[], Any]] = [lambda: self.side.send(message)]
        if (server := self.server) is not None:
            auth = self.auths[-1] if self.auths else Auth(id=message_id)
            calls += [
                lambda: server.accept(auth, session_id="s", proof="p", epoch="e"),
                lambda: server.accept(auth, session_id="s" * 2000),
                lambda: server.reject(auth),
                lambda: server.respond(message_id, value),
                lambda: server.fail(message_id, CommandError("X", "x", {"value": value})),
                lambda: server.item(message_id, value),
                lambda: server.ping(message_id),
                lambda: server.pong(Ping(id=message_id)),
                lambda: server.welcome(),
            ]
        if (client := self.client) is not None:
            calls += [
                lambda: client.authenticate(message_id, TOKEN),
                lambda: client.authenticate(message_id, None),
                lambda: client.authenticate(message_id, "x" * 2000),
                lambda: client.command(message_id, "c", {"v": value}, timeout_ms=1, credit=1, idempotency_key="k"),
                lambda: client.command(message_id, "c", {"v": value}),
                lambda: client.cancel(message_id),
                lambda: client.credit(message_id, number),
                lambda: client.ping(message_id),
                lambda: client.pong(Ping(id=message_id)),
                lambda: client.forget(message_id),
            ]
        before = (self.side.state, self.side.open_requests, self.side.capabilities, self.side.paused)
        chosen = calls[call % len(calls)]
        sent = attempt(chosen)
        if sent:
            assert len(unwire(sent)) == 1
            assert len(sent) <= 2009
        elif self.client is None:
            assert (self.side.state, self.side.open_requests, self.side.capabilities, self.side.paused) == before
        received = self.watched.take(self.side.resume)
        self.auths += [each for each in received if isinstance(each, Auth)]

    @rule(how=st.sampled_from(["end", "closed", "eof"]), sure=st.integers(0, 3))
    def finish(self, how: str, sure: int) -> None:
        if sure:
            return  # not too often: little happens afterwards
        if how == "closed":
            self.side.closed()
            assert self.side.state is State.CLOSED
        elif how == "eof":
            self.side.receive_eof()
            assert self.side.state is State.CLOSED
        elif self.server is not None:
            self.server.end(CommandError("X", "x"))
            assert self.server.state in (State.CLOSING, State.CLOSED)

    @invariant()
    def ends_are_for_good(self) -> None:
        if hasattr(self, "watched"):
            self.watched.check()

    @invariant()
    def nobody_is_let_in_unasked(self) -> None:
        if hasattr(self, "watched") and self.client is not None and self.client.settled:
            assert self.client.auth_id or self.client.is_original or self.client.session is not None


TestJoined = Joined.TestCase
TestJoined.settings = settings(max_examples=200, stateful_step_count=50)
TestHostile = Hostile.TestCase
TestHostile.settings = settings(max_examples=100, stateful_step_count=40)
