"""`doctor`: each problem is found, and told with what to do."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from rights import REMEDY, open_to_everyone

from poppo_ipc import generate_token
from poppo_ipc.transport._lock_holder import lock_holder

from .original import Original
from .processes import Serve, at
from .program import Shell


def diagnosis(shell: Shell, *options: str | Path, env: dict[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """The checks by their names; the exit code fits them, and each problem says what to do."""
    ran = shell.ask("doctor", "--json", *options, env=env)
    answer = json.loads(ran.out)
    checks = answer["checks"]
    assert ran.code == (0 if answer["ok"] else 1)
    assert answer["ok"] == all(check["ok"] is not False for check in checks)
    assert all(check["todo"] for check in checks if check["ok"] is False)
    return {check["name"]: check for check in checks}


def test_all_is_well_with_a_daemon_of_serve(served: Shell) -> None:
    checks = diagnosis(served)
    place = [] if sys.platform == "win32" else ["directory", "socket"]  # a pipe is in no directory
    assert list(checks) == [
        "address", *place, "lock", "token", "connection", "version", "round trip", "clock", "health",
    ]  # fmt: skip
    assert checks["lock"]["pid"] == checks["connection"]["pid"]
    assert {name for name, check in checks.items() if check["ok"] is not True} <= {"health"}


def test_it_is_readable_on_a_terminal(served: Shell) -> None:
    shown = served.shown("doctor", env={"NO_COLOR": "1"})
    assert "ok    round trip  " in shown
    assert "ok    address     unix:" in shown


def test_no_socket_and_nothing_is_made(place: Path) -> None:
    checks = diagnosis(Shell({"POPPO_SOCKET": at(place / "sock")}), env={"POPPO_STATE_DIR": str(place)})
    assert checks["directory"]["ok"] is True
    assert checks["socket"]["ok"] is False
    assert "poppo-ipc start" in checks["socket"]["todo"]
    assert checks["lock"]["ok"] is None
    assert "connection" not in checks
    assert list(place.iterdir()) == []


def test_no_directory(place: Path) -> None:
    checks = diagnosis(Shell({}), "--socket", place / "none" / "sock")
    assert checks["directory"]["ok"] is False


def test_a_socket_that_was_left_behind(place: Path) -> None:
    with Serve(place / "sock") as daemon:
        daemon.until_ready()
        daemon.kill()
    checks = diagnosis(Shell({"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place / "state")}))
    assert (checks["socket"]["ok"], checks["lock"]["ok"], checks["connection"]["ok"]) == (True, None, False)
    assert "left behind" in checks["connection"]["what"]


def test_what_is_no_socket(place: Path) -> None:
    (place / "sock").write_text("")
    assert diagnosis(Shell({}), "--socket", at(place / "sock"))["socket"]["ok"] is False


def test_nobody_listens_at_a_pipe_and_nothing_is_made(place: Path) -> None:
    checks = diagnosis(Shell({"POPPO_SOCKET": at(place / "sock")}), env={"POPPO_STATE_DIR": str(place)})
    assert checks["lock"]["ok"] is None
    assert checks["connection"]["ok"] is False
    assert "poppo-ipc start" in checks["connection"]["todo"]
    assert list(place.iterdir()) == []


def test_a_pipe_whose_daemon_was_killed(place: Path) -> None:
    with Serve(place / "sock") as daemon:
        daemon.until_ready()
        daemon.kill()
    checks = diagnosis(Shell({"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place / "state")}))
    assert (checks["lock"]["ok"], checks["connection"]["ok"]) == (None, False)


def test_rights_that_are_too_wide(place: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "sock"))
        (place / "sock").chmod(0o666)
        place.chmod(0o777)
        checks = diagnosis(Shell({}), "--socket", at(place / "sock"), "--timeout", "0.2")
    assert checks["socket"]["todo"] == f"Run: chmod 600 {place / 'sock'}"
    assert checks["directory"]["todo"] == f"Run: chmod go-w {place}"


def test_an_address_that_is_none_or_too_long(place: Path) -> None:
    assert diagnosis(Shell({}), "--socket", "tcp://x")["address"]["ok"] is False
    assert diagnosis(Shell({}), "--socket", place / ("x" * 200))["address"]["ok"] is False


def test_a_wrong_token_and_a_token_file_that_cannot_be_used(served: Shell, place: Path) -> None:
    wrong = diagnosis(served, env={"POPPO_TOKEN": "wrong"})
    assert wrong["token"]["source"] == "POPPO_TOKEN"
    assert wrong["authentication"]["ok"] is False
    generate_token(place / "token")
    open_to_everyone(place / "token")
    unusable = diagnosis(served, "--token-file", place / "token")
    assert unusable["token"]["ok"] is False
    assert f"run: {REMEDY} " in unusable["token"]["what"]


def test_a_daemon_that_hangs(place: Path) -> None:
    with Original(place / "sock", {}, greets=False):
        checks = diagnosis(Shell({}), "--socket", at(place / "sock"), "--timeout", "0.2")
    assert checks["connection"]["ok"] is False
    assert "did not greet" in checks["connection"]["what"]


@pytest.mark.parametrize(("timestamp", "well"), [("2001-01-01T00:00:00.000Z", False), ("soon", None)])
def test_a_clock_that_is_wrong(place: Path, timestamp: str, well: bool | None) -> None:
    answers = {"daemon.status": {}, "daemon.metrics": {"timestamp": timestamp}}
    with Original(place / "sock", answers):
        checks = diagnosis(Shell({}), "--socket", at(place / "sock"))
    assert checks["clock"]["ok"] is well
    assert checks["version"]["what"] == "an original server, without extensions"


def test_a_daemon_that_is_not_well(place: Path) -> None:
    answers = {"daemon.status": {}, "health.check": {"status": "degraded", "checks": {"queue": True, "api": False}}}
    with Original(place / "sock", answers):
        checks = diagnosis(Shell({}), "--socket", at(place / "sock"))
    assert checks["health"]["what"] == "degraded: api"


def test_who_holds_the_lock_is_found_without_taking_it(place: Path) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    path = place / "x.lock"
    assert lock_holder(str(path)) == (False, None)
    with path.open("w") as file:
        file.write(f"{os.getpid()}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holder(str(path)) == (True, os.getpid())
