"""`events`: what happens is shown as it happens, over restarts, and where something is missing that is told."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sockets import listening

from poppo_ipc.cli._events_lines import clock_text, event_line, event_object, gap_line, iso_text
from poppo_ipc.cli._plain import Style
from poppo_ipc.client import Event, Gap, GapReason

from .original import Original
from .processes import PATIENCE, Program, Serve, at, environment
from .program import PROGRAM, Shell


def env_of(daemon: Serve) -> dict[str, str]:
    return {"POPPO_SOCKET": daemon.socket, "POPPO_STATE_DIR": str(daemon.state)}


def objects(program: Program) -> list[dict[str, Any]]:
    return [json.loads(line) for line in program.lines if line.startswith("{")]


def ended(program: Program) -> int:
    """Read all that is left, line by line, and give the exit code."""
    with pytest.raises(AssertionError, match="it ended without"):
        program.wait_for("\0")
    return program.wait()


@pytest.fixture
def daemon(place: Path) -> Iterator[Serve]:
    with Serve(place / "sock", "--workers", "0") as daemon:
        yield daemon.until_ready()


def test_it_follows_live_what_was_asked_for(daemon: Serve) -> None:
    with Program(*PROGRAM, "events", "queue.*", "daemon.*", "--since", "0", "-n", "3", env=env_of(daemon)) as events:
        events.wait_for("{")  # daemon.started, which was before; the rest is live
        with daemon.client() as client:
            client.call("queue.pause")
            client.call("queue.resume")
        assert ended(events) == 0
        seen = objects(events)
    assert [each["event"] for each in seen] == ["daemon.started", "queue.status-changed", "queue.status-changed"]
    assert [each["data"]["status"] for each in seen[1:]] == ["paused", "running"]
    assert [each["seq"] for each in seen] == [1, 2, 3]
    assert len({each["epoch"] for each in seen}) == 1
    assert all(each["timestamp"].endswith("Z") for each in seen)
    assert len(events.lines) == 3


def test_it_goes_on_where_it_was_when_the_daemon_is_restarted(place: Path) -> None:
    with Serve(place / "sock", "--workers", "0") as first:
        first.until_ready()
        with Program(*PROGRAM, "events", "--since", "0", "-n", "3", env=env_of(first)) as events:
            events.wait_for("{")
            first.kill()
            events.wait_for("poppo-ipc: lost the daemon")
            with Serve(place / "sock", "--workers", "0") as second:
                second.until_ready()
                with second.client() as client:
                    client.call("queue.pause")
                assert ended(events) == 0
                seen = objects(events)
    assert [each["seq"] for each in seen] == [1, 2, 3]
    assert [each["event"] for each in seen] == ["daemon.started", "daemon.started", "queue.status-changed"]
    assert [each["data"]["pid"] for each in seen[:2]] == [first.pid, second.pid]
    told = [line for line in events.lines if not line.startswith("{")]
    assert [line.partition(" after")[0].partition(":")[0] for line in told] == ["poppo-ipc"] * 2
    assert "the daemon is back after" in told[1]


def test_a_known_event_is_the_place_to_go_on_from(daemon: Serve) -> None:
    shell = Shell(env_of(daemon))
    with daemon.client() as client:
        client.call("queue.pause")
    (first,) = shell.ask("events", "--since", "0", "-n", "1").lines
    (second,) = shell.ask("events", "--since", f"{first['epoch']}:{first['seq']}", "-n", "1").lines
    assert (first["event"], second["event"]) == ("daemon.started", "queue.status-changed")


def test_what_is_missing_is_told_at_its_place(daemon: Serve) -> None:
    gap, event = Shell(env_of(daemon)).ask("events", "--since", "another:7", "-n", "1").lines
    assert gap == {"gap": True, "missed": None, "reason": "restarted"}
    assert event["event"] == "daemon.started"


def test_in_a_terminal_it_is_text(daemon: Serve) -> None:
    shell = Shell({**env_of(daemon), "NO_COLOR": "1"})
    child = shell.terminal("events", "--since", "another:7", "-n", "2")
    child.expect("---- gap: events are missing; .* ----\r\n")
    with daemon.client() as client:
        client.call("queue.pause")
    child.expect(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  #2  queue.status-changed  queue=\S+  status=paused .*\r\n")
    assert child.wait() == 0
    assert isinstance(child.before, str)
    assert "\x1b" not in child.before
    coloured = Shell(env_of(daemon)).shown("events", "--since", "0", "-n", "1", "--time", "none")
    assert coloured.startswith("\x1b[2m#1\x1b[0m  \x1b[32mdaemon.started\x1b[0m")


def test_ctrl_c_ends_it_quietly(daemon: Serve) -> None:
    with Program(*PROGRAM, "events", "--since", "0", env=env_of(daemon)) as events:
        events.wait_for("{")
        events.send(signal.SIGINT)
        assert ended(events) == 130
    assert len(events.lines) == 1


def test_ctrl_c_ends_it_while_nobody_reads_what_it_writes(daemon: Serve) -> None:
    with daemon.client() as client:
        for _ in range(200):  # more than a pipe holds
            client.call("queue.pause")
            client.call("queue.resume")
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*PROGRAM, "events", "--since", "0"], stdout=writing, stderr=subprocess.PIPE, env=environment(env_of(daemon))
    ) as ran:
        assert ran.stderr is not None
        deadline = time.monotonic() + PATIENCE
        while select.select([], [writing], [], 0)[1]:  # there is room left; that there is none wakes nobody
            assert time.monotonic() < deadline
            time.sleep(0.01)
        ran.send_signal(signal.SIGINT)
        assert ran.wait(PATIENCE) == 130
        assert ran.stderr.read() == b""
    os.close(writing)
    os.close(reading)


def test_a_reader_that_goes_ends_it_quietly_though_nothing_happens(daemon: Serve) -> None:
    command = [*PROGRAM, "events", "--since", "0"]
    env = environment(env_of(daemon))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.readline()
        ran.stdout.close()
        assert ran.wait(PATIENCE) == 141
        assert ran.stderr.read() == b""


def test_a_token_that_is_no_longer_taken_ends_it(place: Path) -> None:
    with Serve(place / "sock", "--workers", "0") as first:
        first.until_ready()
        env = {**env_of(first), "POPPO_TOKEN": (first.state / "token").read_text().strip()}
        with Program(*PROGRAM, "events", "--since", "0", env=env) as events:
            events.wait_for("{")
            first.kill()
            events.wait_for("poppo-ipc: lost the daemon")
            with Serve(
                place / "sock", "--workers", "0", env={"POPPO_TOKEN": "another token, as long as it has to be"}
            ) as second:
                second.until_ready()
                assert ended(events) == 4
    assert "token" in events.lines[-1]


@pytest.mark.parametrize("since", ["x", "1:x", ":1", "-1", ""])
def test_a_place_that_makes_no_sense_is_wrong_usage(served: Shell, since: str) -> None:
    ran = served.ask("events", "--since", since)
    assert (ran.code, ran.out) == (2, "")
    assert "neither SEQ nor EPOCH:SEQ" in ran.err


def test_a_pattern_that_makes_no_sense_is_wrong_usage(served: Shell) -> None:
    ran = served.ask("events", "a..b")
    assert (ran.code, ran.out) == (2, "")
    assert "a..b" in ran.err


def test_without_a_daemon_it_is_told_at_once(place: Path) -> None:
    ran = Shell({"POPPO_SOCKET": at(place / "none"), "POPPO_STATE_DIR": str(place)}).ask("events")
    assert (ran.code, ran.out) == (3, "")
    assert "No daemon listens" in ran.err


def test_an_original_server_cannot_repeat_events(place: Path) -> None:
    with Original(place / "sock", {}):
        ran = Shell({"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place)}).ask("events", "--since", "1")
    assert (ran.code, ran.err.splitlines()) == (
        2, ["poppo-ipc: This daemon cannot repeat events. Leave out --since."]
    )  # fmt: skip


@contextmanager
def broadcasting(path: Path, events: list[str]) -> Iterator[None]:
    """An original server that sends these events, again and again, to the one who connects."""

    def frame(**message: Any) -> bytes:
        body = json.dumps({"version": "1.0.0", "timestamp": 1_700_000_000_000, **message}).encode()
        return b"POPPO" + struct.pack(">I", len(body)) + body

    def serve() -> None:
        client, _ = listener.accept()
        batch = b"".join(frame(type="event", event=name, data={"a": "\x1b[2J"}) for name in events)
        with closing(client), suppress(ConnectionError):
            client.sendall(frame(type="welcome", authRequired=False))
            while True:
                client.sendall(batch)

    with closing(listening(at(path))) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(PATIENCE)


def test_events_of_an_original_server_are_chosen_here(place: Path) -> None:
    shell = Shell({"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place)})
    with broadcasting(place / "sock", ["build.began", "other", "build.ended"]):
        ran = shell.ask("events", "build.*", "-n", "2")
    assert ran.code == 0
    seen = [each for each in ran.lines if "event" in each]
    assert {each["event"] for each in seen} == {"build.began", "build.ended"}
    assert all((each["seq"], each["epoch"]) == (None, None) for each in seen)
    assert seen[0]["timestamp"] == "2023-11-14T22:13:20.000Z"


def test_what_an_event_holds_does_nothing_to_a_terminal() -> None:
    evil = Event("x.\x1b[2J", {"\x1b]0;k": "\x1b[31m\u202e\r\n"}, 1, 1_700_000_000_000)
    line = event_line(evil, Style(), "utc")
    assert line.isprintable()
    assert line.startswith("2023-11-14 22:13:20.000Z  #1  x.\\x1b[2J")


def test_a_time_that_no_clock_has_is_no_error() -> None:
    assert event_object(Event("x", None, None, 10**20), "e") == {
        "event": "x", "data": None, "seq": None, "epoch": None, "timestamp": None
    }  # fmt: skip
    assert clock_text(-(10**20)).strip("-") == ""
    assert iso_text(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("reason", GapReason)
def test_every_reason_has_its_words(reason: GapReason) -> None:
    assert reason.value not in gap_line(Gap(3, reason), Style())
    assert "up to 3 events" in gap_line(Gap(3, reason), Style())
