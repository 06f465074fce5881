"""The challenge, against proofs computed here from the words of WIRE.md section 4."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.errors import AuthenticationError
from poppo_ipc.protocol import (
    ALL_CAPABILITIES,
    CHALLENGE,
    Auth,
    AuthSuccess,
    ClientConnection,
    ServerConnection,
    State,
    client_proof,
    decode_nonce,
    new_nonce,
    proof_matches,
    server_proof,
)

from .helpers import TOKEN, new_client, new_server, one, only_refusal, take_auth, wire


def signed(token: str, name: bytes, first: bytes, second: bytes) -> str:
    return base64.b64encode(hmac.new(token.encode(), name + first + second, hashlib.sha256).digest()).decode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.binary(), st.binary())
def test_proofs_are_those_of_the_description(token: str, nonce: bytes, client_nonce: bytes) -> None:
    assert client_proof(token, nonce, client_nonce) == signed(token, b"POPPO client", nonce, client_nonce)
    assert server_proof(token, nonce, client_nonce) == signed(token, b"POPPO server", client_nonce, nonce)


def test_a_proof_known_beforehand() -> None:
    """Not by any code of this repository: `printf 'POPPO client%032d%032d' 0 1 | openssl dgst -sha256 -hmac sekrit`."""
    nonce, client_nonce = b"%032d" % 0, b"%032d" % 1
    assert (
        base64.b64decode(client_proof(TOKEN, nonce, client_nonce)).hex()
        == "9a2297b63d9a88b7c1f0c930cc7f1d87b00c850b20ceac6563eac5c690e951c3"
    )
    assert (
        base64.b64decode(server_proof(TOKEN, nonce, client_nonce)).hex()
        == "8c86f16e97c53f883556e1dac7a7008ed889c395747582134a93975cfe59e2db"
    )


def test_nonces_are_32_bytes_and_new_each_time() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert {len(base64.b64decode(nonce)) for nonce in nonces} == {32}
    assert all(decode_nonce(nonce) == base64.b64decode(nonce) for nonce in nonces)


@pytest.mark.parametrize(
    "nonce",
    [
        None,
        5,
        "",
        "x",
        "日" * 44,
        "\ud800" * 44,
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        base64.b64encode(bytes(32)).decode() + "\n",
        " " + base64.b64encode(bytes(32)).decode(),
        base64.b64encode(bytes(32)).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        [1],
    ],
)
def test_what_is_no_nonce(nonce: object) -> None:
    assert decode_nonce(nonce) is None


@pytest.mark.parametrize("shown", ["", "x", "日", "\ud800", None, 5, b"good", ["good"], True])
def test_only_the_expected_proof_matches(shown: object) -> None:
    assert proof_matches("good", "good")
    assert not proof_matches("good", shown)


# -- in a handshake ---------------------------------------------------------------------------------------------


def greeted() -> tuple[ClientConnection, ServerConnection]:
    client, server = new_client(), new_server()
    client.receive_data(bytes(server.welcome()))
    return client, server


def test_each_connection_has_a_nonce_of_its_own_and_only_with_authentication_and_challenge() -> None:
    nonces = [one(new_server().welcome())["nonce"] for _ in range(5)]
    assert len(set(nonces)) == 5
    assert {len(base64.b64decode(nonce)) for nonce in nonces} == {32}
    for server in (new_server(auth_required=False), new_server(capabilities=("cancel",))):
        welcome = one(server.welcome())
        assert "nonce" not in welcome
        assert CHALLENGE not in welcome["capabilities"]


def test_the_token_does_not_cross_the_wire_and_both_prove_that_they_know_it() -> None:
    client, server = greeted()
    data = client.authenticate("a", TOKEN)
    assert data is not None
    sent = one(data)
    assert TOKEN.encode() not in data
    assert "token" not in sent
    nonce, client_nonce = base64.b64decode(server.nonce), base64.b64decode(sent["clientNonce"])
    assert sent["proof"] == signed(TOKEN, b"POPPO client", nonce, client_nonce)

    auth = take_auth(server, data)
    assert (auth.proof, auth.client_nonce) == (sent["proof"], sent["clientNonce"])
    proof = signed(TOKEN, b"POPPO server", client_nonce, nonce)
    (success,) = client.receive_data(bytes(server.accept(auth, session_id="s", proof=proof)))
    assert isinstance(success, AuthSuccess)
    assert client.settled
    assert client.capabilities == server.capabilities == set(ALL_CAPABILITIES)


def test_each_auth_has_a_nonce_of_its_own() -> None:
    client, server = greeted()
    seen = set()
    for _ in range(2):
        data = client.authenticate("a", TOKEN)
        assert data is not None
        seen.add(one(data)["clientNonce"])
        client.receive_data(bytes(server.reject(take_auth(server, data))))
    assert len(seen) == 2


@pytest.mark.parametrize(
    "forged", ["missing", "null", "empty", "client's own", "other token", "swapped", "other nonce"]
)
def test_the_client_refuses_a_server_that_cannot_prove_itself(forged: str) -> None:
    client, server = greeted()
    data = client.authenticate("a", TOKEN)
    assert data is not None
    sent = one(data)
    nonce, client_nonce = base64.b64decode(server.nonce), base64.b64decode(sent["clientNonce"])
    proofs: dict[str, dict[str, str | None]] = {
        "missing": {},
        "null": {"proof": None},
        "empty": {"proof": ""},
        "client's own": {"proof": sent["proof"]},
        "other token": {"proof": signed("guess", b"POPPO server", client_nonce, nonce)},
        "swapped": {"proof": signed(TOKEN, b"POPPO server", nonce, client_nonce)},
        "other nonce": {"proof": signed(TOKEN, b"POPPO server", bytes(32), nonce)},
    }
    fields = {"type": "auth-success", "id": "a", "sessionId": "s", "capabilities": list(ALL_CAPABILITIES)}
    refusal = only_refusal(client.receive_data(wire(**fields, **proofs[forged])))
    if forged == "null":
        assert not client.settled
        return
    assert isinstance(refusal.error, AuthenticationError)
    assert refusal.fatal
    assert refusal.reply is None
    assert client.state is State.CLOSING
    assert not client.settled
    good = signed(TOKEN, b"POPPO server", client_nonce, nonce)
    assert client.receive_data(wire(**fields, proof=good)) == []
    assert not client.settled


def test_a_server_that_drops_the_challenge_from_what_was_agreed_still_has_to_prove_itself() -> None:
    client, _ = greeted()
    client.authenticate("a", TOKEN)
    refusal = only_refusal(client.receive_data(wire(type="auth-success", id="a", sessionId="s", capabilities=[])))
    assert isinstance(refusal.error, AuthenticationError)
    assert refusal.fatal


def test_a_client_that_does_not_want_the_challenge_sends_the_token_and_needs_no_proof() -> None:
    client, server = greeted()
    data = client.authenticate("a", TOKEN, capabilities=("cancel",))
    assert data is not None
    sent = one(data)
    assert sent["token"] == TOKEN
    assert not {"proof", "clientNonce"} & sent.keys()
    auth = take_auth(server, data)
    assert isinstance(auth, Auth)
    client.receive_data(bytes(server.accept(auth, session_id="s")))
    assert client.settled
    assert client.capabilities == server.capabilities == {"cancel"}
