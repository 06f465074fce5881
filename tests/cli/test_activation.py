"""`serve` on a socket that a service manager opened."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from poppo_ipc import SyncClient

from .processes import READY, Program, run

LAUNCHER = Path(__file__).with_name("activation.py")


def test_a_socket_that_was_handed_over_is_served_and_left_where_it_is(place: Path) -> None:
    path = place / "sock"
    with Program(sys.executable, LAUNCHER, "1", path, "--no-auth") as daemon:
        assert daemon.wait_for(READY) == f"unix:{path}"
        with SyncClient(path, token=None) as client:
            assert client.call("daemon.status")["pid"] == daemon.pid
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    assert path.is_socket()


def test_an_address_beside_it_has_to_be_the_same(place: Path) -> None:
    path, other = place / "sock", place / "other"
    code, output = run(sys.executable, LAUNCHER, "1", path, "--no-auth", "--socket", other)
    assert code == 1
    assert output == (
        f"poppo-ipc: The service manager handed over unix:{path}, but --socket says unix:{other}; leave one of them out"
    )


def test_more_than_one_socket_is_one_too_many(place: Path) -> None:
    code, output = run(sys.executable, LAUNCHER, "2", place / "sock", "--no-auth")
    assert code == 1
    assert output == "poppo-ipc: The service manager handed over 2 sockets; configure one for this daemon"
