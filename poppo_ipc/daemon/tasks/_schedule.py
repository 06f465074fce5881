"""Which task is next: pure bookkeeping, rebuilt from the database at each start.

Higher priority first. Within a priority the projects take turns, each as many in a row as its weight says, so one
that has thousands of tasks waiting holds back no other. Within a project, the order of submission. A task with no
project belongs to one of its own. What may not run (paused queues, stopped projects) is not in the rotation at all, so
picking never searches through it.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator

from attrs import define, field

__all__ = ["Schedule", "Waiting"]


@define(eq=False)
class Waiting:
    """A task that waits to be run. `due_ms` is the Unix time in milliseconds before which it does not run."""

    id: str
    number: int
    """Its place in the order of submission."""
    queue: str
    project: str | None
    priority: int = 0
    due_ms: int = 0
    gone: bool = False


@define(eq=False)
class _Lane:
    """The tasks of one project in one queue at one priority, oldest first."""

    priority: int
    project: str | None
    queue: str
    heap: list[tuple[int, Waiting]] = field(factory=list)
    count: int = 0

    def head(self) -> int:
        """The number of the first task that is still wanted; the lane has one."""
        while self.heap[0][1].gone:
            heapq.heappop(self.heap)
        return self.heap[0][0]


@define(eq=False)
class _Turn:
    """A project in the rotation of a priority: its lanes that may run, and what is left of its turn."""

    left: int
    lanes: dict[str, _Lane] = field(factory=dict)


class Schedule:
    """The tasks that wait. Nothing here takes longer than the logarithm of how many there are."""

    def __init__(self) -> None:
        self._tasks: dict[str, Waiting] = {}
        self._later: list[tuple[int, int, Waiting]] = []
        self._lanes: dict[tuple[int, str | None, str], _Lane] = {}
        self._rotations: dict[int, OrderedDict[str | None, _Turn]] = {}
        self._priorities: list[int] = []  # negated, so that the highest comes first
        self._paused: set[str] = set()
        self._all_paused = False
        self._running: set[str] = set()  # exempt from the pause of all
        self._stopped: set[str] = set()
        self._weights: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._tasks.values())

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._tasks

    # -- tasks --------------------------------------------------------------------------------------------------

    def add(self, task: Waiting, now_ms: int) -> None:
        """Let a task wait: for its time where that has not come, else for its turn."""
        task.gone = False
        self._tasks[task.id] = task
        if task.due_ms > now_ms:
            heapq.heappush(self._later, (task.due_ms, task.number, task))
        else:
            self._enter(task)

    def remove(self, task_id: str) -> Waiting | None:
        """Take a task out; None where it does not wait."""
        task = self._tasks.pop(task_id, None)
        if task is not None:
            task.gone = True
            lane = self._lanes.get((task.priority, task.project, task.queue))
            if lane is not None and task.due_ms == 0:
                self._left(lane)
        return task

    def pick(self, now_ms: int) -> Waiting | None:
        """Take out the task whose turn it is; None where none may run now."""
        self._wake(now_ms)
        if not self._priorities:
            return None
        rotation = self._rotations[-self._priorities[0]]
        project, turn = next(iter(rotation.items()))
        lane = min(turn.lanes.values(), key=_Lane.head)
        lane.head()
        task = heapq.heappop(lane.heap)[1]
        turn.left -= 1
        if turn.left <= 0:
            turn.left = self._weight(project)
            rotation.move_to_end(project)
        del self._tasks[task.id]
        self._left(lane)
        return task

    def next_due(self) -> int | None:
        """When the next task's time comes, in Unix milliseconds; None where none waits for its time."""
        while self._later and self._later[0][2].gone:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def _wake(self, now_ms: int) -> None:
        while self._later and self._later[0][0] <= now_ms:
            task = heapq.heappop(self._later)[2]
            if not task.gone:
                self._enter(task)

    def _enter(self, task: Waiting) -> None:
        task.due_ms = 0
        key = (task.priority, task.project, task.queue)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(*key)
        heapq.heappush(lane.heap, (task.number, task))
        lane.count += 1
        if lane.count == 1 and self._may_run(lane):
            self._admit(lane)

    def _left(self, lane: _Lane) -> None:
        lane.count -= 1
        if not lane.count:
            self._dismiss(lane)
            del self._lanes[lane.priority, lane.project, lane.queue]

    # -- the rotation -------------------------------------------------------------------------------------------

    def _may_run(self, lane: _Lane) -> bool:
        return not self.is_paused(lane.queue) and lane.project not in self._stopped

    def _admit(self, lane: _Lane) -> None:
        rotation = self._rotations.get(lane.priority)
        if rotation is None:
            rotation = self._rotations[lane.priority] = OrderedDict()
            insort(self._priorities, -lane.priority)
        turn = rotation.get(lane.project)
        if turn is None:
            turn = rotation[lane.project] = _Turn(self._weight(lane.project))
        turn.lanes[lane.queue] = lane

    def _dismiss(self, lane: _Lane) -> None:
        rotation = self._rotations.get(lane.priority)
        turn = None if rotation is None else rotation.get(lane.project)
        if rotation is None or turn is None or turn.lanes.pop(lane.queue, None) is None or turn.lanes:
            return
        del rotation[lane.project]
        if not rotation:
            del self._rotations[lane.priority]
            self._priorities.remove(-lane.priority)

    def _review(self, queue: str | None = None, project: str | None = None) -> None:
        for lane in self._lanes.values():
            if (queue is None or lane.queue == queue) and (project is None or lane.project == project):
                if self._may_run(lane):
                    self._admit(lane)
                else:
                    self._dismiss(lane)

    # -- queues and projects ------------------------------------------------------------------------------------

    def is_paused(self, queue: str) -> bool:
        """Whether tasks of a queue do not start."""
        return queue in self._paused or (self._all_paused and queue not in self._running)

    @property
    def all_paused(self) -> bool:
        """Whether all queues were paused, those to come included."""
        return self._all_paused

    def pause(self, queue: str | None) -> None:
        """Start nothing of a queue; None for all, those to come included."""
        if queue is None:
            self._all_paused = True
            self._running.clear()
        else:
            self._paused.add(queue)
            self._running.discard(queue)
        self._review(queue=queue)

    def resume(self, queue: str | None) -> None:
        """Start tasks of a queue again; None for all. One queue can be resumed out of the pause of all."""
        if queue is None:
            self._all_paused = False
            self._paused.clear()
            self._running.clear()
        else:
            self._paused.discard(queue)
            if self._all_paused:
                self._running.add(queue)
        self._review(queue=queue)

    def stop_project(self, project: str) -> None:
        """Start nothing of a project."""
        self._stopped.add(project)
        self._review(project=project)

    def start_project(self, project: str) -> None:
        """Start tasks of a project again."""
        self._stopped.discard(project)
        self._review(project=project)

    def set_weight(self, project: str, weight: int) -> None:
        """How many tasks in a row a project's turn has, from its next turn on."""
        self._weights[project] = weight

    def forget_project(self, project: str) -> None:
        """The project is no more, and has no tasks."""
        self._stopped.discard(project)
        self._weights.pop(project, None)

    def _weight(self, project: str | None) -> int:
        return 1 if project is None else self._weights.get(project, 1)
