"""Commands and their answers: ids, capabilities, bad messages, and the ends of a connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec import UNSET

from poppo_ipc.errors import (
    BadFrame,
    CommandCancelled,
    CommandError,
    ConnectionLost,
    FrameTooLarge,
    InternalError,
    LocalProtocolError,
    RemoteProtocolError,
    ShuttingDown,
)
from poppo_ipc.protocol import (
    ALL_CAPABILITIES,
    CANCEL,
    DEADLINE,
    IDEMPOTENCY,
    MAX_ID_CHARS,
    PING,
    STREAM,
    Auth,
    Cancel,
    ClientConnection,
    Command,
    Credit,
    ErrorBody,
    ErrorMessage,
    Event,
    Item,
    Ping,
    Pong,
    Refusal,
    Response,
    ServerConnection,
    State,
)

from .helpers import (
    SPLITS,
    code_of,
    feed_all,
    framed,
    new_client,
    new_server,
    one,
    only_refusal,
    original_client,
    original_server,
    session,
    types_of,
    wire,
)

GOOD = wire(type="command", id="good", command="c")


def ready() -> ServerConnection:
    return session()[1]


def asked(server: ServerConnection, message_id: str = "1", **fields: Any) -> Command:
    (command,) = server.receive_data(wire(type="command", id=message_id, command="c", **fields))
    assert isinstance(command, Command)
    return command


# -- commands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("args", "expected"), [({"a": 1}, {"a": 1}), ({}, {}), (None, {})])
def test_args_are_an_object_and_absent_ones_an_empty_one(args: object, expected: object) -> None:
    assert asked(ready(), args=args).args == expected
    assert asked(ready()).args == {}


@pytest.mark.parametrize("args", [[], "x", 5, True, 0, False, ""])
def test_args_that_are_no_object_are_refused(args: object) -> None:
    server = ready()
    received = server.receive_data(wire(type="command", id="1", command="c", args=args))
    assert code_of(received) == ("INVALID_ARGS", "1", False)
    assert one(only_refusal(received).reply)["error"]["details"] == {"field": "args", "problem": "expected an object"}
    assert server.open_requests == frozenset()


def test_the_id_of_a_running_command_cannot_be_used_again() -> None:
    server = ready()
    asked(server)
    for _ in range(2):
        assert code_of(server.receive_data(wire(type="command", id="1", command="c"))) == ("DUPLICATE_ID", "1", False)
    asked(server, "2")
    server.respond("1", None)
    asked(server)
    server.fail("1", CommandError("X", "x"))
    asked(server)
    assert server.open_requests == {"1", "2"}


def test_the_client_asks_no_two_open_questions_with_one_id() -> None:
    """The server's DUPLICATE_ID would be taken for the answer to the first."""
    client, _ = session()
    client.command("1", "c", {})
    with pytest.raises(LocalProtocolError):
        client.command("1", "c", {})
    client.receive_data(wire(type="response", id="1", success=True, result=None))
    client.command("1", "c", {})


def test_the_client_sends_no_id_that_the_server_would_not_take() -> None:
    """The server's answer to one bears no id, so that the command would have been open for ever."""
    client, server = session()
    data = client.command("x" * MAX_ID_CHARS, "c", {})
    assert types_of(server.receive_data(bytes(data))) == ["Command"]
    with pytest.raises(LocalProtocolError):
        client.command("x" * (MAX_ID_CHARS + 1), "c", {})
    assert len(client.open_requests) == 1


def test_a_command_may_have_the_id_of_the_auth_or_none_at_all() -> None:
    """Its error was taken for that of the auth, and the command stayed open."""
    for client in (session()[0], original_client(), original_client(auth_required=True)):
        for message_id in (client.auth_id, "a", ""):
            client.command(message_id, "c", {})
            (answer,) = client.receive_data(wire(type="error", id=message_id, error={"message": "m", "code": "C"}))
            assert isinstance(answer, ErrorMessage)
            assert client.open_requests == frozenset()


def test_answers_come_in_any_order_and_each_once() -> None:
    client, server = session()
    for message_id in "123":
        server.receive_data(bytes(client.command(message_id, "c", {})))
    assert client.open_requests == server.open_requests == {"1", "2", "3"}
    first = client.receive_data(bytes(server.respond("3", {"n": 1})))
    assert isinstance(first[0], Response)
    assert first[0].result == {"n": 1}
    second = client.receive_data(bytes(server.fail("1", CommandError("X", "broken", {"why": 1}))))
    assert isinstance(second[0], ErrorMessage)
    assert (second[0].id, second[0].error.code, second[0].error.details) == ("1", "X", {"why": 1})
    assert client.open_requests == server.open_requests == {"2"}
    for again in (partial(server.respond, "3", 1), partial(server.fail, "1", CommandError("X", "x"))):
        with pytest.raises(LocalProtocolError):
            again()


def test_answers_to_nothing_are_passed_over() -> None:
    client, _ = session()
    client.command("1", "c", {})
    client.forget("1")
    for fields in (
        {"type": "response", "id": "1", "success": True, "result": 1},
        {"type": "response", "id": "x", "success": False, "error": "e"},
        {"type": "error", "id": "1", "error": {"message": "m", "code": "C"}},
        {"type": "item", "id": "1", "data": {}},
    ):
        assert client.receive_data(wire(**fields)) == []
    assert client.open_requests == frozenset()


def test_an_error_without_an_id_is_told_to_the_client_and_answers_nothing() -> None:
    client, _ = session()
    client.command("1", "c", {})
    (message,) = client.receive_data(wire(type="error", id=None, error={"message": "m", "code": "BAD_MESSAGE"}))
    assert isinstance(message, ErrorMessage)
    assert client.open_requests == {"1"}
    assert client.state is State.READY


@pytest.mark.parametrize("bad", [object(), "\ud800"])
def test_an_answer_that_cannot_be_sent_leaves_the_command_open(bad: object) -> None:
    server = ready()
    asked(server)
    with pytest.raises((TypeError, ValueError)):
        server.respond("1", bad)
    assert server.open_requests == {"1"}
    assert one(server.fail("1", InternalError("Internal error", {"ref": "r"})))["error"]["details"] == {"ref": "r"}


def test_an_answer_over_the_limit_leaves_the_command_open() -> None:
    server = new_server(auth_required=False, frame_bytes=300)
    server.welcome()
    asked(server)
    with pytest.raises(FrameTooLarge):
        server.respond("1", "x" * 300)
    with pytest.raises(FrameTooLarge):
        server.fail("1", CommandError("X", "x" * 300))
    assert server.open_requests == {"1"}
    server.respond("1", "x")


# -- capabilities -----------------------------------------------------------------------------------------------


def without(capability: str) -> tuple[str, ...]:
    return tuple(each for each in ALL_CAPABILITIES if each != capability)


@pytest.mark.parametrize(
    ("kind", "capability"), [("cancel", CANCEL), ("credit", STREAM), ("ping", PING), ("pong", PING)]
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_the_server_takes_a_message_of_a_capability_only_where_it_was_agreed(
    kind: str, capability: str, side: str
) -> None:
    message = wire(type=kind, id="1", credit=1)
    agreed_without: dict[str, Any] = {"wanted" if side == "client" else "offered": without(capability)}
    for server in (session(**agreed_without)[1], original_server()):
        received = server.receive_data(message)
        assert code_of(received) == ("BAD_MESSAGE", "1", False)
        assert str(only_refusal(received).error) == f"Unknown message type: {kind}"
        assert server.state is State.READY
    _, server = session()
    asked(server)
    (message_taken,) = server.receive_data(message)
    assert type(message_taken).__name__.lower() == kind


@pytest.mark.parametrize(("kind", "capability"), [("item", STREAM), ("ping", PING), ("pong", PING)])
@pytest.mark.parametrize("side", ["client", "server"])
def test_the_client_takes_a_message_of_a_capability_only_where_it_was_agreed(
    kind: str, capability: str, side: str
) -> None:
    message = wire(type=kind, id="1", data={})
    agreed_without: dict[str, Any] = {"wanted" if side == "client" else "offered": without(capability)}
    for client in (session(**agreed_without)[0], original_client()):
        client.command("1", "c", {})
        refusal = only_refusal(client.receive_data(message))
        assert isinstance(refusal.error, RemoteProtocolError)
        assert (refusal.fatal, refusal.reply) == (False, None)
    client, _ = session()
    client.command("1", "c", {})
    (message_taken,) = client.receive_data(message)
    assert type(message_taken).__name__.lower() == kind


SERVER_SENDS: list[tuple[str, Callable[[ServerConnection], Any]]] = [
    (STREAM, lambda server: server.item("1", {})),
    (PING, lambda server: server.ping("p")),
    (PING, lambda server: server.pong(Ping(id="p"))),
]
CLIENT_SENDS: list[tuple[str, Callable[[ClientConnection], Any]]] = [
    (PING, lambda client: client.ping("p")),
    (PING, lambda client: client.pong(Ping(id="p"))),
    (CANCEL, lambda client: client.send(Cancel(id="1"))),
    (STREAM, lambda client: client.send(Credit(id="1", credit=1))),
]


@pytest.mark.parametrize(("capability", "send"), SERVER_SENDS)
def test_the_server_sends_nothing_of_a_capability_that_was_not_agreed(
    capability: str, send: Callable[[ServerConnection], Any]
) -> None:
    for server in (session(wanted=without(capability))[1], session(offered=without(capability))[1], original_server()):
        asked(server)
        with pytest.raises(LocalProtocolError):
            send(server)
    _, server = session()
    asked(server)
    assert send(server)


@pytest.mark.parametrize(("capability", "send"), CLIENT_SENDS)
def test_the_client_sends_nothing_of_a_capability_that_was_not_agreed(
    capability: str, send: Callable[[ClientConnection], Any]
) -> None:
    for client in (session(wanted=without(capability))[0], session(offered=without(capability))[0], original_client()):
        client.command("1", "c", {})
        assert (client.cancel("1") is None) == (capability == CANCEL or client.is_original)
        assert (client.credit("1", 1) is None) == (capability == STREAM or client.is_original)
        with pytest.raises(LocalProtocolError):
            send(client)
    client, _ = session()
    client.command("1", "c", {})
    assert send(client)


EXTENSION_FIELDS = [
    (DEADLINE, "timeoutMs", "timeout_ms", 5),
    (STREAM, "credit", "credit", 5),
    (IDEMPOTENCY, "idempotencyKey", "idempotency_key", "k"),
]


@pytest.mark.parametrize(("capability", "field", "attribute", "value"), EXTENSION_FIELDS)
def test_a_field_of_a_capability_counts_only_where_it_was_agreed(
    capability: str, field: str, attribute: str, value: object
) -> None:
    for server in (session(wanted=without(capability))[1], session(offered=without(capability))[1], original_server()):
        for number, any_value in enumerate([value, -1, "x" * 200, None, [], {}, True]):
            assert getattr(asked(server, f"{number}", **{field: any_value}), attribute) is UNSET
    server = ready()
    assert getattr(asked(server, "1", **{field: value}), attribute) == value
    assert getattr(asked(server, "2", **{field: None}), attribute) is UNSET
    assert getattr(asked(server, "3"), attribute) is UNSET


@pytest.mark.parametrize(("capability", "field", "attribute", "value"), EXTENSION_FIELDS)
def test_the_client_sends_a_field_of_a_capability_only_where_it_was_agreed(
    capability: str, field: str, attribute: str, value: Any
) -> None:
    sends: dict[str, Any] = {attribute: value}
    client, _ = session(wanted=without(capability))
    assert field not in one(client.command("1", "c", {}, **sends))
    client, _ = session()
    assert one(client.command("1", "c", {}, **sends))[field] == value


NO_NUMBERS: list[object] = [0, -1, 1.0, 1.5, "1", True, [], {}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field in ("timeoutMs", "credit") for value in NO_NUMBERS),
        ("idempotencyKey", "k" * 129),
        ("idempotencyKey", 5),
        ("idempotencyKey", ["k"]),
    ],
)
def test_a_field_of_an_agreed_capability_has_to_be_good(field: str, value: object) -> None:
    server = ready()
    received = server.receive_data(wire(type="command", id="1", command="c", **{field: value}))
    assert code_of(received) == ("BAD_MESSAGE", "1", False)
    assert field in str(only_refusal(received).error)
    assert server.open_requests == frozenset()


def test_an_idempotency_key_has_up_to_128_characters() -> None:
    assert asked(ready(), idempotencyKey="日" * 128).idempotency_key == "日" * 128


def test_cancel_and_credit_are_for_commands_that_still_run() -> None:
    client, server = session()
    data = client.command("1", "c", {}, credit=1)
    server.receive_data(bytes(data))
    cancel, credit = client.cancel("1"), client.credit("1", 3)
    assert cancel is not None
    assert credit is not None
    both = bytes(credit + cancel)
    assert [type(each) for each in server.receive_data(both)] == [Credit, Cancel]
    client.receive_data(bytes(server.fail("1", CommandCancelled("Cancelled"))))
    assert server.receive_data(both) == []
    assert client.cancel("1") is None
    assert client.credit("1", 3) is None


@pytest.mark.parametrize("credit", [0, -1, 1.5, "1", True, None])
def test_credit_is_an_integer_over_0(credit: object) -> None:
    server = ready()
    asked(server)
    assert code_of(server.receive_data(wire(type="credit", id="1", credit=credit))) == ("BAD_MESSAGE", "1", False)


def test_items_come_before_the_answer_only() -> None:
    client, server = session()
    server.receive_data(bytes(client.command("1", "c", {})))
    first, last = client.receive_data(bytes(server.item("1", {"n": 1}) + server.respond("1", None)))
    assert isinstance(first, Item)
    assert (first.id, first.data) == ("1", {"n": 1})
    assert isinstance(last, Response)
    for message_id in ("1", "never"):
        with pytest.raises(LocalProtocolError):
            server.item(message_id, {})


def test_either_side_pings() -> None:
    client, server = session()
    (ping,) = server.receive_data(bytes(client.ping("p")))
    assert isinstance(ping, Ping)
    (pong,) = client.receive_data(bytes(server.pong(ping)))
    assert isinstance(pong, Pong)
    (ping,) = client.receive_data(bytes(server.ping("q")))
    assert isinstance(ping, Ping)
    (pong,) = server.receive_data(bytes(client.pong(ping)))
    assert isinstance(pong, Pong)
    assert pong.id == "q"


# -- bad messages -----------------------------------------------------------------------------------------------

BAD = [b"", b"[]", b"\xff", b"{}", b"NaN", b'{"type":1}', b"[" * 1000]


@pytest.mark.parametrize("payload", BAD)
def test_sixteen_bad_frames_in_a_row_end_it(payload: bytes) -> None:
    server = ready()
    for _ in range(15):
        assert code_of(server.receive_data(framed(payload))) == ("BAD_MESSAGE", None, False)
    assert code_of(server.receive_data(framed(payload) + GOOD)) == ("BAD_MESSAGE", None, True)
    assert server.state is State.CLOSING
    assert server.receive_data(GOOD) == []


@pytest.mark.parametrize(
    "between",
    [GOOD, wire(type="ping", id="1"), wire(type="nothing"), wire(type="command", id="1"), wire(type="cancel", id="9")],
    ids=["command", "ping", "unknown type", "malformed", "silent"],
)
def test_any_frame_that_is_not_such_a_one_breaks_the_row(between: bytes) -> None:
    """One of an unknown type, or malformed, did not, though it has a type."""
    server = ready()
    for _ in range(3):
        received = server.receive_data(framed(b"[]") * 15 + between)
        assert not any(isinstance(each, Refusal) and each.fatal for each in received)
        if "good" in server.open_requests:
            server.respond("good", None)
    assert server.state is State.READY
    received = server.receive_data(framed(b"[]") * 16 + GOOD)
    assert len(received) == 16
    assert [isinstance(each, Refusal) and each.fatal for each in received] == [False] * 15 + [True]


def test_messages_of_unknown_types_never_end_it() -> None:
    server = ready()
    for _ in range(100):
        received = server.receive_data(wire(type="nothing", id="1"))
        assert code_of(received) == ("BAD_MESSAGE", "1", False)
        assert str(only_refusal(received).error) == "Unknown message type: nothing"


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_bad_frames_can_be_set(count: int) -> None:
    _, server = session(bad_messages=count)
    received = server.receive_data(framed(b"[]") * 5)
    assert [isinstance(each, Refusal) and each.fatal for each in received] == [False] * (count - 1) + [True]


def test_the_client_bears_as_many_and_answers_none() -> None:
    client, _ = session()
    received = client.receive_data(framed(b"[]") * 20)
    assert len(received) == 16
    for each in received:
        assert isinstance(each, Refusal)
        assert each.reply is None
    assert client.state is State.CLOSING


def test_the_id_is_told_where_it_is_known() -> None:
    server = ready()
    assert code_of(server.receive_data(framed(b'{"id":"7"}'))) == ("BAD_MESSAGE", "7", False)
    assert code_of(server.receive_data(framed(b'{"id":"7","type":"command"}'))) == ("BAD_MESSAGE", "7", False)
    assert code_of(server.receive_data(framed(b'{"id":7,"type":"command"}'))) == ("BAD_MESSAGE", None, False)


def test_a_reply_that_fits_no_frame_is_left_out() -> None:
    """It came out of receive_data as FrameTooLarge."""
    server = new_server(auth_required=False, frame_bytes=60, capabilities=())
    server._frame_bytes, server._send_bytes = 60, 10**6  # the welcome itself does not fit
    server.welcome()
    server._send_bytes = 60
    refusal = only_refusal(server.receive_data(framed(b"[]")))
    assert (refusal.reply, refusal.fatal) == (None, False)
    refusal = only_refusal(server.receive_data(b"HTTP"))
    assert (refusal.reply, refusal.fatal) == (None, True)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("stream", "code"),
    [(b"GET / HTTP/1.1\r\n", "BAD_FRAME"), (b"POPPO\xff\xff\xff\xff", "FRAME_TOO_LARGE"), (b"PONG", "BAD_FRAME")],
)
def test_a_lost_stream_is_told_once_and_what_came_before_it_is_good(stream: bytes, code: str, split: str) -> None:
    server = ready()
    received = feed_all(server, SPLITS[split](GOOD + stream + GOOD))
    assert types_of(received) == ["Command", "Refusal"]
    assert code_of(received[1:]) == (code, None, True)
    assert server.state is State.CLOSING
    assert server.receive_data(GOOD) == []


def test_the_client_of_a_lost_stream_says_nothing() -> None:
    client, _ = session()
    refusal = only_refusal(client.receive_data(b"HTTP/1.1"))
    assert isinstance(refusal.error, BadFrame)
    assert (refusal.reply, refusal.fatal) == (None, True)


# -- ends -------------------------------------------------------------------------------------------------------


def test_the_server_ends_it_with_a_reason_and_running_commands_are_still_answered() -> None:
    client, server = session()
    server.receive_data(bytes(client.command("1", "c", {})))
    farewell = server.end(ShuttingDown("The server is stopping"))
    assert one(farewell)["error"]["code"] == "SHUTTING_DOWN"
    assert one(farewell)["id"] is None
    assert server.state is State.CLOSING
    assert server.receive_data(GOOD) == []
    assert server.item("1", {})
    assert types_of(client.receive_data(bytes(server.respond("1", "late")))) == ["Response"]
    assert server.send(Event(event="daemon.stopping", data={}))
    assert server.pong(Ping(id="asked before the end"))
    with pytest.raises(LocalProtocolError):
        server.ping("p")
    assert server.end() is None


def test_the_server_ends_it_before_the_welcome() -> None:
    server = new_server()
    assert one(server.end(CommandError("BUSY", "Too many clients")))["error"]["code"] == "BUSY"
    with pytest.raises(LocalProtocolError):
        server.welcome()


def test_nothing_goes_either_way_after_the_end() -> None:
    client, server = session()
    server.receive_data(bytes(client.command("1", "c", {})))
    for side in (client, server):
        side.closed()
        side.closed()
        assert side.state is State.CLOSED
        assert side.open_requests == frozenset()
        assert side.receive_data(GOOD + b"garbage") == []
        assert side.resume() == []
    assert client.cancel("1") is None
    assert client.credit("1", 1) is None
    assert server.end(ShuttingDown("x")) is None
    sends: list[Callable[[], object]] = [
        lambda: client.command("2", "c", {}),
        lambda: client.authenticate("a", "t"),
        lambda: client.ping("p"),
        lambda: server.respond("1", None),
        lambda: server.fail("1", ShuttingDown("x")),
        lambda: server.send(Event(event="x")),
        lambda: server.welcome(),
    ]
    for send in sends:
        with pytest.raises(LocalProtocolError):
            send()
    assert client.state is server.state is State.CLOSED


@pytest.mark.parametrize("keep", [1, 5, 8, 9, 20, len(GOOD) - 1])
def test_a_stream_that_ends_within_a_frame_is_lost(keep: int) -> None:
    server = ready()
    server.receive_data(GOOD + GOOD[:keep])
    assert isinstance(server.receive_eof(), ConnectionLost)
    assert server.state is State.CLOSED
    server = ready()
    server.receive_data(GOOD)
    assert server.receive_eof() is None
    assert server.state is State.CLOSED


def test_a_stream_that_ends_within_a_frame_after_we_ended_it_is_no_loss() -> None:
    for ended in ("end", "closed"):
        server = ready()
        server.receive_data(GOOD[:5])
        getattr(server, ended)()
        assert server.receive_eof() is None


def test_what_the_server_says_before_authentication_is_little() -> None:
    server = new_server()
    server.welcome()
    for message in (Event(event="x"), Response(id="1"), Item(id="1"), Ping(id="1")):
        with pytest.raises(LocalProtocolError):
            server.send(message)


@pytest.mark.parametrize("how", ["rejected", "ended", "garbage", "ended before the welcome"])
def test_a_client_that_was_never_let_in_hears_no_events_while_its_connection_closes(how: str) -> None:
    """The table says what may be sent while closing, whatever came before: events went to refused clients too."""
    server = new_server(auth_tries=1)
    if how != "ended before the welcome":
        server.welcome()
    if how == "rejected":
        (auth,) = server.receive_data(wire(type="auth", id="a", token="wrong"))
        assert isinstance(auth, Auth)
        server.reject(auth)
    elif how == "garbage":
        server.receive_data(b"garbage")
    else:
        server.end()
    assert server.state is State.CLOSING
    for message in (Event(event="daemon.stopping", data={}), Response(id="1"), Item(id="1")):
        with pytest.raises(LocalProtocolError):
            server.send(message)
    assert server.send(ErrorMessage(id=None, error=ErrorBody(message="m", code="C")))


@pytest.mark.parametrize("kind", ["ours", "original", "authenticated original"])
def test_a_client_that_was_let_in_hears_events_while_its_connection_closes(kind: str) -> None:
    server = session()[1] if kind == "ours" else original_server(auth_required="auth" in kind)
    server.end()
    assert server.send(Event(event="daemon.stopping", data={}))


def test_nothing_is_asked_before_the_server_lets_the_client_in() -> None:
    client = new_client()
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match=client.state.value):
            client.command("1", "c", {})
        assert client.open_requests == frozenset()
        client.receive_data(wire(type="welcome", authRequired=True))
