"""The order of tasks, against a model too simple to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from poppo_ipc.daemon.tasks import Schedule, Waiting

QUEUES = ("red", "green", "blue")
PROJECTS = (None, "p1", "p2")
queues = st.sampled_from(QUEUES)
projects = st.sampled_from(PROJECTS)
delays = st.sampled_from((0, 0, 0, -5, 3, 10))
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

    @rule(
        queue=queues,
        project=projects,
        priority=st.sampled_from((0, 0, 0, 1)),
        delay=st.sampled_from((0, 0, 0, -5, 3, 10)),
    )
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
        # What comes due in the same millisecond enters in the order in which it came to wait.
        for _ in range(milliseconds):
            self.model.now += 1
            self.schedule.next_due()
            coming = [task for task in self.model.tasks.values() if self.model.due[task.id] == self.model.now]
            for task in coming:
                self.model.due[task.id] = self.model.now + 1
            for task in sorted(coming, key=lambda task: task.token):
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


steps = st.lists(st.tuples(st.sampled_from(("add", "add", "pick", "again", "remove")), st.integers(0, 5)), max_size=40)


@given(steps=steps)
def test_the_queues_of_a_project_are_one_line(steps: list[tuple[str, int]]) -> None:
    schedule = Schedule()
    waiting: dict[int, Waiting] = {}
    picked: list[Waiting] = []
    for number, (step, choice) in enumerate(steps):
        if step == "add":
            waiting[number] = Waiting(str(number), number, QUEUES[choice % 3], "p")
            schedule.add(waiting[number], 0)
        elif step == "again" and picked:
            task = picked.pop(choice % len(picked))
            waiting[task.number] = task
            schedule.add(task, 0)
        elif step == "remove" and waiting:
            task = waiting.pop(sorted(waiting)[choice % len(waiting)])
            assert schedule.remove(task.id) is task
        elif step == "pick":
            expected = waiting.pop(min(waiting)) if waiting else None
            assert schedule.pick(0) is expected
            picked += [expected] if expected else []
    assert [schedule.pick(0) for _ in waiting] == [waiting[number] for number in sorted(waiting)]


Comparison.TestCase.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
TestComparison = Comparison.TestCase
