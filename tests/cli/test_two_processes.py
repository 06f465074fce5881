"""The daemon in one process, the command line in others: what is asked is answered, what happens is told."""

from __future__ import annotations

import json
from pathlib import Path

from .processes import Program, Serve
from .program import PROGRAM, Shell


def test_serve_call_and_events(place: Path) -> None:
    with Serve(place / "sock", "--workers", "0") as daemon:
        daemon.until_ready()
        shell = Shell({"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state)})
        status = shell.run("call", "daemon.status").json
        assert (status["status"], status["pid"]) == ("running", daemon.pid)
        # Whatever came before it subscribed is replayed.
        with Program(*PROGRAM, "events", "--since", "0", "--count", "2", "queue.*", env=shell.env) as events:
            assert shell.run("call", "queue.pause").json["message"] == "Queue all paused"
            assert shell.run("call", "queue.resume").json["message"] == "Queue all resumed"
            assert events.wait() == 0, events.output
        told = [json.loads(line) for line in events.lines]
        assert [(each["event"], each["data"]["status"]) for each in told] == [
            ("queue.status-changed", "paused"),
            ("queue.status-changed", "running"),
        ]
        wrong = shell.run("call", "queue.pause", env={"POPPO_TOKEN": "another token, as long as it has to be"})
        assert (wrong.code, wrong.out) == (4, "")
        assert shell.run("stop").json["stopped"] is True
        assert daemon.wait() == 0
    assert shell.run("status").code == 3
