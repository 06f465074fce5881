"""Pipes between the daemon and a worker: one end for overlapped calls, the other to be inherited and for plain ones.

Not those of `CreatePipe`, whose calls cannot overlap. Their names are known to nobody, they have one instance, are for
this user and the system alone, refuse other machines, and their other end is opened at once, so that nobody else can.
"""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform == "win32"

import secrets
from typing import Final

from poppo_ipc._win32.calls import (
    GENERIC_READ,
    GENERIC_WRITE,
    OPEN_EXISTING,
    Overlapped,
    SecurityAttributes,
    close_handle,
)
from poppo_ipc._win32.events import Event
from poppo_ipc._win32.files import create_file
from poppo_ipc._win32.pipes import PIPE_ACCESS_INBOUND, PIPE_ACCESS_OUTBOUND, create_instance, peek, read, result_of
from poppo_ipc._win32.security import Descriptor, own_sid
from poppo_ipc.transport._pipe_rules import descriptor_text

__all__ = ["open_null", "pipe_from", "pipe_to", "read_now"]

_FILE_SHARE_READ_AND_WRITE: Final = 0x00000003


def pipe_from() -> tuple[int, int]:
    """A pipe to read from: our end, and the inheritable end of who writes. Raises OSError."""
    return _pipe(PIPE_ACCESS_INBOUND, GENERIC_WRITE)


def pipe_to() -> tuple[int, int]:
    """A pipe to write to: our end, and the inheritable end of who reads. Raises OSError."""
    return _pipe(PIPE_ACCESS_OUTBOUND, GENERIC_READ)


def _pipe(ours: int, theirs: int) -> tuple[int, int]:
    name = rf"\\.\pipe\poppo-worker-{secrets.token_hex(16)}"
    descriptor = Descriptor(descriptor_text(own_sid()))
    end = create_instance(name, first=True, security=descriptor.attributes, access=ours, instances=1)
    try:
        return end, _open(name, theirs, 0)
    except OSError:
        close_handle(end)
        raise


def open_null() -> int:
    """The null device, inheritable, for reading. Raises OSError."""
    return _open("NUL", GENERIC_READ, _FILE_SHARE_READ_AND_WRITE)


def _open(name: str, access: int, share: int) -> int:
    return create_file(name, access, share, SecurityAttributes.of(None, inheritable=True), OPEN_EXISTING, 0)


def read_now(pipe: int, event: Event, limit: int) -> bytes:
    """What is in our end of a pipe, at most so many bytes, without waiting. Raises BlockingIOError, and OSError.

    `event` is one that nobody else uses. The low bit of its handle keeps the completion from the completion port that
    the pipe belongs to (see GetQueuedCompletionStatus).
    """
    level = peek(pipe)
    if not level:
        raise BlockingIOError
    buffer = bytearray(min(level, limit))
    operation = Overlapped(hEvent=event.handle | 1)
    read(pipe, buffer, len(buffer), operation)
    # It is there, and nobody else reads: no wait.
    return bytes(buffer[: result_of(pipe, operation)])
