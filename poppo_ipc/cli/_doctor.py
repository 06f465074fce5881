"""`poppo-ipc doctor`: why the daemon cannot be reached, and what to do about it."""

from __future__ import annotations

import click

from poppo_ipc.cli._connection import Invocation, connected
from poppo_ipc.cli._doctor_check import Check
from poppo_ipc.cli._failures import ExitCode
from poppo_ipc.cli._plain import Style
from poppo_ipc.cli._safe import safe

__all__ = ["command"]


@click.command("doctor")
@connected
def command(invocation: Invocation) -> int:
    """Find out why the daemon cannot be reached, and what to do about it.

    Looks at the address, the directory and the rights of the socket, at the lock and who holds it, at the token, and
    asks the daemon for its version, a round trip and its clock. Changes nothing, and starts nothing. The exit code is 1
    where there is a problem.
    """
    from poppo_ipc.cli._doctor_place import check_place
    from poppo_ipc.cli._doctor_talk import check_talk

    checks, address = check_place(invocation)
    if address is not None:
        checks += check_talk(invocation, address)
    well = all(check.ok is not False for check in checks)
    answer = {"ok": well, "checks": [check.as_json() for check in checks]}
    invocation.output.show(answer, text=lambda _, style, width: _text(checks, style))
    return ExitCode.DONE if well else ExitCode.FAILED


def _text(checks: list[Check], style: Style) -> str:
    size = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        mark = style.faint("-   ") if check.ok is None else style.good("ok  ") if check.ok else style.bad("FAIL")
        lines.append(f"{mark}  {check.name.ljust(size)}  {safe(check.what)}")
        if check.todo:
            lines.append(f"{' ' * (size + 8)}{style.wary('->')} {safe(check.todo)}")
    return "\n".join(lines)
