"""From the first byte to the first command: welcome, auth, what is refused before it, and what is held back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from poppo_ipc.errors import AuthenticationError, BadMessage, FrameTooLarge, LocalProtocolError, VersionMismatch
from poppo_ipc.protocol import (
    ALL_CAPABILITIES,
    CANCEL,
    CHALLENGE,
    IDEMPOTENCY,
    PING,
    PROTOCOL_VERSION,
    REPLAY,
    STREAM,
    Auth,
    AuthSuccess,
    Command,
    ErrorMessage,
    Event,
    PeerInfo,
    Refusal,
    ServerConnection,
    State,
    Welcome,
    compatible,
    mismatch_text,
)

from .helpers import (
    NOW,
    SPLITS,
    TOKEN,
    code_of,
    feed_all,
    framed,
    new_client,
    new_server,
    one,
    only_refusal,
    original_client,
    original_server,
    proof_for,
    session,
    take_auth,
    types_of,
    unwire,
    wire,
)

PLAIN_AUTH = wire(type="auth", id="a", token=TOKEN)
KIB = 1024


def asking_server(**options: Any) -> ServerConnection:
    server = new_server(**options)
    server.welcome()
    assert server.state is State.AUTHENTICATING
    return server


# -- welcome ----------------------------------------------------------------------------------------------------


def test_welcome_says_what_the_server_offers() -> None:
    server = new_server(name="demo", version="2.1", frame_bytes=1000, unauthenticated_frame_bytes=100)
    assert one(server.welcome()) == {
        "type": "welcome",
        "version": "1.0.0",
        "authRequired": True,
        "timestamp": NOW,
        "capabilities": list(ALL_CAPABILITIES),
        "server": {"name": "demo", "version": "2.1"},
        "maxFrameBytes": 1000,
        "nonce": server.nonce,
    }


def test_the_client_sends_no_more_than_the_server_takes() -> None:
    client = new_client()
    client.receive_data(wire(type="welcome", authRequired=False, capabilities=[], maxFrameBytes=200))
    assert len(client.command("1", "c", {"x": "y" * 90})) <= 209
    with pytest.raises(FrameTooLarge):
        client.command("2", "c", {"x": "y" * 200})
    assert client.open_requests == {"1"}
    larger = new_client(frame_bytes=300)
    larger.receive_data(wire(type="welcome", authRequired=False, capabilities=[], maxFrameBytes=10_000))
    with pytest.raises(FrameTooLarge, match="over the limit of 300"):
        larger.command("2", "c", {"x": "y" * 300})


@pytest.mark.parametrize(
    "first",
    [
        wire(type="event", event="x", data={}),
        wire(type="auth-success", id=""),
        wire(type="response", id="1", success=True, result=None),
        wire(type="nothing"),
        wire(type="welcome", authRequired="yes"),
        wire(type="welcome", authRequired=True, server={"name": 5}),
        framed(b"[]"),
        framed(b"\xff"),
        b"HTTP/1.1",
    ],
)
def test_what_comes_first_and_is_no_welcome_ends_it(first: bytes) -> None:
    """An unreadable welcome did not: the client then waited for another one."""
    client = new_client()
    refusal = only_refusal(client.receive_data(first))
    assert refusal.fatal
    assert refusal.reply is None
    assert client.state is State.CLOSING


def test_a_second_welcome_ends_it() -> None:
    client = new_client()
    welcome = wire(type="welcome", authRequired=False)
    first, second = client.receive_data(welcome + welcome)
    assert isinstance(first, Welcome)
    assert isinstance(second, Refusal)
    assert second.fatal


def test_a_server_may_refuse_instead_of_a_welcome() -> None:
    client = new_client()
    busy = wire(type="error", id=None, error={"message": "Too many clients", "code": "BUSY", "details": {"limit": 5}})
    (message,) = client.receive_data(busy)
    assert isinstance(message, ErrorMessage)
    assert (message.error.code, message.error.details) == ("BUSY", {"limit": 5})
    assert client.state is State.CLOSING


# -- the client's auth ------------------------------------------------------------------------------------------


def test_auth_is_not_sent_before_the_welcome() -> None:
    client = new_client()
    with pytest.raises(LocalProtocolError):
        client.authenticate("a", TOKEN)
    client.receive_data(wire(type="welcome", authRequired=True))
    assert client.authenticate("a", TOKEN) is not None


@pytest.mark.parametrize("extensions", [{}, {"capabilities": list(ALL_CAPABILITIES)}])
def test_a_server_that_asks_for_a_token_gets_one_or_nothing(extensions: dict[str, Any]) -> None:
    client = new_client()
    client.receive_data(wire(type="welcome", authRequired=True, **extensions))
    with pytest.raises(AuthenticationError):
        client.authenticate("a", None)
    assert client.auth_id == ""
    assert client.state is State.AUTHENTICATING


def test_an_auth_that_cannot_be_sent_changes_nothing() -> None:
    client = new_client()
    client.receive_data(wire(type="welcome", authRequired=True, capabilities=["cancel"], maxFrameBytes=500))
    with pytest.raises(FrameTooLarge):
        client.authenticate("a", "x" * 500)
    assert client.auth_id == ""
    client.receive_data(wire(type="auth-success", id="a", sessionId="s", capabilities=["cancel"]))
    assert not client.settled
    client.authenticate("b", "x")
    client.receive_data(wire(type="auth-success", id="b", sessionId="s", capabilities=["cancel"]))
    assert client.settled


def test_a_success_that_nobody_asked_for_is_passed_over() -> None:
    """An empty id was taken for that of an auth that was never sent."""
    client = new_client()
    client.receive_data(wire(type="welcome", authRequired=True, capabilities=list(ALL_CAPABILITIES)))
    assert client.receive_data(wire(type="auth-success", id="", sessionId="s", capabilities=[])) == []
    assert (client.settled, client.state) == (False, State.AUTHENTICATING)
    client.authenticate("a", TOKEN, capabilities=())
    assert client.receive_data(wire(type="auth-success", id="b", sessionId="s", capabilities=[])) == []
    assert not client.settled


def test_a_token_is_not_shown_to_who_does_not_ask_for_it() -> None:
    client = new_client()
    client.receive_data(wire(type="welcome", authRequired=False, capabilities=list(ALL_CAPABILITIES)))
    data = client.authenticate("a", TOKEN)
    assert data is not None
    assert not {"token", "proof", "clientNonce"} & one(data).keys()


@pytest.mark.parametrize("nonce", [None, "", "AAAA", 7])
def test_a_challenge_that_cannot_be_met_does_not_get_the_token(nonce: object) -> None:
    """A server that offers a proof and breaks it would otherwise be told the token itself."""
    client = new_client()
    fields = {} if nonce is None else {"nonce": nonce}
    client.receive_data(wire(type="welcome", authRequired=True, capabilities=list(ALL_CAPABILITIES), **fields))
    if client.welcome is not None:
        with pytest.raises(AuthenticationError):
            client.authenticate("a", TOKEN)
    assert client.state is not State.READY


def test_an_original_server_gets_only_what_an_original_client_sends() -> None:
    client = new_client()
    client.receive_data(wire(type="welcome", version="1.0.0", authRequired=True, timestamp=1))
    data = client.authenticate("a", TOKEN, client=PeerInfo(name="cli", version="1", pid=7))
    assert one(data) == {"type": "auth", "id": "a", "token": TOKEN, "version": "1.0.0", "timestamp": NOW}
    client.receive_data(wire(type="auth-success", id="a", version="1.0.0", timestamp=1))
    data = client.command("1", "c", {}, timeout_ms=5, credit=5, idempotency_key="k")
    assert one(data).keys() == {"type", "id", "command", "args", "version", "timestamp"}
    assert client.cancel("1") is None
    assert client.credit("1", 5) is None
    with pytest.raises(LocalProtocolError):
        client.ping("p")


def test_an_original_server_without_authentication_gets_no_auth() -> None:
    client = new_client()
    client.receive_data(wire(type="welcome", version="1.0.0", authRequired=False, timestamp=1))
    assert client.settled
    assert client.authenticate("a", TOKEN) is None
    assert client.authenticate("a", None) is None


def test_our_server_gets_an_auth_even_without_authentication() -> None:
    client, server = new_client(), new_server(auth_required=False)
    client.receive_data(bytes(server.welcome()))
    assert not client.settled
    data = client.authenticate("a", None, client=PeerInfo(name="cli", version="1", pid=7))
    sent = one(data)
    assert set(sent["capabilities"]) == set(ALL_CAPABILITIES) - {CHALLENGE}
    assert sent["client"] == {"name": "cli", "version": "1", "pid": 7}
    assert not {"token", "proof", "clientNonce"} & sent.keys()


# -- capabilities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        (ALL_CAPABILITIES, ALL_CAPABILITIES),
        (ALL_CAPABILITIES, (PING, CANCEL)),
        ((STREAM, PING), ALL_CAPABILITIES),
        ((CANCEL,), (PING,)),
        ((), ALL_CAPABILITIES),
        (ALL_CAPABILITIES, ()),
        ((*ALL_CAPABILITIES, "of tomorrow"), ALL_CAPABILITIES),
        (ALL_CAPABILITIES, (*ALL_CAPABILITIES, "of tomorrow")),
    ],
)
def test_both_use_what_both_have(offered: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    client, server = session(offered=offered, wanted=wanted)
    assert client.capabilities == server.capabilities == set(offered) & set(wanted)


def test_what_the_client_wants_and_the_server_did_not_offer_is_not_used() -> None:
    server = asking_server(capabilities=(PING, STREAM))
    auth = take_auth(server, wire(type="auth", id="a", capabilities=[CANCEL, PING, "of tomorrow"]))
    assert one(server.accept(auth, session_id="s"))["capabilities"] == [PING]
    assert server.capabilities == {PING}
    client = new_client()
    client.receive_data(wire(type="welcome", authRequired=False, capabilities=[PING, STREAM]))
    client.authenticate("a", None, capabilities=(PING, CANCEL))
    client.receive_data(wire(type="auth-success", id="a", sessionId="s", capabilities=[PING, CANCEL, STREAM]))
    assert client.capabilities == {PING}


@pytest.mark.parametrize("wanted", [5, "cancel", {"cancel": 1}, None, True])
def test_wishes_that_are_no_list_are_those_of_an_original(wanted: object) -> None:
    server = asking_server()
    auth = take_auth(server, wire(type="auth", id="a", token=TOKEN, capabilities=wanted))
    assert one(server.accept(auth, session_id="s")).keys() == {"type", "id", "version", "timestamp"}
    assert server.capabilities == frozenset()


def test_wishes_that_are_no_strings_are_passed_over() -> None:
    server = asking_server()
    auth = take_auth(server, wire(type="auth", id="a", capabilities=[5, None, ["ping"], {}, "ping", "ping"]))
    assert one(server.accept(auth, session_id="s"))["capabilities"] == ["ping"]


@pytest.mark.parametrize("replay", [True, False])
@pytest.mark.parametrize("idempotency", [True, False])
def test_success_carries_what_the_agreed_capabilities_add(replay: bool, idempotency: bool) -> None:
    server = asking_server()
    wanted = [PING] + [REPLAY] * replay + [IDEMPOTENCY] * idempotency
    auth = take_auth(server, wire(type="auth", id="a", capabilities=wanted))
    sent = one(server.accept(auth, session_id="s", epoch="e", seq=4, keys_durable=True))
    expected: dict[str, Any] = {"type": "auth-success", "id": "a", "version": "1.0.0", "timestamp": NOW}
    expected |= {"sessionId": "s", "capabilities": [each for each in ALL_CAPABILITIES if each in wanted]}
    expected |= {"epoch": "e", "seq": 4} if replay else {}
    expected |= {"keysDurable": True} if idempotency else {}
    assert sent == expected


# -- before authentication --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["command", "cancel", "credit", "ping", "pong", "nothing", "welcome", "response"])
def test_anything_but_auth_is_told_to_authenticate(kind: str) -> None:
    server = asking_server()
    for number in range(40):
        received = server.receive_data(wire(type=kind, id=f"{number}", command="c", credit=1))
        assert code_of(received) == ("AUTH_REQUIRED", f"{number}", False)
        assert str(only_refusal(received).error) == "Authentication required"
    assert server.state is State.AUTHENTICATING
    assert server.open_requests == frozenset()
    take_auth(server, PLAIN_AUTH)


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b"{}", b"NaN", b'{"id":"1"}', b"[" * 1000])
def test_the_first_undecodable_frame_before_authentication_ends_it(payload: bytes) -> None:
    server = asking_server()
    code, message_id, fatal = code_of(server.receive_data(framed(payload) + PLAIN_AUTH))
    assert (code, fatal) == ("BAD_MESSAGE", True)
    assert message_id == ("1" if b'"id"' in payload else None)
    assert server.state is State.CLOSING
    assert server.receive_data(PLAIN_AUTH) == []


def test_three_wrong_tokens_end_it() -> None:
    server = asking_server()
    for left in (2, 1, 0):
        auth = take_auth(server, PLAIN_AUTH)
        answer = one(server.reject(auth))
        assert answer["error"] == {"message": "Invalid authentication token", "code": "AUTH_FAILED"}
        assert answer["id"] == "a"
        assert server.state is (State.AUTHENTICATING if left else State.CLOSING)
    assert server.receive_data(PLAIN_AUTH) == []
    assert server.resume() == []


@pytest.mark.parametrize("tries", [1, 5])
def test_the_number_of_tries_can_be_set(tries: int) -> None:
    server = asking_server(auth_tries=tries)
    for _ in range(tries):
        assert server.state is State.AUTHENTICATING
        server.reject(take_auth(server, PLAIN_AUTH))
    assert server.state is State.CLOSING


def test_a_wrong_token_and_then_the_right_one() -> None:
    server = asking_server()
    server.reject(take_auth(server, PLAIN_AUTH))
    server.accept(take_auth(server, PLAIN_AUTH), session_id="s")
    assert server.state is State.READY
    assert code_of(server.receive_data(PLAIN_AUTH)) == ("BAD_MESSAGE", "a", False)
    assert not server.paused


# -- while auth waits for its answer ----------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_pipelined_behind_auth_waits_for_the_answer(split: str) -> None:
    command = wire(type="command", id="1", command="c")
    server = asking_server()
    received = feed_all(server, SPLITS[split](PLAIN_AUTH + command + command))
    assert types_of(received) == ["Auth"]
    assert server.paused
    assert server.resume() == []
    assert server.receive_data(b"") == []
    (auth,) = received
    assert isinstance(auth, Auth)
    server.accept(auth, session_id="s")
    assert not server.paused
    first, second = server.resume()
    assert first == Command(id="1", command="c", args={})
    assert isinstance(second, Refusal)
    assert server.resume() == []


def test_what_is_pipelined_behind_a_wrong_token_is_refused() -> None:
    server = asking_server()
    command = wire(type="command", id="1", command="c")
    auth = feed_all(server, [PLAIN_AUTH + command + PLAIN_AUTH + command])[0]
    assert isinstance(auth, Auth)
    server.reject(auth)
    refusal, second = server.resume()
    assert isinstance(refusal, Refusal)
    assert one(refusal.reply)["error"]["code"] == "AUTH_REQUIRED"
    assert isinstance(second, Auth)
    server.accept(second, session_id="s")
    assert types_of(server.resume()) == ["Command"]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("good", [True, False])
def test_a_large_command_behind_auth_obeys_the_limit_that_holds_after_it(split: str, good: bool) -> None:
    large = wire(type="command", id="1", command="c", args={"x": "y" * 2000})
    server = asking_server(unauthenticated_frame_bytes=KIB, frame_bytes=4 * KIB)
    (auth,) = feed_all(server, SPLITS[split](PLAIN_AUTH + large))
    assert isinstance(auth, Auth)
    if good:
        server.accept(auth, session_id="s")
        assert types_of(server.resume()) == ["Command"]
    else:
        server.reject(auth)
        assert code_of(server.resume()) == ("FRAME_TOO_LARGE", None, True)


@pytest.mark.parametrize("split", SPLITS)
def test_the_limits_hold_exactly_at_the_edge_before_and_after(split: str) -> None:
    def auth_of(size: int) -> bytes:
        filler = size - len(wire(type="auth", id="a", token="")) + 9
        return wire(type="auth", id="a", token="x" * filler)

    def command_of(size: int) -> bytes:
        filler = size - len(wire(type="command", id="1", command="")) + 9
        return wire(type="command", id="1", command="x" * filler)

    bounds = {"unauthenticated_frame_bytes": 100, "frame_bytes": 1000}
    for size, ok in ((100, True), (101, False)):
        server = asking_server(**bounds)
        received = feed_all(server, SPLITS[split](auth_of(size)))
        assert types_of(received) == ["Auth" if ok else "Refusal"]
        assert ok or code_of(received) == ("FRAME_TOO_LARGE", None, True)
    for size, ok in ((1000, True), (1001, False)):
        server = asking_server(**bounds)
        server.accept(take_auth(server, PLAIN_AUTH), session_id="s")
        received = feed_all(server, SPLITS[split](command_of(size)))
        assert types_of(received) == ["Command" if ok else "Refusal"]
        assert ok or code_of(received) == ("FRAME_TOO_LARGE", None, True)


@pytest.mark.parametrize("split", SPLITS)
def test_a_large_answer_behind_the_success_obeys_the_limit_that_holds_after_it(split: str) -> None:
    client = new_client(unauthenticated_frame_bytes=KIB, frame_bytes=4 * KIB)
    client.receive_data(wire(type="welcome", authRequired=True))
    client.authenticate("a", TOKEN)
    large = wire(type="event", event="x", data={"x": "y" * 2000})
    received = feed_all(client, SPLITS[split](wire(type="auth-success", id="a") + large))
    assert types_of(received) == ["AuthSuccess", "Event"]


def test_the_default_limits() -> None:
    header = b"POPPO" + (64 * KIB + 1).to_bytes(4, "big")
    assert code_of(asking_server().receive_data(header)) == ("FRAME_TOO_LARGE", None, True)
    header = b"POPPO" + (64 * KIB).to_bytes(4, "big")
    assert asking_server().receive_data(header) == []
    _, server = session()
    assert server.receive_data(b"POPPO" + (16 * KIB * KIB).to_bytes(4, "big")) == []
    _, server = session()
    received = server.receive_data(b"POPPO" + (16 * KIB * KIB + 1).to_bytes(4, "big"))
    assert code_of(received) == ("FRAME_TOO_LARGE", None, True)


def test_the_answer_to_auth_needs_an_auth() -> None:
    server = asking_server()
    stray = Auth(id="a")
    for answer in (partial(server.accept, stray, session_id="s"), partial(server.reject, stray)):
        with pytest.raises(LocalProtocolError):
            answer()
    auth = take_auth(server, PLAIN_AUTH)
    server.accept(auth, session_id="s")
    for answer in (partial(server.accept, auth, session_id="s"), partial(server.reject, auth)):
        with pytest.raises(LocalProtocolError):
            answer()
    assert server.state is State.READY


def test_an_answer_that_cannot_be_sent_leaves_the_auth_waiting() -> None:
    """It was lost: the server went on with the capabilities of a client that it had not let in."""
    server = asking_server(frame_bytes=500, unauthenticated_frame_bytes=500)
    auth = take_auth(server, wire(type="auth", id="a", token=TOKEN, capabilities=["ping"]))
    with pytest.raises(FrameTooLarge):
        server.accept(auth, session_id="s" * 500)
    assert server.paused
    assert server.capabilities == frozenset()
    server.accept(auth, session_id="s")
    assert server.capabilities == {"ping"}


def test_an_auth_checked_too_late_is_answered_no_more() -> None:
    """The last wrong token reopened a closed connection as far as CLOSING, with bytes to send on it."""
    server = asking_server(auth_tries=1)
    auth = take_auth(server, PLAIN_AUTH)
    server.closed()
    with pytest.raises(LocalProtocolError):
        server.reject(auth)
    with pytest.raises(LocalProtocolError):
        server.accept(auth, session_id="s")
    assert server.paused  # nothing has changed
    assert server.state is State.CLOSED


def test_the_end_of_the_stream_while_auth_waits_is_no_torn_frame() -> None:
    server = asking_server()
    server.receive_data(PLAIN_AUTH + wire(type="command", id="1", command="c"))
    assert server.receive_eof() is None
    assert server.state is State.CLOSED


# -- no authentication ------------------------------------------------------------------------------------------


def test_without_authentication_commands_come_at_once() -> None:
    server = new_server(auth_required=False)
    server.welcome()
    assert server.state is State.READY
    assert types_of(server.receive_data(wire(type="command", id="1", command="c"))) == ["Command"]
    assert server.send(Event(event="x", data={}))


@pytest.mark.parametrize("fields", [{}, {"token": 5}, {"proof": [], "clientNonce": {}}, {"capabilities": "x"}])
def test_without_authentication_any_auth_can_be_accepted(fields: dict[str, Any]) -> None:
    server = new_server(auth_required=False)
    server.welcome()
    server.receive_data(wire(type="command", id="1", command="c"))
    auth = take_auth(server, wire(type="auth", id="a", **fields))
    assert one(server.accept(auth, session_id="s")).keys() == {"type", "id", "version", "timestamp"}
    assert server.open_requests == {"1"}


@pytest.mark.parametrize("split", SPLITS)
def test_without_authentication_every_further_auth_is_held_back_for_as_well(split: str) -> None:
    """Behind the second auth in one piece, commands came out while the server was paused."""
    server = new_server(auth_required=False)
    server.welcome()
    for number in range(3):
        received = feed_all(server, SPLITS[split](PLAIN_AUTH + wire(type="command", id=f"{number}", command="c")))
        assert types_of(received) == ["Auth"]
        (auth,) = received
        assert isinstance(auth, Auth)
        server.accept(auth, session_id="s")
        assert types_of(server.resume()) == ["Command"]


def test_without_authentication_a_later_auth_changes_nothing_that_was_agreed() -> None:
    _, server = session(auth_required=False, wanted=(PING,))
    auth = take_auth(server, wire(type="auth", id="b", capabilities=[CANCEL]))
    assert one(server.accept(auth, session_id="s"))["capabilities"] == [PING]
    assert server.capabilities == {PING}


def test_events_before_the_client_has_said_what_it_is_are_for_originals() -> None:
    client, server = new_client(), new_server(auth_required=False)
    client.receive_data(bytes(server.welcome()))
    event = server.send(Event(event="x", data={}))
    assert client.receive_data(bytes(event)) == []
    data = client.authenticate("a", None)
    assert data is not None
    auth = take_auth(server, data)
    received = client.receive_data(bytes(server.accept(auth, session_id="s") + event))
    assert types_of(received) == ["AuthSuccess", "Event"]


# -- versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0.0", True),
        ("1", True),
        ("1.9.3", True),
        ("1.x", True),
        ("2.0.0", False),
        ("0.9.0", False),
        ("10.0.0", False),
        ("", False),
        ("x", False),
        ("v1.0.0", False),
    ],
)
def test_the_same_major_number_is_compatible(version: str, expected: bool) -> None:
    assert compatible(version) is expected
    _, server = session()
    received = server.receive_data(wire(type="command", id="1", command="c", version=version))
    assert types_of(received) == ["Command" if expected else "Refusal"]


def test_a_missing_version_is_ours() -> None:
    _, server = session()
    (command,) = server.receive_data(wire(type="command", id="1", command="c"))
    assert isinstance(command, Command)
    assert command.version == PROTOCOL_VERSION == "1.0.0"


@pytest.mark.parametrize("state", [State.AUTHENTICATING, State.READY])
@pytest.mark.parametrize("kind", ["auth", "command", "ping", "nothing"])
def test_another_major_number_ends_it_and_both_versions_are_named(kind: str, state: State) -> None:
    server = asking_server() if state is State.AUTHENTICATING else session()[1]
    message = wire(type=kind, id="1", command="c", version="2.5.0")
    received = server.receive_data(message + message)
    assert code_of(received) == ("VERSION_MISMATCH", "1", True)
    error = only_refusal(received).error
    assert isinstance(error, VersionMismatch)
    assert (error.ours, error.theirs) == ("1.0.0", "2.5.0")
    assert "the client speaks 2.5.0, the server speaks 1.0.0" in str(error)
    assert server.state is State.CLOSING


def test_the_client_names_the_versions_the_other_way_round() -> None:
    client = new_client()
    refusal = only_refusal(client.receive_data(wire(type="welcome", authRequired=False, version="3.0.0")))
    assert refusal.fatal
    assert "the server speaks 3.0.0, the client speaks 1.0.0" in str(refusal.error)
    assert len(mismatch_text("client", "9" * 100_000)) < 200


# -- the original's looser forms --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message", "code", "details"),
    [
        ("It broke", "It broke", "UNKNOWN_ERROR", None),
        ({"message": "m", "code": "C"}, "m", "C", None),
        ({"message": "m", "code": "C", "details": {"field": "x"}}, "m", "C", {"field": "x"}),
        ({"message": "m"}, "m", "UNKNOWN_ERROR", None),
        ({"message": 5, "code": ["x"], "details": "d"}, "Unknown error", "UNKNOWN_ERROR", None),
        (None, "Unknown error", "UNKNOWN_ERROR", None),
        ([], "Unknown error", "UNKNOWN_ERROR", None),
        (5, "Unknown error", "UNKNOWN_ERROR", None),
    ],
)
@pytest.mark.parametrize("form", ["error", "response"])
def test_errors_of_originals_come_out_in_one_form(
    form: str, error: object, message: str, code: str, details: dict[str, Any] | None
) -> None:
    client = original_client()
    client.command("1", "c", {})
    fields: dict[str, Any] = {"success": False} if form == "response" else {}
    (answer,) = client.receive_data(wire(type=form, id="1", error=error, version="1.0.0", timestamp=1, **fields))
    assert isinstance(answer, ErrorMessage)
    assert (answer.id, answer.error.message, answer.error.code) == ("1", message, code)
    assert (answer.error.details or None) == details
    assert client.open_requests == frozenset()


def test_a_failed_response_without_an_error_is_an_error_too() -> None:
    client = original_client()
    client.command("1", "c", {})
    (answer,) = client.receive_data(wire(type="response", id="1", success=False))
    assert isinstance(answer, ErrorMessage)
    assert answer.error.code == "UNKNOWN_ERROR"


@pytest.mark.parametrize("auth_required", [True, False])
def test_an_original_client_gets_nothing_of_the_extensions(auth_required: bool) -> None:
    server = original_server(auth_required=auth_required)
    (command,) = server.receive_data(
        wire(type="command", id="1", command="c", args={}, timeoutMs=5, credit=2, idempotencyKey="k", version="1.0.0")
    )
    assert command == Command(id="1", command="c", args={})
    assert one(server.respond("1", 1)).keys() == {"type", "id", "success", "result", "version", "timestamp"}
    with pytest.raises(LocalProtocolError):
        server.ping("p")


@pytest.mark.parametrize("split", SPLITS)
def test_a_whole_conversation_in_any_split(split: str) -> None:
    """Every byte that either side sends, cut the same way for both."""
    client, server = new_client(), new_server()
    seen = types_of(feed_all(client, SPLITS[split](bytes(server.welcome()))))
    data = client.authenticate("a", TOKEN)
    assert data is not None
    (auth,) = feed_all(server, SPLITS[split](bytes(data)))
    assert isinstance(auth, Auth)
    data = server.accept(auth, session_id="s", proof=proof_for(server, auth))
    seen += types_of(feed_all(client, SPLITS[split](bytes(data))))
    asked = client.command("1", "c", {"x": "日"}, credit=2) + client.ping("p") + client.command("2", "c", {})
    seen += types_of(feed_all(server, SPLITS[split](bytes(asked))))
    data = server.item("1", {"n": 1}) + server.respond("2", 1) + server.respond("1", None) + server.ping("q")
    seen += types_of(feed_all(client, SPLITS[split](bytes(data))))
    assert seen == ["Welcome", "AuthSuccess", "Command", "Ping", "Command", "Item", "Response", "Response", "Ping"]
    assert len(unwire(asked)) == 3
    assert client.receive_eof() is None
    assert server.receive_eof() is None


def test_malformed_success_does_not_let_the_client_in() -> None:
    client = new_client()
    client.receive_data(wire(type="welcome", authRequired=True))
    client.authenticate("a", TOKEN)
    refusal = only_refusal(client.receive_data(wire(type="auth-success", id="a", capabilities="all")))
    assert isinstance(refusal.error, BadMessage)
    assert not client.settled
    assert types_of(client.receive_data(wire(type="auth-success", id="a"))) == [AuthSuccess.__name__]
