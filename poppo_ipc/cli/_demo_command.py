"""`poppo-ipc demo`: its options."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("demo")
@click.option("--plain", is_flag=True, help="No colours and no live bar.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each step.")
def command(plain: bool, as_json: bool) -> int:
    """Show what it can do, in a few seconds.

    Starts a daemon in a process of its own, talks to it, kills it, and starts it again, in a temporary directory. Each
    step checks what it shows; the exit code is 0 if all of them showed what they should.
    """
    if plain and as_json:
        raise click.UsageError("--plain and --json exclude one another")
    from poppo_ipc.cli._demo import demo

    return demo(plain=plain, as_json=as_json)
