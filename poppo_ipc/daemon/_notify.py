"""Telling the service manager how the daemon is: systemd's `sd_notify`, which others speak too.

Code of its own, as no library for it is kept up that does not bind to libsystemd: the protocol is a datagram.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Final

import trio

__all__ = ["Notifier"]

logger = logging.getLogger("poppo_ipc.daemon.notify")

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
# The manager reads at once unless it is in trouble; the event loop should not share that.
_SEND_SECONDS: Final = 0.25


class Notifier:
    """Sends states to the service manager that started this process; where none did, does nothing.

    Its methods never raise: the daemon is more than its supervision. They give whether the state was sent.

    Args:
        address: `NOTIFY_SOCKET`: a path, or a name of Linux' abstract ones after `@`; None for no manager.
        watchdog_seconds: how often the manager wants to hear; None for never.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self._address = address
        self._failed = False
        if address is not None and not address.startswith(("/", "@")):
            logger.warning("NOTIFY_SOCKET=%s is no socket that can be written to; nothing is reported", address)
            self._address = None

    @classmethod
    def from_environment(
        cls, environ: MutableMapping[str, str] | None = None, *, pid: int | None = None, unset: bool = False
    ) -> Notifier:
        """The one that the environment names.

        Args:
            environ: where the variables are read; this process's by default.
            pid: the process that `WATCHDOG_PID` has to name; this one by default.
            unset: delete the variables, so that children do not see them.
        """
        environ = os.environ if environ is None else environ
        address, interval, meant = (environ.get(name) or None for name in _VARIABLES)
        if unset:
            for name in _VARIABLES:
                environ.pop(name, None)
        ours = meant is None or meant == str(os.getpid() if pid is None else pid)
        seconds = int(interval) / 1e6 if ours and interval is not None and interval.isdecimal() else 0.0
        return cls(address, seconds or None)

    @property
    def enabled(self) -> bool:
        """Whether there is a service manager."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """The daemon serves, for the first time or again after `reloading`."""
        return self._send("READY=1", status)

    def reloading(self, status: str = "") -> bool:
        """The configuration is being read again; `ready` has to follow."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", status)

    def stopping(self, status: str = "") -> bool:
        """The daemon is about to end."""
        return self._send("STOPPING=1", status)

    def status(self, status: str) -> bool:
        """A sentence for people."""
        return self._send("", status)

    async def run_watchdog(self, alive: Callable[[], bool] = lambda: True) -> None:
        """Say `WATCHDOG=1` twice in each interval as long as `alive()`, until cancelled; without an interval, return.

        Where `alive` gives False or raises, nothing is said, and the manager restarts the daemon when the interval
        is over. So it does where the event loop hangs, as this task hangs with it.
        """
        if self.watchdog_seconds is None or not self.enabled:
            return
        while True:
            if self._is_alive(alive):
                self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_seconds / 2)

    def _is_alive(self, alive: Callable[[], bool]) -> bool:
        try:
            found = alive()
        except Exception:
            logger.exception("It cannot be told whether the daemon is alive; the watchdog is not fed")
            return False
        if not found:
            logger.error("The daemon is not alive; the watchdog is not fed")
        return found

    def _send(self, state: str, status: str = "") -> bool:
        if self._address is None or sys.platform == "win32":
            return False
        lines = [state] if state else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_SEND_SECONDS)
                sock.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except (OSError, ValueError) as error:
            if not self._failed:
                logger.warning("The service manager cannot be told %s: %s", lines[0] if lines else "a status", error)
            self._failed = True
            return False
        self._failed = False
        return True
