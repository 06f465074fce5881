"""The server under test, and the connections to it that checks need."""

from __future__ import annotations

import base64
import hmac
import itertools
import os
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from poppo_ipc.testing.conformance._findings import NotOffered, Violation
from poppo_ipc.testing.conformance._peer import Message, Peer, short
from poppo_ipc.testing.conformance._wire import open_wire
from poppo_ipc.transport import Address

__all__ = ["ROLES", "Client", "Role", "Settings", "Target", "proof"]

#: What checks need commands for. A server may have them under these names, or others may be named for them.
ROLES: Final[dict[str, str]] = {
    "echo": "gives its args back at once",
    "wait": "never ends by itself",
    "count": "streams as many items as its arg `count` says",
    "emit": "publishes an event",
}
_UNKNOWN: Final = "conformance.no-such-command"


@frozen
class Role:
    """The command that plays a role, and its args."""

    command: str
    args: Mapping[str, Any]
    own: bool
    """Whether it is one of `conformance.*`, of which more is known."""


@frozen(kw_only=True)
class Settings:
    """Where the server is, and what is to be known of it."""

    address: Address
    """Where it listens: a Unix socket or a named pipe."""

    token: str | None = None
    patience: float = 10.0
    """Seconds that are waited for what has to come."""

    auth_seconds: float = 5.0
    """Seconds after which it closes a connection that is not authenticated."""

    auth_tries: int = 3
    """Wrong tokens after which it does."""

    roles: Mapping[str, tuple[str, Mapping[str, Any]]] = {}
    """Commands for roles, by their names, with their args."""


class Client(Peer):
    """A connection to the server under test."""

    def __init__(self, *args: Any, settings: Settings) -> None:
        super().__init__(*args)
        self._settings = settings
        self.secret = settings.token
        self._numbers = itertools.count(1)
        self.welcome: Message = {}
        self.session: Message = {}

    def greeted(self) -> Client:
        """Read the welcome."""
        self.welcome = self.expect("`welcome` as the first message", type="welcome")
        if type(self.welcome.get("authRequired")) is not bool:
            raise Violation("`authRequired` in `welcome`, true or false", short(self.welcome))
        return self

    @property
    def offered(self) -> list[str]:
        """The capabilities of the welcome."""
        found = self.welcome.get("capabilities")
        return found if isinstance(found, list) else []

    def new_id(self) -> str:
        """One that this connection has not used."""
        return f"{next(self._numbers)}"

    def sent_auth(self, capabilities: tuple[str, ...] | None = None, **changes: Any) -> str:
        """Send `auth` with the token; gives its id. None for capabilities: as an original client does."""
        request_id = self.new_id()
        fields: Message = {"type": "auth", "id": request_id, "token": self._settings.token or ""}
        if capabilities is not None:
            client = {"name": "conformance", "version": "1", "pid": os.getpid()}
            fields |= {"capabilities": list(capabilities), "client": client}
        self.send(**{**fields, **changes})
        return request_id

    def authenticated(self, capabilities: tuple[str, ...] | None = None, **changes: Any) -> Client:
        """Authenticate, and keep what the server says of the session. Raises NotOffered without a token."""
        if self.welcome["authRequired"] and self._settings.token is None:
            raise NotOffered("the server asks for a token, and none was given (POPPO_TOKEN)")
        request_id = self.sent_auth(capabilities, **changes)
        self.session = self.expect(f"`auth-success` with id {request_id!r}", type="auth-success", id=request_id)
        return self

    def ask(self, command: str, request_id: str | None = None, **more: Any) -> str:
        """Send a command; gives its id."""
        request_id = self.new_id() if request_id is None else request_id
        self.send(type="command", id=request_id, command=command, **more)
        return request_id

    def answer(self, request_id: str) -> Message:
        """The next message, which has to answer this id."""
        found = self.expect(f"the answer to {request_id!r}", id=request_id)
        if found["type"] not in ("response", "error"):
            raise Violation(f"`response` or `error` to {request_id!r}", short(found))
        return found

    def result(self, request_id: str) -> Any:
        """What the next message holds, which has to be a good response to this id."""
        found = self.answer(request_id)
        if found["type"] != "response" or found.get("success") is not True or "result" not in found:
            raise Violation(f"`response` to {request_id!r} with success true and a result", short(found))
        return found["result"]

    def alive(self) -> None:
        """A question that every server can answer is answered: the connection goes on."""
        request_id = self.ask(_UNKNOWN)
        self.expect_error("UNKNOWN_COMMAND", request_id)


class Target:
    """The server under test, for one run of checks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.exchange: list[str] = []
        self._clients: list[Client] = []
        self._has_own: bool | None = None

    def begin(self) -> None:
        """Begin the next check."""
        self.exchange = []

    def end(self) -> None:
        """Close what the check has left open."""
        while self._clients:
            self._clients.pop().close()

    def connect(self) -> Client:
        """A new connection, of which nothing was read yet. Raises OSError where nobody listens."""
        wire = open_wire(self.settings.address, self.settings.patience)
        label = f"[{len(self._clients) + 1}]" if self._clients else ""
        client = Client(wire, "server", self.settings.patience, self.exchange, label, settings=self.settings)
        self._clients.append(client)
        return client

    def greeted(self) -> Client:
        """One that has had its welcome."""
        return self.connect().greeted()

    def original(self) -> Client:
        """One that is authenticated, where that is asked for, as an original client is."""
        client = self.greeted()
        return client.authenticated() if client.welcome["authRequired"] else client

    def client(self, *capabilities: str) -> Client:
        """One that is authenticated with these capabilities. Raises NotOffered where the server lacks one."""
        client = self.greeted()
        for each in capabilities:
            if each not in client.offered:
                raise NotOffered(f"the server does not offer `{each}`")
        client.authenticated(capabilities)
        granted = client.session.get("capabilities")
        if not isinstance(granted, list) or sorted(granted) != sorted(capabilities):
            raise Violation(f"`auth-success` with capabilities {short(list(capabilities))}", short(client.session))
        return client

    def locked(self) -> Client:
        """One that has to authenticate and did not. Raises NotOffered where nobody has to."""
        client = self.greeted()
        if not client.welcome["authRequired"]:
            raise NotOffered("the server asks for no token")
        return client

    def extended(self) -> Client:
        """One greeted by a server with extensions. Raises NotOffered where it is as the original."""
        client = self.greeted()
        if "capabilities" not in client.welcome:
            raise NotOffered("the server is as the original: it offers no extensions")
        return client

    def role(self, name: str) -> Role:
        """The command for a role. Raises NotOffered where there is none."""
        named = self.settings.roles.get(name)
        if named is not None:
            return Role(*named, own=False)
        if self._has_own is None:
            client = self.original()
            self._has_own = client.answer(client.ask("conformance.echo", args={}))["type"] == "response"
        if not self._has_own:
            raise NotOffered(f"there is no command that {ROLES[name]}: name one with --use {name}=COMMAND")
        return Role(f"conformance.{name}", {"count": {"count": 5}, "emit": {"number": 1}}.get(name, {}), own=True)


def proof(whose: str, token: str, first: bytes, second: bytes) -> str:
    """The proof of WIRE.md section 4."""
    return base64.b64encode(hmac.digest(token.encode(), f"POPPO {whose}".encode() + first + second, "sha256")).decode()
