"""What can be said on the wire, in the order in which it occurs on a connection (WIRE.md sections 2 to 4).

These are msgspec's tagged Structs: one decoder tells them apart by `type` in one pass, which attrs classes cannot
do. The fields of an extension are typed loosely and checked by the connection, since they only count where the
capability they belong to was agreed. Unknown fields are ignored. What comes and goes by the thousand is none of the
garbage collector's business (`gc=False`): nothing in a message leads back to it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from poppo_ipc.protocol._version_rule import PROTOCOL_VERSION

__all__ = [
    "MAX_ID_CHARS",
    "Auth",
    "AuthSuccess",
    "Cancel",
    "Command",
    "Credit",
    "ErrorBody",
    "ErrorMessage",
    "Event",
    "FromClient",
    "FromServer",
    "Item",
    "Message",
    "PeerInfo",
    "Ping",
    "Pong",
    "Response",
    "Welcome",
]

MAX_ID_CHARS: Final = 128
Id: TypeAlias = Annotated[str, Meta(max_length=MAX_ID_CHARS)]


class PeerInfo(Struct, gc=False):
    """Who is on the other side, in its own words: `server` of `welcome`, `client` of `auth`."""

    name: str = ""
    version: str = ""
    pid: int | UnsetType = UNSET


class Welcome(Struct, tag_field="type", tag="welcome", rename="camel", kw_only=True):
    """The server's first message. Without `capabilities` the server is an original."""

    version: str = PROTOCOL_VERSION
    auth_required: bool = False
    timestamp: int = 0
    capabilities: list[str] | UnsetType = UNSET
    server: PeerInfo | UnsetType = UNSET
    max_frame_bytes: int | UnsetType = UNSET
    nonce: str | UnsetType = UNSET


class Auth(Struct, tag_field="type", tag="auth", rename="camel", kw_only=True):
    """The client's proof that it may speak, and what it wants to use."""

    id: Id
    token: Any = UNSET
    version: str = PROTOCOL_VERSION
    timestamp: Any = 0
    capabilities: Any = UNSET
    client: Any = UNSET
    client_nonce: Any = UNSET
    proof: Any = UNSET


class AuthSuccess(Struct, tag_field="type", tag="auth-success", rename="camel", kw_only=True):
    """The server took the client in. All but `id` only goes to clients that sent `capabilities`."""

    id: str
    version: str = PROTOCOL_VERSION
    timestamp: int = 0
    session_id: str | UnsetType = UNSET
    capabilities: list[str] | UnsetType = UNSET
    proof: Any = UNSET
    epoch: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    keys_durable: bool | UnsetType = UNSET


class Command(Struct, tag_field="type", tag="command", rename="camel", kw_only=True, gc=False):
    """A question. `args` is None where it was absent, which counts as `{}`; null in the last three counts as absent."""

    id: Id
    command: str
    args: Any = None
    version: str = PROTOCOL_VERSION
    timestamp: Any = 0
    timeout_ms: Any = UNSET
    credit: Any = UNSET
    idempotency_key: Any = UNSET


class Cancel(Struct, tag_field="type", tag="cancel", kw_only=True, gc=False):
    """The client no longer wants the answer to `id` (capability `cancel`)."""

    id: Id
    version: str = PROTOCOL_VERSION
    timestamp: Any = 0


class Credit(Struct, tag_field="type", tag="credit", kw_only=True, gc=False):
    """The client has room for so many more items of `id` (capability `stream`)."""

    id: Id
    credit: Any
    version: str = PROTOCOL_VERSION
    timestamp: Any = 0


class Item(Struct, tag_field="type", tag="item", kw_only=True, gc=False):
    """One of any number of partial answers to `id` (capability `stream`)."""

    id: str
    data: Any = None
    version: str = PROTOCOL_VERSION
    timestamp: int = 0


class Response(Struct, tag_field="type", tag="response", kw_only=True, gc=False):
    """The answer to `id`. `success: false` is taken from originals; ours send `error` instead."""

    id: str
    success: bool = True
    result: Any = None
    version: str = PROTOCOL_VERSION
    timestamp: int = 0
    error: Any = UNSET


class ErrorBody(Struct, kw_only=True):
    """What went wrong: a sentence, a code of WIRE.md section 6, and what a program may want to know of it."""

    message: str = ""
    code: str = ""
    details: dict[str, Any] | UnsetType = UNSET


class ErrorMessage(Struct, tag_field="type", tag="error", kw_only=True):
    """The error that answers `id`, or that concerns the connection where `id` is None."""

    id: str | None = None
    error: Any = UNSET
    version: str = PROTOCOL_VERSION
    timestamp: int = 0


class Event(Struct, tag_field="type", tag="event", gc=False):
    """Something happened. The frame holds nothing of the client that gets it, so that one encoding serves all."""

    event: str
    data: Any = None
    version: str = PROTOCOL_VERSION
    timestamp: int = 0
    seq: int | UnsetType = UNSET


class Ping(Struct, tag_field="type", tag="ping", kw_only=True, gc=False):
    """Are you there? Either side may ask (capability `ping`)."""

    id: Id
    version: str = PROTOCOL_VERSION
    timestamp: Any = 0


class Pong(Struct, tag_field="type", tag="pong", kw_only=True, gc=False):
    """I am."""

    id: Id
    version: str = PROTOCOL_VERSION
    timestamp: Any = 0


FromClient: TypeAlias = Auth | Command | Cancel | Credit | Ping | Pong
FromServer: TypeAlias = Welcome | AuthSuccess | Response | Item | ErrorMessage | Event | Ping | Pong
Message: TypeAlias = FromClient | FromServer
