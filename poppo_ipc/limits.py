"""Every bound of a server, with its unit and its reason."""

from __future__ import annotations

import enum
import math

from attrs import field, frozen, validators

__all__ = ["Limits", "Overflow"]

KIB = 1024
MIB = 1024 * 1024


class Overflow(enum.Enum):
    """What happens to an event that a client's full outbox has no room for (WIRE.md section 5)."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    DISCONNECT = "disconnect"


_positive = validators.gt(0.0)
_count = (validators.instance_of(int), validators.ge(1))


@frozen(kw_only=True)
class Limits:
    """The bounds of one server. All can be changed; none can be switched off by accident.

    Raises ValueError or TypeError for a value that makes no sense.
    """

    clients: int = field(default=1024, validator=_count)
    """Clients connected at once; one more gets `BUSY` and is closed. Below the usual limit on open files (1,024 to
    1,048,576), so that a server refuses in words before the system refuses without."""

    running_per_client: int = field(default=64, validator=_count)
    """Commands of one client that run at once; one more gets `BUSY`. As many as a pipelining client gains from."""

    subscriptions_per_client: int = field(default=1024, validator=_count)
    """Subscriptions of one client, and patterns of one subscription; one more gets `BUSY`."""

    frame_bytes: int = field(default=16 * MIB, validator=_count)
    """Bytes of one frame's payload, either way, once a client is authenticated (WIRE.md section 1)."""

    unauthenticated_frame_bytes: int = field(default=64 * KIB, validator=_count)
    """The same before a client is authenticated: a stranger costs no more memory than this."""

    nesting: int = field(default=128, validator=_count)
    """Arrays and objects inside one another in a payload. Far more than people write, far less than a C stack."""

    bad_messages: int = field(default=16, validator=_count)
    """Undecodable frames in a row after which a client is disconnected (WIRE.md section 1)."""

    outbox_bytes: int = field(default=8 * MIB, validator=_count)
    """Bytes queued for one client. Over it, its events are dropped and it is not read from (WIRE.md section 5)."""

    overflow: Overflow = field(default=Overflow.DROP_OLDEST, converter=Overflow)
    """What is done with events that do not fit the outbox."""

    stall_seconds: float = field(default=30.0, validator=_positive)
    """A client whose outbox is full and that takes no byte for so long is disconnected."""

    auth_seconds: float = field(default=5.0, validator=_positive)
    """Time that a client has to authenticate."""

    auth_tries: int = field(default=3, validator=_count)
    """Wrong tokens on one connection after which it is closed."""

    idle_seconds: float = field(default=math.inf, validator=_positive)
    """A client that sends nothing for so long, and has nothing running, is pinged where it takes pings and closed
    where it takes none or does not answer in the same time again. Off by default: a client that only listens to
    events is idle for good reason."""

    kept_events: int = field(default=10_000, validator=validators.ge(0))
    """Events kept for replay."""

    kept_event_bytes: int = field(default=16 * MIB, validator=validators.ge(0))
    """Bytes of the frames of the events kept for replay."""

    kept_answers: int = field(default=10_000, validator=validators.ge(0))
    """Answers kept for idempotency keys."""

    kept_answer_bytes: int = field(default=64 * MIB, validator=validators.ge(0))
    """Bytes of the answers kept for idempotency keys."""

    kept_answer_seconds: float = field(default=600.0, validator=_positive)
    """Time that an answer is kept for its idempotency key."""

    grace_seconds: float = field(default=5.0, validator=validators.ge(0.0))
    """Time that running commands have to finish when the server stops (WIRE.md section 8)."""

    flush_seconds: float = field(default=2.0, validator=_positive)
    """Time that clients have to take what is queued for them before a stopping or refusing server closes."""

    def __attrs_post_init__(self) -> None:
        if self.unauthenticated_frame_bytes > self.frame_bytes:
            raise ValueError("unauthenticated_frame_bytes cannot be over frame_bytes")
        if self.frame_bytes > 2**32 - 1:
            raise ValueError("frame_bytes cannot be over 4294967295: the wire's length field has 32 bits")
