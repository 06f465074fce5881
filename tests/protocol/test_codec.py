"""Payload to message and back: what is refused, with which words, and that nothing else ever comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from poppo_ipc.errors import BadMessage, FrameTooLarge, VersionMismatch
from poppo_ipc.protocol import (
    MAX_ID_CHARS,
    Auth,
    AuthSuccess,
    Cancel,
    Codec,
    Command,
    Credit,
    ErrorBody,
    ErrorMessage,
    Event,
    Item,
    Message,
    PeerInfo,
    Ping,
    Pong,
    Response,
    Welcome,
    encode,
    nesting_depth,
)

from .work import peak_memory, time_ratio

LIMIT = 1 << 20
NESTING = 128
KIB = 1024

server_codec = Codec("client", NESTING)
client_codec = Codec("server", NESTING)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


def refused(payload: bytes | bytearray, codec: Codec = server_codec) -> tuple[str, str | None, bool]:
    with pytest.raises(BadMessage) as caught:
        codec.decode(payload)
    return caught.value.message, caught.value.message_id, caught.value.undecodable


# -- what is refused --------------------------------------------------------------------------------------------

NOT_UTF8 = "Payload is not UTF-8"
UNHELD = "half of a surrogate pair in a string, or a number that no float can hold"
NOT_JSON = "Payload is not JSON"
NOT_OBJECT = "Payload is not a JSON object"
NO_TYPE = "Message has no type"
TOO_DEEP = f"Payload nests deeper than {NESTING} levels"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\xff", NOT_UTF8),
        (b'{"type":"ping","id":"\xe6\x97"}', NOT_UTF8),
        (b'{"type":"ping","id":"1","unknown":"\xff"}', NOT_UTF8),
        (b'{"type":"ping","id":"1","unk\xffnown":1}', NOT_UTF8),
        (b'{"type":"ping","id":"1","unknown":"\xed\xa0\x80"}', NOT_UTF8),  # a surrogate
        (b'{"type":"ping","id":"1","unknown":"\xc0\xaf"}', NOT_UTF8),  # overlong
        (b'{"type":"ping","id":"1","unknown":"\xf4\x90\x80\x80"}', NOT_UTF8),  # past the last character
        ('{"type":"ping","id":"1"}'.encode("utf-16"), NOT_UTF8),
        (b"", NOT_JSON),
        (b" \n", NOT_JSON),
        (b"hello", NOT_JSON),
        (b'{"type":"ping","id":"1"', NOT_JSON),
        (b'{"type":"ping","id":"1"} x', NOT_JSON),
        (b'{"type":"ping","id":"1"}{}', NOT_JSON),
        (b'{"type":"ping","id":"1"}\0', NOT_JSON),
        (b'\xef\xbb\xbf{"type":"ping","id":"1"}', NOT_JSON),  # a byte order mark
        (b'{"type":"ping","id":"1",}', NOT_JSON),
        (b"{'type':'ping','id':'1'}", NOT_JSON),
        (b'{"type":"ping","id":"1\n"}', NOT_JSON),
        ('{"type":"ping","id":"1"}'.encode("utf-16-le"), NOT_JSON),
        (b"[]", NOT_OBJECT),
        (b'"type"', NOT_OBJECT),
        (b"null", NOT_OBJECT),
        (b"12", NOT_OBJECT),
        (b'[{"type":"ping","id":"1"}]', NOT_OBJECT),
        (b"{}", NO_TYPE),
        (b'{"type":null}', NO_TYPE),
        (b'{"type":1}', NO_TYPE),
        (b'{"type":["ping"]}', NO_TYPE),
        (b'{"Type":"ping"}', NO_TYPE),
    ],
)
@pytest.mark.parametrize("codec", [server_codec, client_codec], ids=["server", "client"])
def test_what_is_no_message(codec: Codec, payload: bytes, message: str) -> None:
    assert refused(payload, codec) == (message, None, True)
    assert refused(bytearray(payload), codec) == (message, None, True)


@pytest.mark.parametrize("place", ["args", "unknown"])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "nan", "01", "1.", ".5", "+1", "0x1", "[1,]", "'a'"])
def test_what_is_not_json_is_refused_wherever_it_stands(place: str, value: str) -> None:
    payload = '{"type":"command","id":"1","command":"c","%s":{"x":%s}}' % (place, value)  # noqa: UP031
    assert refused(payload.encode()) == (NOT_JSON, None, True)


@pytest.mark.parametrize(("value"), ["1e999", "-1e999", "1" * 5000])
def test_numbers_that_no_number_of_ours_can_hold_are_refused_where_they_would_be_used(value: str) -> None:
    with_args = '{"type":"command","id":"1","command":"c","args":{"x":%s}}' % value  # noqa: UP031
    assert refused(with_args.encode()) == (f"Malformed command message: {UNHELD}", "1", False)
    unknown = '{"type":"command","id":"1","command":"c","unknown":%s}' % value  # noqa: UP031
    assert server_codec.decode(unknown.encode()) == Command(id="1", command="c")


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDE00", "\\ud83d\\ud83d", "a\\ud83db"])
def test_half_a_surrogate_pair_is_json_and_its_sender_gets_an_answer(half: str) -> None:
    """As `JSON.stringify` writes a string that was cut within an emoji."""
    in_args = '{"type":"command","id":"1","command":"c","args":{"x":"%s"}}' % half  # noqa: UP031
    assert refused(in_args.encode()) == (f"Malformed command message: {UNHELD}", "1", False)
    in_answer = '{"type":"response","id":"1","result":"%s"}' % half  # noqa: UP031
    assert refused(in_answer.encode(), client_codec) == (f"Malformed response message: {UNHELD}", "1", False)
    in_id = '{"type":"command","id":"%s","command":"c"}' % half  # noqa: UP031
    assert refused(in_id.encode()) == (f"Malformed command message: {UNHELD}", None, False)
    in_type = '{"type":"%s","id":"1"}' % half  # noqa: UP031
    text, *rest = refused(in_type.encode())
    assert text.startswith("Unknown message type: ")
    assert text.encode()
    assert rest == ["1", False]
    assert refused('["%s"]'.replace("%s", half).encode()) == (NOT_OBJECT, None, True)
    assert refused('{"type":"command","id":"1","args":["%s",NaN]}'.replace("%s", half).encode()) == (
        NOT_JSON,
        None,
        True,
    )


@pytest.mark.parametrize("value", [2**53 + 1, 2**63, 2**64, -(2**64), 10**1000, 0.1, 1e308, 5e-324, -0.0])
def test_numbers_come_and_go_whole(value: float) -> None:
    payload = json.dumps({"type": "command", "id": "1", "command": "c", "args": {"x": value}}).encode()
    message = server_codec.decode(payload)
    assert isinstance(message, Command)
    assert message.args == {"x": value}
    assert type(message.args["x"]) is type(value)
    answer = encode(Response(id="1", result=message.args["x"]), LIMIT)
    assert json.loads(answer[9:])["result"] == value


def test_the_last_of_duplicate_keys_counts() -> None:
    assert server_codec.decode(b'{"type":"ping","id":"1","id":"2"}') == Ping(id="2")
    message = server_codec.decode(b'{"type":"command","id":"1","command":"c","args":{"a":1,"a":2}}')
    assert isinstance(message, Command)
    assert message.args == {"a": 2}
    # Which of two types is meant cannot be told: that is malformed, but the stream is in step and the id known.
    assert refused(b'{"type":"auth","id":"1","type":"ping"}')[1:] == ("1", False)


def test_the_type_may_stand_anywhere() -> None:
    payload = b'{"args":{"type":"auth","id":"x"},"id":"1","command":"c","type":"command"}'
    assert server_codec.decode(payload) == Command(id="1", command="c", args={"type": "auth", "id": "x"})
    assert server_codec.decode(b' \r\n\t{ "type" : "ping" , "id" : "1" } ') == Ping(id="1")


@pytest.mark.parametrize("character", ["x", "日", "😀"])
def test_an_id_has_up_to_128_characters(character: str) -> None:
    assert MAX_ID_CHARS == 128

    def payload(kind: str, length: int) -> bytes:
        return json.dumps({"type": kind, "id": character * length, "command": "c", "credit": 1}).encode()

    for kind in ("auth", "command", "cancel", "credit", "ping", "pong"):
        taken = server_codec.decode(payload(kind, MAX_ID_CHARS))
        assert not isinstance(taken, Event | Welcome)
        assert taken.id == character * MAX_ID_CHARS
        message, message_id, undecodable = refused(payload(kind, MAX_ID_CHARS + 1))
        assert (message_id, undecodable) == (None, False)
        assert message.startswith(f"Malformed {kind} message")
    assert refused(payload("nothing", MAX_ID_CHARS))[1] == character * MAX_ID_CHARS
    assert refused(payload("nothing", MAX_ID_CHARS + 1))[1] is None


@pytest.mark.parametrize(
    ("payload", "message_id"),
    [
        (b'{"type":"command","id":"1"}', "1"),
        (b'{"type":"command","id":"1","command":5}', "1"),
        (b'{"type":"command","id":null,"command":"c"}', None),
        (b'{"type":"command","command":"c"}', None),
        (b'{"type":"command","id":7,"command":"c"}', None),
        (b'{"type":"command","id":"1","command":"c","version":1}', "1"),
        (b'{"type":"credit","id":"1"}', "1"),
    ],
)
def test_malformed_messages_keep_their_id(payload: bytes, message_id: str | None) -> None:
    message, known_id, undecodable = refused(payload)
    assert message.startswith("Malformed c")
    assert (known_id, undecodable) == (message_id, False)


@pytest.mark.parametrize(
    ("codec", "foreign"),
    [
        (server_codec, ["welcome", "auth-success", "response", "item", "error", "event", "Command", "", "日"]),
        (client_codec, ["auth", "command", "cancel", "credit", "Event", "", "日"]),
    ],
    ids=["server", "client"],
)
def test_unknown_types_are_named(codec: Codec, foreign: list[str]) -> None:
    for kind in foreign:
        payload = json.dumps({"type": kind, "id": "1"}).encode()
        assert refused(payload, codec) == (f"Unknown message type: {kind}", "1", False)
    long = json.dumps({"type": "x" * 100_000}).encode()
    assert len(refused(long, codec)[0]) < 200


def test_unknown_fields_are_ignored() -> None:
    payload = b'{"type":"ping","id":"1","x":[{"type":"auth"},null,"\\u65e5"],"timeoutMs":-1,"":0}'
    assert server_codec.decode(payload) == Ping(id="1")


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        *((server_codec, message) for message in (Auth(id="1"), Command(id="1", command="c"), Cancel(id="1"))),
        *((server_codec, message) for message in (Credit(id="1", credit=1), Ping(id="1"), Pong(id="1"))),
        *((client_codec, message) for message in (Welcome(server=PeerInfo()), AuthSuccess(id="1"), Item(id="1"))),
        *((client_codec, message) for message in (Response(id="1"), ErrorMessage(id="1", error="e"), Event(event="e"))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_unknown_fields_of_every_message_are_ignored(codec: Codec, message: Message) -> None:
    fields = json.loads(encode(message, LIMIT)[9:]) | {"tomorrow": {"x": [1, None]}, "": 0}
    if "server" in fields:
        fields["server"]["tomorrow"] = 1
    assert codec.decode(json.dumps(fields).encode()) == message


@given(st.binary(max_size=200))
@example(b'{"type":"command","id":"1","command":"c","args":{"x":' + b"9" * 5000 + b"}}")
@example(b'{"version":"2","type":"\\ud800"}')
def test_nothing_but_the_two_errors_comes_out_of_any_bytes(payload: bytes) -> None:
    for codec in (server_codec, client_codec):
        try:
            codec.decode(payload)
        except (BadMessage, VersionMismatch) as error:
            assert error.message  # noqa: PT017


fields = st.fixed_dictionaries(
    {"type": st.sampled_from(["auth", "command", "welcome", "auth-success", "response", "error", "event", "item"])},
    optional=dict.fromkeys(
        (
            "id",
            "version",
            "timestamp",
            "command",
            "success",
            "error",
            "event",
            "seq",
            "capabilities",
            "server",
            "authRequired",
            "maxFrameBytes",
            "sessionId",
            "keysDurable",
        ),
        json_values,
    ),
)


@given(fields)
def test_nothing_but_the_two_errors_comes_out_of_any_values_in_known_fields(message: dict[str, Any]) -> None:
    payload = json.dumps(message).encode()
    for codec in (server_codec, client_codec):
        try:
            codec.decode(payload)
        except BadMessage as error:
            assert not error.undecodable  # noqa: PT017
        except VersionMismatch as error:
            assert not message["version"].startswith("1.")
            assert error.theirs == message["version"]  # noqa: PT017


# -- there and back ---------------------------------------------------------------------------------------------

ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_ID_CHARS)
objects = st.dictionaries(text, json_values, max_size=3)
from_client = st.one_of(
    st.builds(Auth, id=ids, token=text | st.just(UNSET), capabilities=st.lists(text) | st.just(UNSET)),
    st.builds(Command, id=ids, command=text, args=objects, timeout_ms=st.integers(1, 10) | st.just(UNSET)),
    st.builds(Cancel, id=ids),
    st.builds(Credit, id=ids, credit=st.integers(1)),
    st.builds(Ping, id=ids),
    st.builds(Pong, id=ids),
)
from_server = st.one_of(
    st.builds(Welcome, auth_required=st.booleans(), nonce=text, server=st.builds(PeerInfo, name=text, version=text)),
    st.builds(AuthSuccess, id=ids, session_id=text, capabilities=st.lists(text), seq=st.integers()),
    st.builds(Response, id=ids, result=json_values),
    st.builds(Item, id=ids, data=json_values),
    st.builds(Event, event=text, data=objects, seq=st.integers(0) | st.just(UNSET)),
    st.builds(Ping, id=ids),
)


@given(from_client)
def test_what_a_client_sends_a_server_reads(message: Message) -> None:
    assert server_codec.decode(encode(message, LIMIT)[9:]) == message


@given(from_server)
def test_what_a_server_sends_a_client_reads(message: Message) -> None:
    assert client_codec.decode(encode(message, LIMIT)[9:]) == message


def test_an_error_is_read_with_its_body_as_an_object() -> None:
    sent = ErrorMessage(id=None, error=ErrorBody(message="m", code="C", details={"field": "x"}))
    read = client_codec.decode(encode(sent, LIMIT)[9:])
    assert read == ErrorMessage(id=None, error={"message": "m", "code": "C", "details": {"field": "x"}})


@given(st.integers(0, 300), text)
def test_the_limit_of_what_is_sent_holds_exactly_at_the_edge(length: int, filler: str) -> None:
    message = Response(id="1", result=filler + "x" * length)
    data = encode(message, LIMIT)
    payload = len(data) - 9
    assert data[:9] == b"POPPO" + payload.to_bytes(4, "big")
    assert encode(message, payload) == data
    with pytest.raises(FrameTooLarge, match=f"{payload} bytes is over the limit of {payload - 1} bytes"):
        encode(message, payload - 1)


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, {None: 1}, "\ud800", {"\ud800": 1}])
def test_what_is_not_json_is_not_sent(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(Response(id="1", result=value), LIMIT)


def test_what_is_too_deep_to_send_is_a_recursion_error() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        encode(Response(id="1", result=value), LIMIT)


# -- nesting ----------------------------------------------------------------------------------------------------


def reference_depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(reference_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(reference_depth, value), default=0)
    return 0


tricky_text = st.text('[]{}"\\x日\n', max_size=10)
tricky_values = st.recursive(
    st.none() | st.integers() | tricky_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(tricky_text, inner, max_size=4),
    max_leaves=15,
)


@given(tricky_values, st.booleans(), st.sampled_from([None, 1]))
@example(["\\", "[[[", '"', "[[[", "\\\\"], False, None)
@example({'\\"[': ['"[', '\\\\"]']}, False, None)
def test_the_depth_is_that_of_the_value(value: Any, ascii_only: bool, indent: int | None) -> None:
    payload = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert nesting_depth(payload) == reference_depth(value)
    assert nesting_depth(bytearray(payload)) == reference_depth(value)


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    """A command whose payload nests so deep."""
    inner = depth - 1
    return b'{"type":"command","id":"1","command":"c","args":' + opening * inner + b"0" + closing * inner + b"}"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("field", [b"args", b"unknown"])
def test_the_bound_on_nesting_holds_exactly_at_the_edge(opening: bytes, field: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"
    at, over = (nested(depth, opening, closing).replace(b"args", field) for depth in (NESTING, NESTING + 1))
    assert isinstance(server_codec.decode(at), Command)
    assert refused(over) == (TOO_DEEP, None, True)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    payload = b'{"type":"command","id":"1","command":"c","args":{"x":[' + b",".join([b"[]"] * 1000) + b"]}}"
    assert isinstance(server_codec.decode(payload), Command)
    in_text = json.dumps({"type": "command", "id": "1", "command": "c", "args": {"x": '[{\\"' * 1000}}).encode()
    assert isinstance(server_codec.decode(in_text), Command)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("closed", [True, False])
def test_a_hundred_thousand_levels(opening: bytes, closed: bool) -> None:
    closing = (b"]" if opening == b"[" else b"}") if closed else b""
    assert refused(opening * 100_000 + b"0" + closing * 100_000) == (TOO_DEEP, None, True)
    payload = b'{"type":"ping","id":"1","unknown":' + opening * 100_000 + b"0" + closing * 100_000 + b"}"
    assert refused(payload) == (TOO_DEEP, None, True)
    boundless = Codec("client", 10**9)
    assert refused(payload, boundless) == (NOT_JSON, None, True)


HOSTILE = {
    "unterminated string": lambda size: b'"' + b"a" * size,
    "escaped quotes": lambda size: b'"' + b'\\"' * (size // 2),
    "quotes": lambda size: b'"' * size,
    "backslashes": lambda size: b"\\" * size,
    "quotes and backslashes": lambda size: b'"\\' * (size // 2),
    "short strings": lambda size: b'"a",' * (size // 4),
    "strings of brackets": lambda size: b'"[",' * (size // 4),
    "brackets": lambda size: b"[" * size,
    "strings and brackets": lambda size: b'["",' * (size // 4),
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_time_for_the_depth_is_linear_for_hostile_payloads(shape: str) -> None:
    assert time_ratio(lambda size: nesting_depth(HOSTILE[shape](size)), 128 * KIB) < 10


@pytest.mark.parametrize("shape", HOSTILE)
def test_memory_for_the_depth_is_of_the_order_of_the_payload(shape: str) -> None:
    """Short strings took 44 bytes of memory for each byte of payload, 700 MiB for a frame at the default limit."""
    payload = HOSTILE[shape](256 * KIB)
    assert peak_memory(lambda: nesting_depth(payload)) < 16 * len(payload)
