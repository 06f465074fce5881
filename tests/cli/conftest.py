"""Places for sockets."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .processes import Program, Serve, at
from .program import Shell


@contextmanager
def private_place() -> Iterator[Path]:
    """A new directory whose path is short enough for a socket in it."""
    # Windows deletes no file that a process has open, and one that was killed is gone only a moment later.
    on_windows = sys.platform == "win32"
    directory = None if on_windows else "/tmp"
    with tempfile.TemporaryDirectory(prefix="poppo-", dir=directory, ignore_cleanup_errors=on_windows) as name:
        yield Path(name)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for a socket in it, wherever the tests keep their own."""
    with private_place() as found:
        yield found


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment of whoever runs the tests holds is no part of them."""
    for name in ("POPPO_TOKEN", "POPPO_TOKEN_FILE", "POPPO_SOCKET", "POPPO_STATE_DIR", "LISTEN_FDS", "LISTEN_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def served() -> Iterator[Shell]:
    """The program with a whole daemon, of `serve`, for all tests of a file."""
    with private_place() as place, Serve(place / "sock", "--workers", "2") as daemon:
        daemon.until_ready()
        yield Shell({"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state)})
        daemon.stop()


@pytest.fixture(scope="module")
def talking() -> Iterator[Shell]:
    """The program with a server of strange commands (`talker.py`), for all tests of a file."""
    with private_place() as place:
        environ = {"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place / "state")}
        with Program(sys.executable, Path(__file__).with_name("talker.py"), env=environ) as server:
            server.wait_for("ready")
            yield Shell(environ)
