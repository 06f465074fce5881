"""The benchmark: that it runs, writes what it should and leaves nothing behind. Not how fast anything is."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="it asks Linux what processes use"),
]

SCRIPTS = Path(__file__).parents[2] / "scripts"
PEERS = "poppo,poppo-trio,poppo-pipeline,poppo-sync-client,asyncio,asyncio-own,echo,multiprocessing"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="bench-test-", dir="/tmp") as name:
        yield Path(name)


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(SCRIPTS / "bench.py"), *arguments]


def left(place: Path) -> list[str]:
    """The processes whose command line names the place."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(place) in line:
            found.append(line)
    return found


def test_a_quick_run_measures_and_writes(place: Path) -> None:
    paths = {name: place / f"out.{name}" for name in ("json", "svg", "markdown")}
    modes = "in-flight,clients,fan-10-single,big,connect,latency-80,start-up"
    ran = subprocess.run(
        command(
            "--quick", "--modes", modes, "--peers", f"{PEERS},original",
            *(argument for name, path in paths.items() for argument in (f"--{name}", str(path))),
        ),
        env={**os.environ, "TMPDIR": str(place)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "original is left out: no script was given" in ran.stderr
    written = json.loads(paths["json"].read_text())
    measured = {mode["name"]: mode for mode in written["modes"]}
    assert list(measured) == [name for name in measured if name in modes.split(",")]
    assert set(PEERS.split(",")) == set(measured["in-flight"]["entries"])
    for mode in measured.values():
        assert mode["failures"] == {}
        assert len(mode["rounds"]) == 1
        for key, entry in mode["entries"].items():
            assert entry["ratio"] > 0, key
            assert entry["medians"][mode["metric"]] > 0, key
    assert str(place) not in paths["json"].read_text()
    assert socket.gethostname() not in paths["json"].read_text()
    assert xml.etree.ElementTree.parse(paths["svg"]).getroot().tag.endswith("svg")
    overview, tables = paths["markdown"].read_text().strip().split("\n\n", 1)
    assert tables == ran.stdout.strip()
    assert "asyncio streams + json" in overview
    assert "64 in flight" in overview
    assert set(place.iterdir()) == set(paths.values())
    assert left(place) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_nothing_outlives_it(place: Path, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        command("--modes", "one", "--peers", "asyncio,echo", "--seconds", "100"),
        env={**os.environ, "TMPDIR": str(place)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as bench:  # fmt: skip
        # Two servers, and the load of one of them.
        until = time.monotonic() + 60
        while len(left(place)) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(left(place)) >= 3
        bench.send_signal(number)
        assert bench.wait(60) == code
    until = time.monotonic() + 30
    while left(place) and time.monotonic() < until:
        time.sleep(0.05)
    assert left(place) == []


def test_a_server_that_answers_wrong_is_found_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from bench_peers.kit.lean import LeanClient, frame
    from bench_peers.kit.work import STATUS, WrongAnswer

    answers = [{"id": "another", "result": STATUS}, {"id": "asked-0000000002", "result": {**STATUS, "ok": False}}]

    def serve(listener: socket.socket) -> None:
        with listener, listener.accept()[0] as client:
            client.sendall(frame(type="welcome", authRequired=True) + frame(type="auth-success", id="auth"))
            client.sendall(b"".join(frame(type="response", **answer) for answer in answers))
            while client.recv(65536):
                pass

    path = str(place / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    server = threading.Thread(target=serve, args=(listener,))
    server.start()
    client = LeanClient(path)
    try:
        with pytest.raises(WrongAnswer, match="the id 'another'"):
            client.check()
        with pytest.raises(WrongAnswer, match="'ok': False"):
            client.check()
    finally:
        client.close()
        server.join()
