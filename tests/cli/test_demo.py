"""The demo as a whole: it shows what it should, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from psutil import pid_exists

from poppo_ipc.cli._stage import DaemonProcess

from .processes import Program, end_of

STEPS = [
    "set-up", "authentication", "commands", "errors", "stream", "cancel", "events", "project", "tasks", "worker",
    "queue", "crash", "stop",
]  # fmt: skip
DEMO = (sys.executable, "-m", "poppo_ipc", "demo")


def shown(step: dict[str, Any]) -> dict[str, Any]:
    return {each["what"]: each["value"] for each in step["shown"]}


#: What becomes of a worker that is killed.
KILLED = "exited with code" if sys.platform == "win32" else "by SIGKILL"


@pytest.mark.trio
async def test_what_is_killed_and_stays_can_be_left(autojump_clock: trio.testing.MockClock) -> None:
    """The wait for its end was shielded and had none: Ctrl-C did not end the demo."""

    class Stuck:
        stdin = None

        def kill(self) -> None: ...

        async def wait(self) -> int:
            await trio.sleep(1000)
            return 0

    with trio.move_on_after(1) as scope:
        await DaemonProcess(Stuck()).kill()  # type: ignore[arg-type]
    assert scope.cancelled_caught
    assert trio.current_time() < 10


def in_place(place: Path) -> dict[str, str]:
    """The variables by which temporary files are made there."""
    return {"TMPDIR": str(place), "TMP": str(place), "TEMP": str(place)}


def test_for_programs_each_step_is_an_object_and_nothing_is_left(place: Path) -> None:
    with Program(*DEMO, "--json", env=in_place(place)) as demo:
        code = demo.wait()
    steps = [json.loads(line) for line in demo.lines]
    assert code == 0, demo.output
    assert [(step["step"], step["ok"]) for step in steps] == [(name, True) for name in STEPS]
    pids = [shown(steps[0])["daemon"]["pid"], shown(steps[STEPS.index("crash")])["a new daemon"]]
    assert not any(map(pid_exists, pids))
    assert list(place.iterdir()) == []


def test_plain_for_people_it_is_text_alone(place: Path) -> None:
    with Program(*DEMO, "--plain", env={**in_place(place), "FORCE_COLOR": "1"}) as demo:
        assert demo.wait() == 0, demo.output
    assert demo.output.isascii()
    assert "\x1b" not in demo.output
    assert sum(line.strip().startswith("ok in ") for line in demo.lines) == len(STEPS)
    assert demo.lines[-1].startswith("All steps showed what they should")
    for said in ("progress", "wait.cancelled", "tries again in", KILLED, "no gap, none twice", "exit code 0"):
        assert said in demo.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(place: Path, number: signal.Signals) -> None:
    with Program(*DEMO, "--json", env=in_place(place)) as demo:
        demo.wait_for("{")
        daemon = shown(json.loads(demo.lines[0]))["daemon"]
        assert pid_exists(daemon["pid"])
        demo.send(number)
        assert demo.wait() == 128 + number
    assert demo.lines[-1] == f"poppo-ipc: ended by {number.name}"
    assert not pid_exists(daemon["pid"])
    assert list(place.iterdir()) == []


def test_killed_it_still_leaves_no_process(place: Path) -> None:
    with Program(*DEMO, "--json", env=in_place(place)) as demo:
        demo.wait_for("{")
        address = shown(json.loads(demo.lines[0]))["listens on"]
        demo.kill()
    end_of(address)


def test_a_temporary_directory_too_deep_for_a_socket_is_no_hindrance(place: Path) -> None:
    deep = place / ("x" * 100)
    deep.mkdir()
    with Program(*DEMO, "--json", env={"TMPDIR": str(deep)}) as demo:
        demo.wait_for("{")
        assert shown(json.loads(demo.lines[0]))["listens on"].startswith("unix:/tmp/poppo-demo-")
        demo.send(signal.SIGTERM)
        demo.wait()
    assert list(deep.iterdir()) == []
