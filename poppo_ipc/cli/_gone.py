"""A daemon's end, and the wait for it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._progress import Bar
from poppo_ipc.client._beside import beside
from poppo_ipc.client._probe import Probe
from poppo_ipc.errors import CommandError, ConnectFailed
from poppo_ipc.transport import Address, AddressKind
from poppo_ipc.transport._lock_holder import lock_holder

if TYPE_CHECKING:
    from poppo_ipc.client import SyncClient

__all__ = ["pid_of_daemon", "stop_and_wait", "wait_until_gone"]

#: Seconds that the daemon has to end: its own grace times are 5 by default, and some.
STOP_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.05
_FORCE: Final = (
    "end it at once with taskkill /f /pid {pid}"
    if sys.platform == "win32"
    else "end it with kill {pid}, and a second time to end it at once"
)


def pid_of_daemon(client: SyncClient, address: Address) -> int | None:
    """The daemon's process by the word of the kernel; by its own where its socket was opened by a service manager."""
    if client.server.pid is not None and os.path.lexists(_lock(address)):
        return client.server.pid
    try:
        answer = client.call("daemon.status", idempotent=True)
    except CommandError:
        return client.server.pid
    pid = answer.get("pid") if isinstance(answer, dict) else None
    return pid if isinstance(pid, int) and not isinstance(pid, bool) else client.server.pid


def stop_and_wait(client: SyncClient, address: Address, pid: int | None, timeout: float | None) -> object:
    """Tell the daemon to stop, and wait until it is gone, with a line on a terminal where that takes long.

    Gives its answer. Raises what `call` does, and Failure where it is there still after `timeout` seconds (30).
    """
    answer = client.call("daemon.stop")
    client.close()
    patience = timeout or STOP_SECONDS
    bar, began = Bar(), time.monotonic()
    who = "the daemon" if pid is None else f"the daemon (pid {pid})"

    def tell() -> None:
        passed = time.monotonic() - began
        bar.update({"done": int(passed), "message": f"s: waiting for {who} to finish what runs"})

    try:
        gone = wait_until_gone(address, patience, pid=pid, waiting=tell)
    finally:
        bar.close()
    if not gone:
        what = f"The daemon was told to stop and still runs after {patience:g} s"
        force = "" if pid is None else f", or {_FORCE.format(pid=pid)}"
        raise Failure(what, f"See poppo-ipc logs, or wait longer with --timeout SECONDS{force}", ExitCode.TIMED_OUT)
    return answer


def wait_until_gone(
    address: Address, patience: float, *, pid: int | None = None, waiting: Callable[[], object] = lambda: None
) -> bool:
    """Wait until nobody listens at `address`, nobody holds its lock, and the process `pid` has ended.

    Another daemon can then start there: the state is let go of after the socket. A socket without a lock is a service
    manager's, which listens on; then only the process counts. Calls `waiting` again and again meanwhile. Gives False
    after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while _is_there(address, pid):
        if time.monotonic() >= deadline:
            return False
        waiting()
        time.sleep(_LOOK_SECONDS)  # nobody tells when a process that is not ours has ended
    return True


def _is_there(address: Address, pid: int | None) -> bool:
    if pid is not None and _is_alive(pid):
        return True
    if lock_holder(_lock(address))[0]:
        return True
    # To connect to a service manager's socket would have it start the next daemon.
    if address.kind is AddressKind.UNIX and pid is not None and not os.path.lexists(_lock(address)):
        return False
    try:
        Probe.of(address).close()
    except ConnectFailed as error:
        return error.reason is ConnectFailed.Reason.BUSY
    return True


def _lock(address: Address) -> str:
    return beside(address, ".lock")


def _is_alive(pid: int) -> bool:
    """Whether it runs. One that has ended and that nobody has waited for yet does not."""
    if sys.platform == "win32":
        from poppo_ipc._win32.processes import process_runs

        return process_runs(pid)
    else:
        return _is_alive_on_unix(pid)


def _is_alive_on_unix(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        if sys.platform == "linux":
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
        return _is_alive_for_psutil(pid)
    except (PermissionError, ImportError):
        return True
    except (OSError, OverflowError, IndexError):
        return False


def _is_alive_for_psutil(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
