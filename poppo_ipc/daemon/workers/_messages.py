"""What the daemon and a worker say to each other: JSON in POPPO frames, over a channel of their own.

In the order in which they occur: `Setup` down, `Hello` up, then `JobOrder` down and `Done` up for each job, `Bye`
down. On Windows also `Begun` up as a job begins, and `Turn` up and down as the output changes its stream. Imported by
worker processes: the standard library and msgspec only.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

import msgspec

__all__ = [
    "MAX_FRAME_BYTES",
    "NESTING",
    "Begun",
    "Bye",
    "Done",
    "Down",
    "Hello",
    "JobOrder",
    "Setup",
    "Target",
    "Turn",
    "Up",
    "decode_down",
    "decode_up",
    "encode",
    "frame",
    "parse_header",
]

#: Bytes of one message: what a client may send as a payload, or be told as a result, fits into it.
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024

#: Arrays and objects inside one another in a result: what the protocol lets through to a client.
NESTING: Final = 128

Backend = Literal["sync", "trio", "asyncio"]


class Setup(msgspec.Struct, tag="setup"):
    """The first message: how the worker's interpreter is to look like the daemon's."""

    path: list[str]
    """`sys.path` of the daemon; empty for an interpreter that is not the daemon's."""
    pythonpath: str | None
    """`PYTHONPATH` of the daemon: the worker was started with another one."""


class Hello(msgspec.Struct, tag="hello"):
    """The worker is ready for jobs."""

    pid: int


class Target(msgspec.Struct, frozen=True):
    """Which function to call and how."""

    module: str
    qualname: str
    file: str | None
    """The file of the daemon's main module, where the function is in there; `module` is then `__main__`."""
    backend: Backend
    whole: bool
    """The payload is the one argument, rather than a mapping of keyword arguments."""


class JobOrder(msgspec.Struct, tag="job"):
    """Run this. Without a target it is a command."""

    task_id: str
    attempt: int
    payload: msgspec.Raw
    target: Target | None
    cwd: str | None


class Begun(msgspec.Struct, tag="begun"):
    """The worker has taken the job. Said on Windows alone; elsewhere the system tells what of a socket was read."""


class Turn(msgspec.Struct, tag="turn"):
    """Up: take what is in the streams of the output now, and say so; down: that is done. On Windows alone."""


class Done(msgspec.Struct, tag="done"):
    """The job is over, all that it printed is written, no child of it is left (which on Windows the daemon sees to)."""

    ok: bool
    result: msgspec.Raw
    error: str | None
    retire: str | None
    """Why the worker is not fit for another job, or None."""


class Bye(msgspec.Struct, tag="bye"):
    """No more jobs: exit."""


Down = Setup | JobOrder | Turn | Bye
Up = Hello | Begun | Turn | Done

_HEADER: Final = struct.Struct(">5sI")
HEADER_BYTES: Final = _HEADER.size
_encoder: Final = msgspec.json.Encoder()
_down: Final = msgspec.json.Decoder(Down)
_up: Final = msgspec.json.Decoder(Up)

encode = _encoder.encode
decode_down = _down.decode
decode_up = _up.decode


# The daemon takes frames apart with `poppo_ipc.protocol`; importing that would double the start of a worker, which
# reads from a peer that it trusts and needs only the two functions below.


def frame(payload: bytes) -> bytes:
    """One whole frame around `payload`."""
    return _HEADER.pack(b"POPPO", len(payload)) + payload


def parse_header(header: bytes | bytearray) -> int:
    """The length that a frame's header announces. Raises ValueError where it is none."""
    magic, length = _HEADER.unpack(header)
    if magic != b"POPPO" or length > MAX_FRAME_BYTES:
        raise ValueError("The daemon sent something that is no frame")
    return int(length)
