"""Who is let in, and what is said to who is not (WIRE.md sections 3, 4 and 7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from poppo_ipc.commands import Context, Principal, Router
from poppo_ipc.limits import Limits
from poppo_ipc.server import AuthAttempt, Token, TokenAuth

from .rawclient import ALL, TOKEN, RawClient, Serve, command, fault, framed, in_jumping_time, wire

pytestmark = in_jumping_time


def router() -> Router:
    made = Router()

    @made.command("whoami")
    def whoami(ctx: Context) -> dict[str, object]:
        return {"name": ctx.principal.name, "scopes": list(ctx.principal.scopes)}

    @made.command("task.list")
    def task_list() -> list[str]:
        return []

    @made.command("task.stop")
    def task_stop(task_id: str) -> str:
        return task_id

    return made


async def wrong_token(client: RawClient, request_id: str = "w") -> None:
    await client.send(type="auth", id=request_id, token="no")
    assert fault(await client.answer(request_id)) == {
        "message": "Invalid authentication token",
        "code": "AUTH_FAILED",
    }


async def test_welcome_offers_the_extensions(serve: Serve) -> None:
    async with serve(auth=TOKEN, name="poppod", version="2.1") as served:
        client, other = await served.connect(), await served.connect()
        welcome = client.welcome
        assert welcome["authRequired"] is True
        assert welcome["capabilities"] == ALL
        assert welcome["server"] == {"name": "poppod", "version": "2.1"}
        assert welcome["maxFrameBytes"] == 16 * 1024 * 1024
        assert len(base64.b64decode(welcome["nonce"], validate=True)) == 32
        assert welcome["nonce"] != other.welcome["nonce"]


async def test_a_token_lets_an_original_client_in(serve: Serve) -> None:
    async with serve(router(), auth=TOKEN) as served:
        client = await served.connect()
        answer = await client.auth_as_original()
        assert set(answer) == {"type", "id", "version", "timestamp"}
        assert await client.call("whoami") == {"name": "default", "scopes": ["*"]}


async def test_a_client_of_this_project_is_told_of_its_session(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client = await served.connect()
        answer = await client.auth("cancel", "replay", "idempotency", "no-such-thing")
        (info,) = served.server.sessions
        assert answer["sessionId"] == info.id
        assert answer["capabilities"] == ["cancel", "replay", "idempotency"]
        assert answer["epoch"] == served.server.fanout.log.epoch
        assert answer["seq"] == 0
        assert answer["keysDurable"] is False


@pytest.mark.parametrize("message", [{"type": "command", "command": "whoami"}, {"type": "ping"}, {"type": "nonsense"}])
async def test_anything_else_comes_too_early(serve: Serve, message: dict[str, str]) -> None:
    async with serve(router(), auth=TOKEN) as served:
        client = await served.connect()
        await client.send(id="early", **message)
        assert fault(await client.answer("early")) == {"message": "Authentication required", "code": "AUTH_REQUIRED"}
        await client.auth_as_original()


async def test_three_wrong_tokens_end_the_connection(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client = await served.connect()
        for each in "abc":
            await wrong_token(client, each)
        assert await client.rest() == []


async def test_two_wrong_tokens_and_the_right_one(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client = await served.connect()
        await client.send_bytes(
            wire(type="auth", id="1", token="x"), wire(type="auth", id="2"), wire(type="auth", id="3", token=TOKEN)
        )
        kinds = [(message["id"], message["type"]) for message in await client.recv_many(3)]
        assert kinds == [("1", "error"), ("2", "error"), ("3", "auth-success")]


async def test_the_tries_are_configurable(serve: Serve) -> None:
    async with serve(auth=TOKEN, limits=Limits(auth_tries=1)) as served:
        client = await served.connect()
        await wrong_token(client)
        assert await client.rest() == []


@pytest.mark.parametrize("noise", [False, True])
async def test_five_seconds_without_success_end_the_connection(serve: Serve, noise: bool) -> None:
    async with serve(auth=TOKEN) as served:
        began = trio.current_time()
        client = await served.connect()
        if noise:
            await trio.sleep(4)
            await wrong_token(client)
        assert await client.rest() == []
        assert trio.current_time() - began == pytest.approx(5)


async def test_an_authenticated_client_stays(serve: Serve) -> None:
    async with serve(router(), auth=TOKEN) as served:
        client = await served.client()
        await trio.sleep(3600)
        assert await client.call("task.list") == []


def proofs(token: str, nonce: bytes, client_nonce: bytes) -> tuple[str, str]:
    """Straight from WIRE.md."""
    key = token.encode()
    ours = hmac.new(key, b"POPPO client" + nonce + client_nonce, hashlib.sha256).digest()
    theirs = hmac.new(key, b"POPPO server" + client_nonce + nonce, hashlib.sha256).digest()
    return base64.b64encode(ours).decode(), base64.b64encode(theirs).decode()


async def test_a_proof_in_place_of_the_token(serve: Serve) -> None:
    async with serve(router(), auth=TOKEN) as served:
        client = await served.connect()
        client_nonce = os.urandom(32)
        proof, expected = proofs(TOKEN, base64.b64decode(client.welcome["nonce"]), client_nonce)
        answer = await client.auth(
            *ALL, token="", proof=proof, clientNonce=base64.b64encode(client_nonce).decode(), client={"name": "t"}
        )
        assert answer["proof"] == expected
        assert await client.call("task.list") == []


async def test_a_proof_of_another_connection_is_wrong(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client, other = await served.connect(), await served.connect()
        nonce = os.urandom(32)
        proof, _ = proofs(TOKEN, base64.b64decode(other.welcome["nonce"]), nonce)
        await client.send(type="auth", id="1", proof=proof, clientNonce=base64.b64encode(nonce).decode())
        await client.send(type="auth", id="2", proof=proof, clientNonce="short")
        # A proof that fails is not made good by a token beside it.
        await client.send(type="auth", id="3", proof=proof, token=TOKEN, clientNonce=base64.b64encode(nonce).decode())
        assert [fault(each)["code"] for each in await client.rest()] == ["AUTH_FAILED"] * 3


async def test_each_token_has_its_scopes(serve: Serve) -> None:
    auth = TokenAuth(Token("watcher", "w", ("*.list", "whoami")), Token("owner", "o"))
    async with serve(router(), auth=auth) as served:
        watcher, owner = await served.connect(), await served.connect()
        await watcher.auth(token="w")
        await owner.auth(token="o")
        assert (await watcher.call("whoami"))["name"] == "watcher"
        assert (await owner.call("whoami"))["name"] == "owner"
        assert await watcher.call("task.list") == []
        assert await owner.call("task.stop", args={"taskId": "7"}) == "7"
        # Neither the args nor near names are looked at for who may not know of them.
        for name, args in (("task.stop", {"bad": 1}), ("task.stopp", {}), ("zzz", {})):
            error = await watcher.error(name, args=args)
            assert error["code"] == "FORBIDDEN"
            assert "details" not in error
        assert (await owner.error("task.stopp"))["details"] == {"suggestions": ["task.stop", "task.list"]}
        assert (await watcher.error("tas.list"))["details"] == {"suggestions": ["task.list"]}


class OwnRules:
    """Lets in who is called as it wishes, and fails in all other ways."""

    async def authenticate(self, attempt: AuthAttempt) -> Principal | None:
        match attempt.client.name:
            case "crash":
                raise ValueError("secret text")
            case "exit":
                raise SystemExit(1)
            case "hang":
                await trio.sleep_forever()
            case "slow":
                await trio.sleep(3)
        assert attempt.peer is not None
        return Principal(f"{attempt.client.name}-{attempt.client.version}", uid=attempt.peer.uid)


async def test_an_authenticator_of_ones_own(serve: Serve) -> None:
    async with serve(router(), auth=OwnRules()) as served:
        client = await served.connect()
        await client.auth(client={"name": "slow", "version": "1", "pid": 7})
        assert (await client.call("whoami"))["name"] == "slow-1"


@pytest.mark.parametrize("way", ["crash", "exit"])
async def test_an_authenticator_that_fails_lets_nobody_in(
    serve: Serve, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(router(), auth=OwnRules()) as served:
        client, other = await served.connect(), await served.connect()
        await client.send(type="auth", id="1", client={"name": way})
        assert fault(await client.answer("1"))["code"] == "AUTH_FAILED"
        await other.auth(client={"name": "fine"})
    assert "authenticator failed" in caplog.text


async def test_an_authenticator_that_hangs_has_the_clients_time(serve: Serve) -> None:
    async with serve(auth=OwnRules()) as served:
        client, other = await served.connect(), await served.connect()
        began = trio.current_time()
        await trio.sleep(1)
        await client.send(type="auth", id="1", client={"name": "hang"})
        await other.auth(client={"name": "fine"})
        await client.rest()
        assert trio.current_time() - began == pytest.approx(5)
        await wait_all_tasks_blocked()
        assert len(served.server._sessions) == 1


async def test_a_server_that_stops_while_it_authenticates(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(auth=OwnRules()) as served:
        client = await served.connect()
        await client.send(type="auth", id="1", client={"name": "slow"})
        await trio.sleep(1.5)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(served.server.stop, 0)
                assert await client.rest() == []
                await trio.sleep(1.9)
    assert "crashed" not in caplog.text


async def test_without_authentication(serve: Serve) -> None:
    async with serve(router()) as served:
        client = await served.connect()
        assert client.welcome["authRequired"] is False
        assert "nonce" not in client.welcome
        assert "challenge" not in client.welcome["capabilities"]
        assert await client.call("task.list") == []
        assert (await client.call("whoami"))["name"] == "anonymous"
        answer = await client.auth("cancel", "ping", "challenge")
        assert answer["capabilities"] == ["cancel", "ping"]
        tokens: list[Any] = ["x", 7, None, {"a": []}]
        for number, token in enumerate(tokens):
            await client.send(type="auth", id=str(number), token=token, proof=[], clientNonce=1, client="me")
            answer = await client.answer(str(number))
            assert answer["type"] == "auth-success"
            assert "sessionId" not in answer
        await client.send(type="ping", id="p")
        assert (await client.answer("p"))["type"] == "pong"


async def test_a_second_auth_is_refused_where_one_was_needed(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client = await served.client()
        await client.send(type="auth", id="again", token="other")
        assert fault(await client.answer("again"))["code"] == "BAD_MESSAGE"
        assert (await client.call("ipc.describe"))["commands"]


async def test_64_kib_before_authentication(serve: Serve) -> None:
    async with serve(router(), auth=TOKEN) as served:
        client = await served.connect()
        await client.send_bytes(b"POPPO" + (64 * 1024 + 1).to_bytes(4, "big"))
        assert [fault(each)["code"] for each in await client.rest()] == ["FRAME_TOO_LARGE"]
        client = await served.connect()
        big = wire(type="auth", id="a", token=TOKEN, padding="x" * 60_000)
        large = command("big", "task.stop", args={"taskId": "y" * 100_000})
        # What comes in one piece behind the auth has the larger bound already.
        await client.send_bytes(big, large)
        assert (await client.answer("a"))["type"] == "auth-success"
        assert len((await client.answer("big"))["result"]) == 100_000


async def test_exactly_64_kib_are_taken(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client = await served.connect()
        text = b'{"type":"auth","id":"a","token":"%s","p":"' % TOKEN.encode()
        await client.send_bytes(framed(text + b"x" * (64 * 1024 - len(text) - 2) + b'"}'))
        assert (await client.answer("a"))["type"] == "auth-success"


async def test_no_event_before_authentication(serve: Serve) -> None:
    async with serve(auth=TOKEN) as served:
        client = await served.connect()
        await served.server.publish("one")
        assert (await client.auth_as_original())["type"] == "auth-success"
        await served.server.publish("two")
        assert (await client.recv())["event"] == "two"


async def test_the_token_is_in_no_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve(router(), auth=TOKEN) as served:
        client, other = await served.connect(), await served.connect()
        await client.auth()
        await client.error("nope")
        await other.send(type="auth", id="1", token=TOKEN + "-nearly")
        await other.recv()
        await other.send_bytes(TOKEN.encode())
        await other.rest()
    assert "wrong token" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(Token("name", TOKEN))
    assert TOKEN not in repr(vars(TokenAuth.from_secret(TOKEN)))
