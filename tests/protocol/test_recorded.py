"""Frames recorded between an original client and an original server, replayed on either side."""

from __future__ import annotations

import json
from typing import Any

import pytest

from poppo_ipc.errors import AuthFailed, CommandError
from poppo_ipc.protocol import (
    Auth,
    AuthSuccess,
    Command,
    ErrorMessage,
    Event,
    PeerInfo,
    Refusal,
    Response,
    State,
    Welcome,
    encode,
)

from .helpers import SPLITS, TOKEN, feed_all, new_client, new_server, one, recorded

LIMIT = 1 << 24
EXTENSIONS_OF_WELCOME = {"capabilities", "server", "maxFrameBytes", "nonce"}

SESSIONS = ["auth", "noauth"]


def body(frame: bytes) -> dict[str, Any]:
    return one(frame)


def frames(name: str, side: str) -> list[bytes]:
    return [frame for sender, frame in recorded(name) if sender == side]


def test_the_recordings_are_what_the_tests_take_them_for() -> None:
    counts = {name: (len(frames(name, "server")), len(frames(name, "client"))) for name in (*SESSIONS, "badtoken")}
    assert counts == {"auth": (13, 11), "noauth": (11, 10), "badtoken": (2, 1)}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", SESSIONS)
def test_our_client_says_what_the_original_client_said_and_understands_its_server(name: str, split: str) -> None:
    now = [0]
    client = new_client(clock=lambda: now[0])
    entries = recorded(name)
    for sender, frame in entries:
        fields = body(frame)
        if sender == "client":
            now[0] = fields["timestamp"]
            if fields["type"] == "auth":
                ours = client.authenticate(fields["id"], TOKEN, client=PeerInfo(name="not for originals"))
            else:
                ours = client.command(fields["id"], fields["command"], fields["args"])
            assert ours == frame  # the keys' order too
            continue
        (message,) = feed_all(client, SPLITS[split](frame))
        assert not isinstance(message, Refusal)
        assert encode(message, LIMIT) == frame or isinstance(message, ErrorMessage)
    assert client.is_original
    assert client.settled
    assert client.open_requests == frozenset()


@pytest.mark.parametrize("split", [*SPLITS, "one piece"])
@pytest.mark.parametrize("name", SESSIONS)
def test_all_frames_of_the_server_come_out_in_order_in_any_split(name: str, split: str) -> None:
    client = new_client()
    welcome, *rest = frames(name, "server")
    client.receive_data(welcome)
    if name == "auth":
        client.authenticate(body(frames(name, "client")[0])["id"], TOKEN)
        assert not client.settled
        (success,) = client.receive_data(rest.pop(0))
        assert isinstance(success, AuthSuccess)
    commands = [each for each in map(body, frames(name, "client")) if each["type"] == "command"]
    for each in commands:
        client.command(each["id"], each["command"], each["args"])
    assert client.open_requests == {each["id"] for each in commands}
    stream = b"".join(rest)
    received = feed_all(client, [stream] if split == "one piece" else SPLITS[split](stream))
    for frame, message in zip(rest, received, strict=True):
        theirs = body(frame)
        match message:
            case Response():
                assert (message.id, message.success, message.result) == (theirs["id"], True, theirs["result"])
            case ErrorMessage():
                assert message.id == theirs["id"]
                assert {"message": message.error.message, "code": message.error.code} == theirs["error"]
            case Event():
                assert (message.event, message.data) == (theirs["event"], theirs["data"])
            case _:
                pytest.fail(f"unexpected {message}")
        assert theirs["type"] == message.__struct_config__.tag
    assert client.open_requests == frozenset()
    assert client.receive_eof() is None


def test_what_comes_behind_the_frame_that_settles_the_client_comes_out_with_it() -> None:
    """It stood in the buffer until the next byte came: an event or answer in the same piece was late, or never."""
    event = frames("auth", "server")[-1]
    client = new_client()
    assert [type(each) for each in client.receive_data(frames("noauth", "server")[0] + event)] == [Welcome, Event]

    client = new_client()
    welcome, success, *_ = frames("auth", "server")
    client.receive_data(welcome)
    client.authenticate(body(success)["id"], TOKEN)
    assert [type(each) for each in client.receive_data(success + event + event)] == [AuthSuccess, Event, Event]


@pytest.mark.parametrize("split", [*SPLITS, "one piece"])
@pytest.mark.parametrize("name", SESSIONS)
def test_our_server_answers_the_original_client_as_the_original_server_did(name: str, split: str) -> None:
    now = [0]
    server = new_server(auth_required=name == "auth", clock=lambda: now[0])
    recorded_answers = {(fields := body(frame)).get("id"): (frame, fields) for frame in frames(name, "server")}
    welcome_frame, welcome = recorded_answers[None] if name == "noauth" else (None, None)
    if welcome is not None:
        assert welcome_frame is not None
        now[0] = welcome["timestamp"]
        ours = one(server.welcome())
        assert EXTENSIONS_OF_WELCOME - {"nonce"} == ours.keys() - welcome.keys()
        section_3 = [(key, value) for key, value in ours.items() if key not in EXTENSIONS_OF_WELCOME]
        assert section_3 == list(welcome.items())
    else:
        assert one(server.welcome()).keys() >= EXTENSIONS_OF_WELCOME

    stream = b"".join(frames(name, "client"))
    received = feed_all(server, [stream] if split == "one piece" else SPLITS[split](stream))
    if name == "auth":
        (auth,) = received
        assert isinstance(auth, Auth)
        assert auth.token == TOKEN
        frame, fields = recorded_answers[auth.id]
        now[0] = fields["timestamp"]
        assert server.accept(auth, session_id="s", proof="p", epoch="e", seq=3, keys_durable=True) == frame
        received = server.resume()
    asked = [each for each in map(body, frames(name, "client")) if each["type"] == "command"]
    assert len(received) == len(asked)
    for message, theirs in zip(received, asked, strict=True):
        assert isinstance(message, Command)
        assert (message.id, message.command, message.args) == (theirs["id"], theirs["command"], theirs["args"])
        frame, fields = recorded_answers[message.id]
        now[0] = fields["timestamp"]
        if fields["type"] == "error":
            answer = server.fail(message.id, CommandError(fields["error"]["code"], fields["error"]["message"]))
        else:
            answer = server.respond(message.id, fields["result"])
        assert answer == frame
    assert server.open_requests == frozenset()


def test_our_event_is_the_original_server_s_byte_for_byte() -> None:
    frame = frames("auth", "server")[-1]
    theirs = body(frame)
    server = new_server(auth_required=False, clock=lambda: theirs["timestamp"])
    server.welcome()
    assert server.send(Event(event=theirs["event"], data=theirs["data"])) == frame


@pytest.mark.parametrize("split", SPLITS)
def test_a_wrong_token_is_refused_as_the_original_refuses_it_but_with_a_code_of_its_own(split: str) -> None:
    frame = frames("badtoken", "server")[-1]
    theirs = body(frame)
    server = new_server(clock=lambda: theirs["timestamp"])
    server.welcome()
    (auth,) = feed_all(server, SPLITS[split](frames("badtoken", "client")[0]))
    assert isinstance(auth, Auth)
    ours = one(server.reject(auth))
    assert ours["error"].pop("code") == "AUTH_FAILED"
    assert theirs["error"].pop("code") == "UNKNOWN_ERROR"
    assert json.dumps(ours) == json.dumps(theirs)
    assert server.state is State.AUTHENTICATING


def test_the_client_sees_the_original_server_refuse_its_token() -> None:
    welcome, refusal = frames("badtoken", "server")
    client = new_client()
    client.receive_data(welcome)
    client.authenticate(body(refusal)["id"], "wrong")
    (message,) = client.receive_data(refusal)
    assert isinstance(message, ErrorMessage)
    assert message.id == client.auth_id
    assert message.error.message == str(AuthFailed("Invalid authentication token"))
    assert not client.settled
    assert client.state is State.AUTHENTICATING


@pytest.mark.parametrize("text", ["日本 project", "ünïcode ✓", "😀", "\u2028", "\x7f", 'quote " back \\ slash /'])
def test_text_is_written_as_the_original_writes_it(text: str) -> None:
    """JSON.stringify leaves all but quotes, backslashes and control characters as they are, in UTF-8."""
    server = new_server(auth_required=False)
    server.welcome()
    (command,) = server.receive_data(bytes(client_command(text)))
    assert isinstance(command, Command)
    assert command.args == {"text": text}
    answer = server.respond(command.id, text)
    assert json.dumps(text, ensure_ascii=False).encode() in answer


def client_command(text: str) -> bytes:
    client = new_client()
    client.receive_data(frames("noauth", "server")[0])
    return client.command("1", "echo", {"text": text})
