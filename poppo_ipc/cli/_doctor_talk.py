"""What the doctor hears from the daemon: who it is, its version, a round trip, its clock, its health."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from poppo_ipc._version import __version__
from poppo_ipc.cli._connection import Invocation
from poppo_ipc.cli._doctor_check import Check
from poppo_ipc.cli._failures import Failure, failure_of
from poppo_ipc.client._beside import beside
from poppo_ipc.errors import CommandError, PoppoError
from poppo_ipc.transport import Address, AddressKind
from poppo_ipc.transport._lock_holder import lock_holder

if TYPE_CHECKING:
    from poppo_ipc.client import SyncClient

__all__ = ["check_talk"]

#: Seconds over which an answer is told to be slow: a local daemon takes a thousandth of that.
_SLOW_SECONDS: Final = 1.0
#: Seconds by which clocks may differ: tokens and times in answers are compared with ours by people.
_CLOCK_SECONDS: Final = 2.0
_SIGNS: Final = 3


def check_talk(invocation: Invocation, address: Address) -> list[Check]:
    """Connect, and look at what the daemon answers."""
    checks: list[Check] = []
    if address.kind is AddressKind.UNIX and not os.path.lexists(address.name):
        return checks  # told already, with what to do
    try:
        with invocation.client() as client:
            checks.append(_connection(client, address))
            checks.append(_version(client))
            checks += _asked(client)
    except Failure as failure:
        checks.append(Check("connection", False, failure.message, failure.todo))
    except PoppoError as error:
        found = failure_of(error)
        todo = found.todo
        if found.by_doctor:
            todo = "See the daemon's log, and start it again"
        name = "authentication" if error.code in ("AUTHENTICATION_FAILED", "AUTH_REQUIRED") else "connection"
        checks.append(Check(name, False, found.message, todo))
    return checks


def _connection(client: SyncClient, address: Address) -> Check:
    pid = client.server.pid
    _, holder = (None, None) if address.kind is AddressKind.MEMORY else lock_holder(beside(address, ".lock"))
    facts = {"pid": pid, "sessionId": client.session_id or None}
    if pid is not None and holder is not None and pid != holder:
        what = f"process {pid} answers, and process {holder} holds the lock"
        return Check("connection", False, what, f"End process {pid}, and start the daemon again", facts)
    return Check("connection", True, "made" if pid is None else f"process {pid} answers", facts=facts)


def _version(client: SyncClient) -> Check:
    server, session = client.server, client.session
    if session is not None and session.original:
        return Check("version", True, "an original server, without extensions", facts={"original": True})
    about = f"{server.name} {server.version}".strip() or "it does not tell"
    facts = {"server": server.name, "serverVersion": server.version, "version": __version__}
    if server.name == "poppo_ipc" and server.version != __version__:
        what = f"the daemon has {server.version}, this program {__version__}"
        return Check("version", False, what, "Upgrade the older one, and restart the daemon", facts)
    return Check("version", True, about, facts=facts)


def _asked(client: SyncClient) -> list[Check]:
    session = client.session
    if session is not None and session.has_ping:
        seconds = min(client.ping() for _ in range(_SIGNS))
    else:
        began = time.monotonic()
        with suppress(CommandError):  # an answer all the same
            client.call("daemon.status", idempotent=True)
        seconds = time.monotonic() - began
    return [_round_trip(seconds), _clock(client), _health(client)]


def _round_trip(seconds: float) -> Check:
    facts = {"milliseconds": round(seconds * 1000, 3)}
    if seconds > _SLOW_SECONDS:
        return Check("round trip", False, f"{seconds:.1f} s", "See what keeps the daemon or this machine busy", facts)
    return Check("round trip", True, f"{seconds * 1000:.2f} ms", facts=facts)


def _clock(client: SyncClient) -> Check:
    before = time.time()
    try:
        # Made at the moment; the answer of health.check may be one that was kept.
        answer = client.call("daemon.metrics", idempotent=True)
    except CommandError as error:
        return Check("clock", None, error.message)
    after = time.time()
    told = answer.get("timestamp") if isinstance(answer, dict) else None
    try:
        theirs = datetime.fromisoformat(str(told))
    except ValueError:
        return Check("clock", None, "the daemon does not tell its time")
    seconds = (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)).timestamp()
    # Its look at the clock fell between our two.
    apart = max(before - seconds, seconds - after, 0.0)
    facts = {"differenceSeconds": round(apart, 3)}
    if apart > _CLOCK_SECONDS:
        return Check("clock", False, f"{apart:.1f} s apart from ours", "Set both by the same time server", facts)
    return Check(
        "clock", True, "the same as ours" if apart < 0.01 else f"{apart * 1000:.0f} ms apart from ours", facts=facts
    )


def _health(client: SyncClient) -> Check:
    try:
        answer = client.call("health.check", idempotent=True)
    except CommandError as error:
        return Check("health", None, error.message)
    if not isinstance(answer, dict):
        return Check("health", None, "the daemon's answer says nothing of it")
    status, checks = str(answer.get("status")), answer.get("checks")
    if status == "healthy":
        return Check("health", True, status)
    unwell = [name for name, ok in checks.items() if ok is False] if isinstance(checks, dict) else []
    what = f"{status}: {', '.join(map(str, unwell))}" if unwell else status
    return Check("health", False, what, "Run poppo-ipc health for the details")
