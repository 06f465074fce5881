"""A small program with Click, as its own project would have it: it knows nothing of how it is tested."""

from __future__ import annotations

import json
from typing import Any

import click

from poppo_ipc import PoppoError, SyncClient


@click.group()
def blog() -> None:
    """Work on blogs."""


@blog.command()
@click.argument("path")
@click.option("--name", help="What to call it.")
@click.option("--build", is_flag=True, help="Build it, too.")
def add(path: str, name: str | None, build: bool) -> None:
    """Add a blog."""
    try:
        with SyncClient() as client:
            named: dict[str, Any] = {} if name is None else {"name": name}
            project = client.call("project.add", path=path, **named)["project"]
            click.secho(f"added {project['name']} as {project['id']}", fg="green")
            if build:
                task = client.call("task.submit", type="build", projectId=project["id"])
                click.echo(f"building: {task['taskId']}")
    except PoppoError as error:
        raise click.ClickException(error.message) from error


@blog.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_blogs(as_json: bool) -> None:
    """List the blogs."""
    with SyncClient() as client:
        answer = client.call("project.list")
    if as_json:
        click.echo(json.dumps(answer))
    else:
        for project in answer["projects"]:
            click.echo(f"{project['id']}  {project['name']}  {project['path']}")


@blog.command()
@click.argument("task")
@click.confirmation_option(prompt="Really?")
def cancel(task: str) -> None:
    """Cancel a task."""
    with SyncClient() as client:
        click.echo(client.call("task.cancel", taskId=task)["message"])


if __name__ == "__main__":
    blog()
