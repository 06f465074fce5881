"""The order of tasks: against a model too simple to be wrong, fair, and in few steps however many there are."""

from __future__ import annotations

import heapq
import itertools
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poppo_ipc.daemon.tasks import Schedule, Waiting
from poppo_ipc.daemon.tasks import _schedule as schedule_module

QUEUES = ("red", "green", "blue")
PROJECTS = (None, "p1", "p2", "p3")
queues = st.sampled_from(QUEUES)
projects = st.sampled_from(PROJECTS)
named_projects = st.sampled_from(PROJECTS[1:])


@define
class Model:
    """All tasks in a list, searched anew for each pick. What is remembered between picks is whose turn it is."""

    tasks: dict[str, Waiting] = field(factory=dict)
    due: dict[str, int] = field(factory=dict)
    paused: dict[str, bool] = field(factory=dict)
    all_paused: bool = False
    stopped: set[str] = field(factory=set)
    weights: dict[str, int] = field(factory=dict)
    turns: dict[int, list[tuple[str | None, int]]] = field(factory=dict)
    now: int = 0

    def may_run(self, task: Waiting) -> bool:
        paused = self.paused.get(task.queue, self.all_paused)
        return not paused and task.project not in self.stopped and self.due[task.id] <= self.now

    def weight(self, project: str | None) -> int:
        return 1 if project is None else self.weights.get(project, 1)

    def refresh(self) -> None:
        """Who has nothing to run loses the place in the rotation; who has something new goes to its end."""
        able: dict[int, list[str | None]] = {}
        for task in self.tasks.values():
            if self.may_run(task) and task.project not in able.setdefault(task.priority, []):
                able[task.priority].append(task.project)
        for priority in {*self.turns, *able}:
            here = [turn for turn in self.turns.get(priority, []) if turn[0] in able.get(priority, [])]
            known = {project for project, _ in here}
            new = [project for project in able.get(priority, []) if project not in known]
            assert len(new) <= 1, "the test must refresh after each step that can add one"
            self.turns[priority] = here + [(project, self.weight(project)) for project in new]

    def pick(self) -> Waiting | None:
        for priority in sorted(self.turns, reverse=True):
            turns = self.turns[priority]
            if not turns:
                continue
            (project, left), *others = turns
            able = [
                task
                for task in self.tasks.values()
                if task.priority == priority and task.project == project and self.may_run(task)
            ]
            task = min(able, key=lambda task: task.number)
            del self.tasks[task.id]
            self.turns[priority] = (
                [(project, left - 1), *others] if left > 1 else [*others, (project, self.weight(project))]
            )
            self.refresh()
            return task
        return None


class Comparison(RuleBasedStateMachine):
    """Each step is done to both. Steps that let several projects run at once are done one project at a time."""

    @initialize()
    def begin(self) -> None:
        self.schedule = Schedule()
        self.model = Model()
        self.number = 0
        self.picked: list[Waiting] = []

    def _add(self, task: Waiting) -> None:
        self.schedule.add(task, self.model.now)
        self.model.tasks[task.id] = task
        self.model.due[task.id] = task.due_ms
        self.model.refresh()

    @rule(queue=queues, project=projects, priority=st.integers(-1, 1), delay=st.sampled_from((0, 0, 0, -5, 3, 10)))
    def submit(self, queue: str, project: str | None, priority: int, delay: int) -> None:
        self.number += 1
        due = self.model.now + delay
        self._add(Waiting(f"t{self.number}", self.number, queue, project, priority, due))

    @rule()
    def pick(self) -> None:
        expected = self.model.pick()
        found = self.schedule.pick(self.model.now)
        assert found is expected
        if found is not None:
            self.picked.append(found)

    @precondition(lambda self: self.picked)
    @rule(data=st.data(), delay=st.sampled_from((0, 4)))
    def try_again(self, data: Any, delay: int) -> None:
        task = self.picked.pop(data.draw(st.integers(0, len(self.picked) - 1)))
        task.due_ms = self.model.now + delay
        self._add(task)

    @precondition(lambda self: self.model.tasks)
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.model.tasks)))
        assert self.schedule.remove(task_id) is self.model.tasks.pop(task_id)
        assert self.schedule.remove(task_id) is None
        self.model.refresh()

    @rule(milliseconds=st.integers(1, 5))
    def wait(self, milliseconds: int) -> None:
        # What comes due in the same millisecond enters in the order of due time and number.
        for _ in range(milliseconds):
            self.model.now += 1
            self.schedule.next_due()
            coming = [task for task in self.model.tasks.values() if self.model.due[task.id] == self.model.now]
            for task in coming:
                self.model.due[task.id] = self.model.now + 1
            for task in sorted(coming, key=lambda task: task.number):
                self.model.due[task.id] = self.model.now
                self.model.refresh()
            self.schedule._wake(self.model.now)

    @rule(queue=queues)
    def pause(self, queue: str) -> None:
        self.schedule.pause(queue)
        self.model.paused[queue] = True
        self.model.refresh()

    @rule()
    def pause_all(self) -> None:
        self.schedule.pause(None)
        self.model.paused.clear()
        self.model.all_paused = True
        self.model.refresh()

    def _able_if(self, change: Callable[[Model], object]) -> bool:
        """Whether at most one project at each priority would come into the rotation."""
        trial = Model(
            dict(self.model.tasks), dict(self.model.due), dict(self.model.paused), self.model.all_paused,
            set(self.model.stopped), dict(self.model.weights), dict(self.model.turns), self.model.now,
        )  # fmt: skip
        change(trial)
        try:
            trial.refresh()
        except AssertionError:
            return False
        return True

    @rule(queue=queues)
    def resume(self, queue: str) -> None:
        if self._able_if(lambda model: model.paused.update({queue: False})):
            self.schedule.resume(queue)
            self.model.paused[queue] = False
            self.model.refresh()

    @rule()
    def resume_all(self) -> None:
        def change(model: Model) -> None:
            model.paused.clear()
            model.all_paused = False

        if self._able_if(change):
            self.schedule.resume(None)
            change(self.model)
            self.model.refresh()

    @rule(project=named_projects)
    def stop(self, project: str) -> None:
        self.schedule.stop_project(project)
        self.model.stopped.add(project)
        self.model.refresh()

    @rule(project=named_projects)
    def start(self, project: str) -> None:
        self.schedule.start_project(project)
        self.model.stopped.discard(project)
        self.model.refresh()

    @rule(project=named_projects, weight=st.integers(1, 4))
    def weigh(self, project: str, weight: int) -> None:
        self.schedule.set_weight(project, weight)
        self.model.weights[project] = weight

    @invariant()
    def both_agree(self) -> None:
        assert len(self.schedule) == len(self.model.tasks)
        assert {task.id for task in self.schedule} == set(self.model.tasks)
        for queue in QUEUES:
            assert self.schedule.is_paused(queue) == self.model.paused.get(queue, self.model.all_paused)
        assert self.schedule.all_paused == self.model.all_paused
        later = [due for task, due in self.model.due.items() if task in self.model.tasks and due > self.model.now]
        assert self.schedule.next_due() == min(later, default=None)


Comparison.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
TestComparison = Comparison.TestCase


# -- fairness -------------------------------------------------------------------------------------------------------


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

        monkeypatch.setattr(schedule_module.heapq, name, counted)
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
