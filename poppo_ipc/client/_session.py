"""What both sides agreed on, for the life of one connection."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from poppo_ipc.protocol import CANCEL, DEADLINE, IDEMPOTENCY, PING, REPLAY, STREAM, SUBSCRIBE

__all__ = ["ServerInfo", "Session"]


@frozen
class ServerInfo:
    """Who the server is, as far as it tells."""

    name: str = ""
    """What it calls itself; "" for an original."""

    version: str = ""
    """Its version; "" for an original."""

    pid: int | None = None
    """Its process, by the word of the kernel; None where that does not tell."""


@frozen(kw_only=True)
class Session:
    """One settled connection."""

    id: str = ""
    """The server's name for it; "" from an original."""

    capabilities: frozenset[str] = frozenset()
    """The extensions in use."""

    server: ServerInfo = ServerInfo()
    """Who is on the other side."""

    epoch: str | None = None
    """The numbering of events that the server is in; None where it has no `replay`."""

    seq: int | None = None
    """The last event before this session; None where the server has no `replay`."""

    keys_durable: bool = False
    """Whether idempotency keys outlive the daemon."""

    original: bool = False
    """Whether the server is an original, which has no extensions."""

    # Looked up for each call: a set look-up by name each time costs more than the rest of the question.
    has_cancel: bool = field(init=False, repr=False, eq=False)
    has_deadline: bool = field(init=False, repr=False, eq=False)
    has_keys: bool = field(init=False, repr=False, eq=False)
    has_ping: bool = field(init=False, repr=False, eq=False)
    has_replay: bool = field(init=False, repr=False, eq=False)
    has_stream: bool = field(init=False, repr=False, eq=False)
    has_subscribe: bool = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        named: dict[str, Any] = {
            "has_cancel": CANCEL,
            "has_deadline": DEADLINE,
            "has_keys": IDEMPOTENCY,
            "has_ping": PING,
            "has_replay": REPLAY,
            "has_stream": STREAM,
            "has_subscribe": SUBSCRIBE,
        }
        for name, capability in named.items():
            object.__setattr__(self, name, capability in self.capabilities)

    def same_daemon(self, other: Session) -> bool:
        """Whether both sessions are surely with one run of one daemon.

        The epoch alone does not tell: a daemon that keeps its events on disk keeps its epoch over a restart. So the
        pids must not differ either, where both are known.
        """
        if self.epoch is None or self.epoch != other.epoch:
            return False
        ours, theirs = self.server.pid, other.server.pid
        return ours is None or theirs is None or ours == theirs
