"""`bench`: what it counts, and what it shows of it. Not how fast anything is."""

from __future__ import annotations

import itertools
import math
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.cli._bench_figures import Figures, Measurement
from poppo_ipc.cli._bench_report import report_object, report_text, time_text
from poppo_ipc.cli._plain import Style
from poppo_ipc.cli._spread import Spread

from .original import Original
from .processes import PATIENCE, Program, at
from .program import PROGRAM, Shell

TIMES = st.lists(st.floats(1e-7, 100.0), min_size=1, max_size=200)


@pytest.mark.parametrize("in_flight", ["1", "8"])
def test_it_measures_a_running_daemon(served: Shell, in_flight: str) -> None:
    found = served.run("bench", "--seconds", "0.3", "--in-flight", in_flight).json
    latency = found["latencyMs"]
    assert found["answers"] == sum(row["count"] for row in found["histogram"]) > 0
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"] <= latency["max"]
    assert (found["command"], found["inFlight"], found["errors"]) == ("daemon.status", int(in_flight), {})
    assert found["server"].startswith("poppo_ipc ")
    assert found["perSecond"] == pytest.approx(found["answers"] / found["seconds"], rel=0.05)


def test_in_a_terminal_it_draws(served: Shell) -> None:
    shown = served.shown("bench", "--seconds", "0.2", "--command", "queue.status", env={"NO_COLOR": "1"})
    assert shown.startswith("queue.status, 1 in flight, 0.2 s  poppo_ipc ")
    assert "answers a second" in shown
    assert "p99.9" in shown
    assert "█" in shown


def test_it_asks_with_arguments(served: Shell) -> None:
    found = served.ask("bench", "--seconds", "0.1", "--command", "task.list", "--args", '{"limit": 1}').json
    assert (found["command"], found["errors"]) == ("task.list", {})


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--command", "daemon.statu"), 2, "Did you mean daemon.status"),
        (("--command", "task.status", "--args", '{"taskId": "none"}'), 1, "none"),
        (("--args", "{"), 2, "no JSON"),
        (("--args", "[]"), 2, "JSON object"),
        (("--seconds", "0"), 2, "--seconds"),
    ],
)
@pytest.mark.parametrize("in_flight", ["1", "2"])
def test_what_cannot_be_measured_is_told(
    served: Shell, arguments: tuple[str, ...], code: int, said: str, in_flight: str
) -> None:
    ran = served.ask("bench", "--in-flight", in_flight, *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_an_original_server_is_measured_too(place: Path) -> None:
    with Original(place / "sock", {"daemon.status": {"status": "running"}}) as server:
        shell = Shell({"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place)})
        found = shell.ask("bench", "--seconds", "0.1", "--in-flight", "3").json
    assert found["answers"] > 0
    assert {command for command, _ in server.asked} == {"daemon.status"}


@pytest.mark.parametrize("in_flight", ["1", "4"])
def test_ctrl_c_shows_what_was_measured(place: Path, in_flight: str) -> None:
    answered = Answered()
    with Original(place / "sock", answered):
        env = {"POPPO_SOCKET": at(place / "sock"), "POPPO_STATE_DIR": str(place)}
        # Far from its end, and far over the half second at its beginning that is not counted.
        with Program(*PROGRAM, "bench", "--seconds", "600", "--in-flight", in_flight, env=env) as bench:
            answered.for_seconds(1.0)
            bench.send(signal.SIGINT)
            assert bench.wait() == 130
    assert bench.lines[-1].startswith('{"command": "daemon.status"')


class Answered(dict[str, Any]):
    """Answers to anything, which know for how long they have been asked."""

    def __init__(self) -> None:
        super().__init__({"daemon.status": {}})
        self._began = self._now = 0.0
        self._changed = threading.Condition()

    def __getitem__(self, command: str) -> Any:
        with self._changed:
            self._now = time.monotonic()
            self._began = self._began or self._now
            self._changed.notify_all()
        return super().__getitem__(command)

    def for_seconds(self, seconds: float) -> None:
        """Wait until the latest question came so many seconds after the first."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._now - self._began >= seconds, PATIENCE)


@given(TIMES)
def test_percentiles_are_off_by_one_percent_at_most(times: list[float]) -> None:
    spread = Spread()
    for each in times:
        spread.add(each)
    times.sort()
    for share in (0.0, 0.5, 0.9, 0.99, 1.0):
        exact = times[max(0, math.ceil(share * len(times)) - 1)]
        assert spread.percentile(share) == pytest.approx(exact, rel=0.011)
    assert (spread.least, spread.greatest) == (times[0], times[-1])
    assert spread.mean == pytest.approx(sum(times) / len(times))


@given(TIMES, st.integers(1, 20))
def test_the_rows_of_a_histogram_hold_everything(times: list[float], rows: int) -> None:
    spread = Spread()
    for each in times:
        spread.add(each)
    found = spread.histogram(rows)
    assert 1 <= len(found) <= rows
    assert sum(count for _, _, count in found) == len(times)
    assert found[0][0] == spread.least
    assert found[-1][1] == pytest.approx(spread.greatest, rel=0.021)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))


def test_what_comes_before_the_time_that_counts_is_left_out() -> None:
    figures = Figures(Measurement(command="x", seconds=10.0))
    figures.begin(100.0)
    assert figures.add(100.0, 100.4)
    assert figures.add(100.4, 101.0)
    assert figures.add(101.0, 102.0, "BUSY")
    assert not figures.add(102.0, 110.5)
    assert figures.spread.count == 3
    assert figures.errors == {"BUSY": 1}
    assert figures.per_second == pytest.approx(0.3)
    assert "BUSY 1" in report_text(figures, Style(), 80)


def test_no_answer_at_all_is_shown_as_such() -> None:
    figures = Figures(Measurement(command="x", seconds=1.0))
    assert report_object(figures)["latencyMs"]["p50"] is None
    assert report_text(figures, Style(), 80) == "No answer came in the time that counts."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000012, "1.20 us"),
        (0.0000999, "99.9 us"),
        (0.000123, "123 us"),
        (0.0009996, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (2.5, "2.50 s"),
    ],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert time_text(seconds) == text
