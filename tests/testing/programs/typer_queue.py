"""A small program with Typer and the client for event loops: it watches the queue."""

from __future__ import annotations

from typing import Annotated

import trio
import typer

from poppo_ipc import CommandError, Event, connect

app = typer.Typer()


@app.command()
def pause(queue: Annotated[str, typer.Argument()] = "all") -> None:
    """Pause a queue."""

    async def main() -> None:
        async with connect() as client:
            typer.echo((await client.call("queue.pause", queue=queue))["message"])

    try:
        trio.run(main)
    except* CommandError as group:
        typer.echo(f"{group.exceptions[0]}", err=True)
        raise typer.Exit(3) from None


@app.command()
def watch(count: Annotated[int, typer.Option(help="End after so many.")] = 1) -> None:
    """Show tasks as they start."""

    async def main() -> None:
        async with connect() as client, client.subscribe("task.*") as events:
            for _ in range(count):
                event = await anext(events)
                assert isinstance(event, Event)
                typer.echo(f"{event.name} {event.data['taskId']}")

    trio.run(main)


if __name__ == "__main__":
    app()
