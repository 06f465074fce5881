"""Fair turns, in few steps however many tasks there are, and nothing left behind."""

from __future__ import annotations

import heapq
import itertools
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from poppo_ipc.daemon.tasks import Schedule, Waiting
from poppo_ipc.daemon.tasks import _schedule as schedule_module

numbers = itertools.count(1)


def fill(schedule: Schedule, counts: dict[str | None, int], *, queue: str = "q", priority: int = 0) -> None:
    for project, count in counts.items():
        for _ in range(count):
            number = next(numbers)
            schedule.add(Waiting(f"t{number}", number, queue, project, priority), 0)


def picks(schedule: Schedule, count: int) -> list[str | None]:
    found = []
    for _ in range(count):
        task = schedule.pick(0)
        assert task is not None
        found.append(task.project)
    return found


def test_each_of_k_projects_gets_a_turn_within_k_picks_however_much_one_has_waiting() -> None:
    schedule = Schedule()
    fill(schedule, {"huge": 1000, **{f"p{number}": 20 for number in range(9)}})
    order = picks(schedule, 200)
    for at in range(191):
        assert len(set(order[at : at + 10])) == 10


def test_a_newcomer_waits_one_round_at_most() -> None:
    schedule = Schedule()
    fill(schedule, {f"p{number}": 50 for number in range(5)})
    for arrival in range(20):
        picks(schedule, 1)
        fill(schedule, {f"new{arrival}": 1})
        assert f"new{arrival}" in picks(schedule, 6)


def test_a_weight_is_how_many_in_a_row() -> None:
    schedule = Schedule()
    schedule.set_weight("heavy", 3)
    fill(schedule, {"heavy": 9, "light": 9, None: 9})
    assert picks(schedule, 10) == [*["heavy"] * 3, "light", None] * 2
    # From its next turn on.
    schedule.set_weight("heavy", 1)
    assert picks(schedule, 6) == [*["heavy"] * 3, "light", None, "light"]


def test_the_highest_priority_first_then_turns_then_the_order_of_submission() -> None:
    schedule = Schedule()
    for number, (project, priority) in enumerate([("a", 0), ("a", 5), ("b", 0), ("b", -5), ("a", 0), ("b", 5)], 1):
        schedule.add(Waiting(f"t{number}", number, f"q{number % 2}", project, priority), 0)
    order = [schedule.pick(0) for _ in range(6)]
    assert [task.number for task in order if task] == [2, 6, 1, 3, 5, 4]
    assert schedule.pick(0) is None


# -- steps ----------------------------------------------------------------------------------------------------------


def steps(work: Callable[[], object]) -> int:
    """Lines that the schedule executes: what it costs, on any machine."""
    count = 0

    def local(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def trace(frame: Any, event: str, arg: Any) -> Any:
        return local if frame.f_code.co_filename == schedule_module.__file__ else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


LAYOUTS: dict[str, Callable[[int], tuple[str, str | None, int]]] = {
    "one of each": lambda number: ("q", "p", 0),
    "many projects": lambda number: ("q", f"p{number % 5000}", 0),
    "many queues": lambda number: (f"q{number % 5000}", "p", 0),
    "many priorities": lambda number: ("q", "p", number % 5000),
    "all different": lambda number: (f"q{number}", f"p{number % 100}", number % 7),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_cost_of_a_task_does_not_grow_with_how_many_there_are(layout: str) -> None:
    place = LAYOUTS[layout]

    def round_trip(count: int) -> float:
        schedule = Schedule()

        def work() -> None:
            for number in range(count):
                queue, project, priority = place(number)
                schedule.add(Waiting(str(number), number, queue, project, priority), 0)
            for number in range(0, count, 4):
                schedule.remove(str(number))
            while schedule.pick(0) is not None:
                pass

        return steps(work) / count

    few, many = round_trip(500), round_trip(10_000)
    assert many < 1.3 * few
    assert many < 120


def test_a_hundred_thousand_are_added_and_drained(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    for name in ("heappush", "heappop", "heapify"):
        real = getattr(heapq, name)

        def counted(*args: Any, real: Any = real, name: str = name) -> Any:
            calls[name] += 1
            return real(*args)

        monkeypatch.setattr(heapq, name, counted)
    schedule = Schedule()
    count = 100_000
    for number in range(count):
        due = 1000 + number if number % 10 == 0 else 0
        schedule.add(Waiting(str(number), number, f"q{number % 3}", f"p{number % 7}", number % 2, due), 0)
    drained = 0
    while (task := schedule.pick(10**9)) is not None:
        drained += 1
        assert task.id not in schedule
    assert drained == count
    # Into the lane and out of it; for some into the later ones and out; and a lane known anew for each.
    assert calls["heappush"] <= 2.2 * count
    assert calls["heappop"] <= 2.2 * count
    assert calls["heapify"] <= 1000


@pytest.mark.parametrize("due", [0, 10**9])
def test_what_is_taken_out_leaves_nothing_behind(due: int) -> None:
    """A task at the head that never runs kept all those behind it that were cancelled."""
    schedule = Schedule()
    schedule.add(Waiting("first", 0, "q", "p", 0, due), 0)
    for number in range(1, 10_000):
        schedule.add(Waiting(str(number), number, "q", "p", 0, due), 0)
        schedule.remove(str(number))
    held = len(schedule._later) + sum(len(lane.heap) for lane in schedule._lanes.values())
    assert held < 200


def test_pausing_and_resuming_leaves_nothing_behind() -> None:
    schedule = Schedule()
    fill(schedule, {"p": 1}, queue="steady")
    fill(schedule, {"p": 1}, queue="other")
    for _ in range(10_000):
        schedule.pause("other")
        schedule.resume("other")
    (rotation,) = schedule._rotations.values()
    assert len(rotation["p"].heap) < 200
    assert picks(schedule, 2) == ["p", "p"]


@pytest.mark.parametrize("taken_out", ["picked", "removed"])
def test_a_task_that_comes_back_takes_its_place_beside_what_is_left_of_it(taken_out: str) -> None:
    """Its number was in the heap still, with the queue that it was alone in, and two queues cannot be compared."""
    schedule = Schedule()
    tasks = [Waiting(f"t{number}", number, f"q{number}", "p") for number in range(4)]
    for task in tasks:
        schedule.add(task, 0)
    for _ in range(3):
        if taken_out == "picked":
            assert schedule.pick(0) is tasks[0]
        else:
            schedule.remove("t0")
        schedule.add(tasks[0], 0)
    for task in (tasks[1], tasks[1], tasks[3]):
        schedule.remove(task.id)
        schedule.add(task, 0)
    assert [schedule.pick(0) for _ in range(4)] == tasks
    for task in tasks:
        task.due_ms = 5
    for _ in range(2):
        schedule.add(tasks[1], 0)
        schedule.remove("t1")
    schedule.add(tasks[1], 0)
    assert [schedule.pick(5), schedule.pick(5)] == [tasks[1], None]


def test_a_task_that_comes_back_for_later_and_is_taken_out_takes_no_other_with_it() -> None:
    schedule = Schedule()
    fill(schedule, {"p": 2})
    first = schedule.pick(0)
    assert first is not None
    first.due_ms = 5
    schedule.add(first, 0)
    assert schedule.next_due() == 5
    assert schedule.remove(first.id) is first
    assert picks(schedule, 1) == ["p"]
    assert (schedule.pick(5), schedule.next_due(), len(schedule)) == (None, None, 0)


def test_a_removed_project_leaves_nothing_behind() -> None:
    schedule = Schedule()
    schedule.set_weight("p", 3)
    schedule.stop_project("p")
    fill(schedule, {"p": 3})
    for task in list(schedule):
        schedule.remove(task.id)
    schedule.forget_project("p")
    fill(schedule, {"p": 2, "other": 1})
    assert picks(schedule, 3) == ["p", "other", "p"]
