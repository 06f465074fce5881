"""The files by which systemd and launchd run the daemon for a user. Pure texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

__all__ = ["Service", "launchd_files", "systemd_files"]

_NAME: Final = "poppo-ipc"
_LABEL: Final = "org.poppo-ipc.daemon"
#: Seconds of silence after which systemd restarts the daemon: it speaks twice as often.
_WATCHDOG_SECONDS: Final = 30
#: Seconds beyond the grace times until systemd kills it.
_SPARE_SECONDS: Final = 10
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@+=:,./-]+")

_SERVICE: Final = """\
[Unit]
Description=poppo-ipc daemon
Requires={name}.socket
After={name}.socket

[Service]
# systemd before 253 does not know the second, says so, and keeps the first.
Type=notify
Type=notify-reload
ExecStart={command}
WatchdogSec={watchdog}
Restart=on-failure
TimeoutStopSec={stop}
KillMode=mixed
UMask=0077
# Nothing that keeps a task from what its user may do but sudo: the daemon runs the user's own programs.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes

[Install]
WantedBy=default.target
Also={name}.socket
"""

_SOCKET: Final = """\
[Unit]
Description=Socket of the poppo-ipc daemon

[Socket]
ListenStream={path}
SocketMode=0600
DirectoryMode=0700

[Install]
WantedBy=sockets.target
"""


@frozen(kw_only=True)
class Service:
    """What is run."""

    command: Sequence[str]
    """The interpreter and its arguments up to `serve`, by whole paths."""
    arguments: Sequence[str]
    """The settings, without the socket."""
    socket: str
    """Where it listens: a path, or the address of a pipe."""
    stop_seconds: float
    """Seconds that it may take to stop by its own grace times."""


def systemd_files(service: Service) -> dict[str, str]:
    """A unit that is started by the first connection, and its socket, by their file names."""
    command = " ".join(_quoted(each) for each in (*service.command, *service.arguments))
    stop = round(service.stop_seconds) + _SPARE_SECONDS
    unit = _SERVICE.format(name=_NAME, command=command, watchdog=_WATCHDOG_SECONDS, stop=stop)
    return {f"{_NAME}.service": unit, f"{_NAME}.socket": _SOCKET.format(path=service.socket.replace("%", "%%"))}


def launchd_files(service: Service) -> dict[str, str]:
    """An agent that runs from log-in on: launchd hands its sockets over in a way of its own, so it opens none."""
    import plistlib

    agent = {
        "Label": _LABEL,
        "ProgramArguments": [*service.command, *service.arguments, f"--socket={service.socket}"],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ExitTimeOut": round(service.stop_seconds) + _SPARE_SECONDS,
        "Umask": 0o077,
        "ProcessType": "Background",
    }
    return {f"{_LABEL}.plist": plistlib.dumps(agent, sort_keys=False).decode()}


def _quoted(argument: str) -> str:
    """One argument of `ExecStart`: its quotes, specifiers and variables mean nothing."""
    text = argument.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(argument):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
