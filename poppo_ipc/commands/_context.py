"""What a handler sees of the call that it answers, and who may call what."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    import logging

__all__ = ["Context", "Peer", "Principal", "Session"]


def _matcher(scopes: tuple[str, ...]) -> Callable[[str], object]:
    if "*" in scopes:
        return _matches_all
    return re.compile("|".join(fnmatch.translate(scope) for scope in scopes) or r"(?!)").match


def _matches_all(scope: str) -> object:
    return scope


def _scopes(given: str | Iterable[str]) -> tuple[str, ...]:
    # A lone string would come apart into letters, and a `*` among them would allow everything.
    return (given,) if isinstance(given, str) else tuple(given)


@attrs.frozen
class Principal:
    """Who a client is, once authenticated.

    Attributes:
        name: for logs, and the owner of idempotency keys.
        scopes: globs of command scopes that it may use: `("task.*", "ipc.*")`. `*` also matches dots.
        uid: the user id that the kernel gave for the peer, or None where it gave none.
    """

    name: str
    scopes: tuple[str, ...] = attrs.field(default=("*",), converter=_scopes)
    uid: int | None = None
    _matches: Callable[[str], object] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        # Compiled once: asked for every command of every client.
        object.__setattr__(self, "_matches", _matcher(self.scopes))

    def allows(self, command_scope: str) -> bool:
        """Whether a command of this scope may be called."""
        return self._matches(command_scope) is not None


class Peer(Protocol):
    """The process at the other end, as the kernel tells it; None where it does not."""

    @property
    def pid(self) -> int | None:
        """Its process id when it connected."""

    @property
    def uid(self) -> int | None:
        """Its user id."""

    @property
    def gid(self) -> int | None:
        """Its group id."""


class Session(Protocol):
    """One client's connection."""

    @property
    def id(self) -> str:
        """Unique among all sessions of the server."""

    @property
    def principal(self) -> Principal:
        """Who the client is."""

    @property
    def peer(self) -> Peer | None:
        """The client's process, where the transport can tell."""


class Context(Protocol):
    """One running command, in the hands of its handler and of middleware.

    Valid until the handler has returned. The methods may only be called from the handler's own task or its children,
    not from a worker thread.
    """

    @property
    def session(self) -> Session:
        """The connection that the command came on."""

    @property
    def principal(self) -> Principal:
        """Who calls: `session.principal`."""

    @property
    def command(self) -> str:
        """The full name of the command."""

    @property
    def request_id(self) -> str:
        """The id that the client gave the command."""

    @property
    def deadline(self) -> float:
        """When the command is cancelled, in seconds on the event loop's clock; `math.inf` for never."""

    @property
    def log(self) -> logging.Logger | logging.LoggerAdapter[Any]:
        """A logger that adds the session, the request id and the command to what it says."""

    @property
    def wants_items(self) -> bool:
        """Whether the client takes items.

        Where it does not, those of an async generator become its result, a list, and those of any other handler are
        dropped.
        """

    @property
    def cancelled(self) -> bool:
        """Whether the command has been cancelled: for handlers that work on without awaiting anything."""

    async def send_item(self, data: Any) -> None:
        """Send one item of a streaming command, encoded like a result.

        Waits while the client has no credit left or does not read; cancelled while waiting, the item was not sent. To a
        client that has gone it sends nothing. Raises WireMismatch where the item is not of the declared type, and
        ResultTooLarge where it does not fit a frame, or, for a client that takes no items, all of them one answer.
        """

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Send the item `{"progress": {"done": …, "total": …, "message": …}}`."""

    async def publish(self, event: str, data: Any = None) -> int:
        """Send an event to all who subscribed, and return its sequence number. Never waits for a subscriber."""
