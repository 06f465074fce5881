"""A daemon of `serve`, shared by the tests of a module, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from addresses import short_directory
from cli.processes import Serve

from poppo_ipc import SyncClient

from .raw import OriginalClient


@pytest.fixture(scope="module")
def served() -> Iterator[Serve]:
    with short_directory() as home:
        options = ("--workers", "2", "--metrics", "0", "--queue-backoff-base", "0.01", "--kill-grace", "1")
        with Serve(home / "sock", *options) as daemon:
            daemon.until_ready()
            yield daemon
            daemon.stop()


@pytest.fixture
def original(served: Serve) -> Iterator[OriginalClient]:
    with OriginalClient(served.socket, (served.state / "token").read_text().strip()) as client:
        yield client


@pytest.fixture
def client(served: Serve) -> Iterator[SyncClient]:
    with served.client() as client:
        yield client


@pytest.fixture
def project(original: OriginalClient, tmp_path: Path) -> Iterator[str]:
    """A project with nothing in it."""
    added = original.call("project.add", {"path": str(tmp_path), "name": "p"})
    project_id = added["project"]["id"]
    original.event("project.added", projectId=project_id)
    yield project_id
    original.ask("project.remove", {"projectId": project_id, "force": True})
