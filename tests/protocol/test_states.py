"""The table of who may send what when, against what the description says, and against what either side does."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from poppo_ipc.errors import LocalProtocolError
from poppo_ipc.protocol import (
    ALL_CAPABILITIES,
    CANCEL,
    NEEDS_CAPABILITY,
    PING,
    STREAM,
    TRANSITIONS,
    Auth,
    AuthSuccess,
    Cancel,
    Command,
    Connection,
    Credit,
    ErrorBody,
    ErrorMessage,
    Event,
    Item,
    Message,
    Ping,
    Pong,
    Refusal,
    Response,
    Role,
    State,
    Welcome,
    encode,
)
from poppo_ipc.protocol._messages import FromClient, FromServer

from .helpers import new_client, new_server, session, wire

EVERY = {
    Role.CLIENT: set(get_args(FromClient)),
    Role.SERVER: set(get_args(FromServer)),
}
SAMPLES: dict[type[Any], Any] = {
    Welcome: Welcome(auth_required=True),
    Auth: Auth(id="1"),
    AuthSuccess: AuthSuccess(id="auth-1"),
    Command: Command(id="2", command="c"),
    Cancel: Cancel(id="1"),
    Credit: Credit(id="1", credit=1),
    Item: Item(id="1"),
    Response: Response(id="1"),
    ErrorMessage: ErrorMessage(id=None, error=ErrorBody(message="m", code="C")),
    Event: Event(event="e"),
    Ping: Ping(id="1"),
    Pong: Pong(id="1"),
}

# In the words of the description, and apart from the table: what each side may send in each state.
ALLOWED: dict[tuple[State, Role], set[type[Any]]] = {
    (State.CONNECTING, Role.SERVER): {Welcome, ErrorMessage},
    (State.CONNECTING, Role.CLIENT): set(),
    (State.AUTHENTICATING, Role.SERVER): {AuthSuccess, ErrorMessage},
    (State.AUTHENTICATING, Role.CLIENT): {Auth},
    (State.READY, Role.SERVER): {AuthSuccess, Response, Item, ErrorMessage, Event, Ping, Pong},
    (State.READY, Role.CLIENT): {Auth, Command, Cancel, Credit, Ping, Pong},
    (State.CLOSING, Role.SERVER): {Response, Item, ErrorMessage, Event, Pong},
    (State.CLOSING, Role.CLIENT): set(),
    (State.CLOSED, Role.SERVER): set(),
    (State.CLOSED, Role.CLIENT): set(),
}
MOVES: dict[tuple[State, type[Any]], State] = {
    (State.CONNECTING, Welcome): State.AUTHENTICATING,
    (State.CONNECTING, ErrorMessage): State.CLOSING,
    (State.AUTHENTICATING, AuthSuccess): State.READY,
}

everywhere = pytest.mark.parametrize(
    ("state", "role"), list(ALLOWED), ids=[f"{state.value}-{role.value}" for state, role in ALLOWED]
)


def side_in(state: State, role: Role) -> Connection:
    """A side that was led into the state by what can happen to it."""
    client, server = session()
    if state in (State.CONNECTING, State.AUTHENTICATING):
        client, server = new_client(), new_server()
        if state is State.AUTHENTICATING:
            client.receive_data(bytes(server.welcome()))
            client.authenticate("auth-1", "t", capabilities=())
    else:
        server.receive_data(wire(type="command", id="1", command="c"))
        client.command("1", "c", {})
    side: Connection = client if role is Role.CLIENT else server
    if state is State.CLOSING:
        side.receive_data(b"garbage")
    elif state is State.CLOSED:
        side.closed()
    assert side.state is state
    return side


def test_the_samples_are_every_message() -> None:
    assert set(SAMPLES) == set(get_args(Message)) == EVERY[Role.CLIENT] | EVERY[Role.SERVER]


def test_the_table_has_every_state_and_either_role() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(set(rows) == set(Role) for rows in TRANSITIONS.values())
    assert set(ALLOWED) == {(state, role) for state in State for role in Role}


@pytest.mark.parametrize("role", Role)
def test_every_message_has_its_place_in_the_table_and_stands_on_its_own_side_only(role: Role) -> None:
    somewhere: set[type[Any]] = set().union(*(TRANSITIONS[state][role] for state in State))
    assert somewhere == EVERY[role]


@everywhere
def test_the_table_says_what_the_description_says(state: State, role: Role) -> None:
    assert set(TRANSITIONS[state][role]) == ALLOWED[state, role]
    for message, following in TRANSITIONS[state][role].items():
        assert following == MOVES.get((state, message)), message


def test_messages_of_capabilities() -> None:
    assert {Cancel: CANCEL, Credit: STREAM, Item: STREAM, Ping: PING, Pong: PING} == NEEDS_CAPABILITY
    assert set(NEEDS_CAPABILITY.values()) <= set(ALL_CAPABILITIES)


@everywhere
def test_each_side_sends_what_the_table_allows_and_nothing_else(state: State, role: Role) -> None:
    for kind, message in SAMPLES.items():
        side = side_in(state, role)
        if kind in ALLOWED[state, role]:
            assert side.send(message)
            assert side.state is MOVES.get((state, kind), state)
        else:
            with pytest.raises(LocalProtocolError, match=rf"A {role.value} may not send .* in state '{state.value}'"):
                side.send(message)
            assert side.state is state


@everywhere
def test_each_side_takes_what_the_table_allows_its_peer_and_nothing_else(state: State, role: Role) -> None:
    """Role is that of the sender here."""
    for kind, message in SAMPLES.items():
        side = side_in(state, role.peer)
        received = side.receive_data(bytes(encode(message, 10**6)))
        if state in (State.CLOSING, State.CLOSED):
            assert received == []
        elif kind in ALLOWED[state, role] and not (kind in (Auth, AuthSuccess) and state is State.READY):
            assert [type(each) for each in received] == [kind]
            assert side.state is MOVES.get((state, kind), state)
        elif kind is AuthSuccess and state is State.READY and role is Role.SERVER:
            assert received == []  # the client was let in already
        else:
            (refusal,) = received
            assert isinstance(refusal, Refusal), kind
            assert (refusal.reply is None) == (role is Role.SERVER)


@pytest.mark.parametrize("auth_required", [True, False])
def test_welcome_leads_where_it_says(auth_required: bool) -> None:
    client, server = new_client(), new_server(auth_required=auth_required)
    client.receive_data(bytes(server.welcome()))
    assert client.state is server.state is (State.AUTHENTICATING if auth_required else State.READY)


def test_the_peer_of_a_role() -> None:
    assert [role.peer for role in (Role.CLIENT, Role.SERVER)] == [Role.SERVER, Role.CLIENT]
