"""`health`, `metrics` and `logs`."""

from __future__ import annotations

from typing import Any

import click

from poppo_ipc.cli._asking import ask, show_stream
from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._plain import Style, cell

__all__ = ["health", "logs", "metrics"]


@click.command("health")
@connected
def health(invocation: Invocation) -> int:
    """Check that all is well.

    The exit code is 0 where the daemon is healthy, and 1 where it is degraded or unhealthy.
    """
    answer = ask(invocation, "health.check", idempotent=True)
    invocation.output.show(answer)
    well = isinstance(answer, dict) and answer.get("status") == "healthy"
    return ExitCode.DONE if well else ExitCode.FAILED


@click.command("metrics")
@click.option("--type", "kind", metavar="TYPE", help="One kind of measurements.")
@click.option("--period", metavar="PERIOD", help="How far back: 5m, 1h.")
@connected
def metrics(invocation: Invocation, kind: str | None, period: str | None) -> None:
    """Show measurements of the latest time."""
    invocation.output.show(ask(invocation, "metrics.get", {"type": kind, "period": period}, idempotent=True))


@click.command("logs")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--level", metavar="LEVEL", help="Only lines of this level or a more serious one.")
@connected
def logs(invocation: Invocation, lines: int, follow: bool, level: str | None) -> None:
    """Show the last lines of the daemon's log, and follow it."""
    args = {"lines": lines, "level": level}
    with invocation.client() as client:
        if "stream" in client.capabilities:
            args["follow"] = follow
            show_stream(invocation, client, "logs.tail", args, text=_log_line, idempotent=True)
            return
    if follow:
        raise Failure("This daemon cannot follow its log", "Leave out --follow", ExitCode.USAGE)
    answer = ask(invocation, "logs.tail", args, idempotent=True)
    for line in answer.get("lines", []) if isinstance(answer, dict) else [answer]:
        invocation.output.item(line, text=_log_line)


def _log_line(line: Any, style: Style) -> str:
    if not isinstance(line, dict):
        return cell(line)
    rest = {key: value for key, value in line.items() if key not in ("timestamp", "level", "logger", "message")}
    level = cell(line.get("level", "")).ljust(8)
    extra = " ".join(f"{cell(key)}={cell(value)}" for key, value in rest.items())
    words = [
        style.faint(cell(line.get("timestamp", ""))),
        style.state(level),
        style.faint(cell(line.get("logger", ""))),
        cell(line.get("message", "")),
        style.faint(extra),
    ]
    return " ".join(word for word in words if word)
