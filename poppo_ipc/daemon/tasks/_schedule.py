"""Which task is next: pure bookkeeping, rebuilt from the database at each start.

Higher priority first. Within a priority the projects take turns, each as many in a row as its weight says, so one
that has thousands of tasks waiting holds back no other. Within a project, the order of submission. A task with no
project belongs to one of its own. What may not run (paused queues, stopped projects) is not in the rotation at all, so
picking never searches through it.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, TypeAlias

from attrs import define, field

__all__ = ["Schedule", "Waiting"]

# Heaps keep what was taken out of their middle; they are swept once that is most of them, and so much at least.
_SWEEP_FROM: Final = 64


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
    lane: _Lane | None = field(default=None, init=False, repr=False)
    """Where it stands; None while its time has not come. The schedule's own."""
    token: int = field(default=0, init=False, repr=False)
    """Tells its entry in a heap from what is left of earlier ones; 0 while it does not wait. The schedule's own."""


# In a heap: what it is ordered by, and the token for which it holds.
_Place: TypeAlias = tuple[int, int, Waiting]


@define(eq=False)
class _Lane:
    """The tasks of one project in one queue at one priority, oldest first."""

    priority: int
    project: str | None
    queue: str
    heap: list[_Place] = field(factory=list)
    count: int = 0
    turn: _Turn | None = None
    """The turn that it is part of; None while it may not run."""
    posted: int = -1
    """The number by which the turn knows it."""

    def __lt__(self, other: _Lane) -> bool:
        # Two have the same number where one is gone, and what is left of it will be passed over.
        return False

    def head(self) -> int:
        """The number of the first task that is still wanted; the lane has one."""
        heap = self.heap
        while heap[0][1] != heap[0][2].token:
            heapq.heappop(heap)
        return heap[0][0]


@define(eq=False)
class _Turn:
    """A project in the rotation of a priority: its lanes that may run, and what is left of its turn."""

    left: int
    count: int = 0
    heap: list[tuple[int, _Lane]] = field(factory=list)

    def post(self, lane: _Lane, number: int) -> None:
        """Know a lane by the number of its first task."""
        lane.posted = number
        heapq.heappush(self.heap, (number, lane))
        if len(self.heap) > _SWEEP_FROM + 2 * self.count:
            known = {id(lane): (lane.posted, lane) for _, lane in self.heap if lane.turn is self}
            self.heap = list(known.values())
            heapq.heapify(self.heap)

    def first(self) -> _Lane:
        """The lane with the oldest task."""
        while True:
            number, lane = self.heap[0]
            current = lane.turn is self and lane.posted == number
            if current and lane.head() == number:
                return lane
            heapq.heappop(self.heap)
            if current:
                self.post(lane, lane.head())


class Schedule:
    """The tasks that wait. Adding, picking and removing one take no longer than the logarithm of how many there are;
    pausing, resuming, stopping and starting look at each project's queues once.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, Waiting] = {}
        self._tokens = itertools.count(1)
        self._later: list[_Place] = []
        self._later_gone = 0
        self._lanes: dict[tuple[int, str | None, str], _Lane] = {}
        self._rotations: dict[int, OrderedDict[str | None, _Turn]] = {}
        self._priorities: list[int] = []  # those in the rotations, the highest last
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
        self._tasks[task.id] = task
        task.token = next(self._tokens)
        task.lane = None
        if task.due_ms > now_ms:
            heapq.heappush(self._later, (task.due_ms, task.token, task))
        else:
            self._enter(task)

    def remove(self, task_id: str) -> Waiting | None:
        """Take a task out; None where it does not wait."""
        task = self._tasks.pop(task_id, None)
        if task is None:
            return None
        task.token = 0
        lane = task.lane
        if lane is not None:
            self._left(lane)
            if len(lane.heap) > _SWEEP_FROM + 2 * lane.count:
                lane.heap = _swept(lane.heap)
        else:
            self._later_gone += 1
            if self._later_gone > _SWEEP_FROM and self._later_gone * 2 > len(self._later):
                self._later = _swept(self._later)
                self._later_gone = 0
        return task

    def pick(self, now_ms: int) -> Waiting | None:
        """Take out the task whose turn it is; None where none may run now."""
        self._wake(now_ms)
        if not self._priorities:
            return None
        rotation = self._rotations[self._priorities[-1]]
        project, turn = next(iter(rotation.items()))
        lane = turn.first()
        heapq.heappop(turn.heap)
        task = heapq.heappop(lane.heap)[2]
        turn.left -= 1
        if turn.left <= 0:
            turn.left = self._weight(project)
            rotation.move_to_end(project)
        del self._tasks[task.id]
        task.token = 0
        self._left(lane)
        if lane.turn is not None:
            lane.turn.post(lane, lane.head())
        return task

    def next_due(self) -> int | None:
        """When the next task's time comes, in Unix milliseconds; None where none waits for its time."""
        later = self._later
        while later and later[0][1] != later[0][2].token:
            heapq.heappop(later)
            self._later_gone -= 1
        return later[0][0] if later else None

    def _wake(self, now_ms: int) -> None:
        while self._later and self._later[0][0] <= now_ms:
            _, token, task = heapq.heappop(self._later)
            if token == task.token:
                self._enter(task)
            else:
                self._later_gone -= 1

    def _enter(self, task: Waiting) -> None:
        key = (task.priority, task.project, task.queue)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(*key)
        task.lane = lane
        heapq.heappush(lane.heap, (task.number, task.token, task))
        lane.count += 1
        if lane.count == 1:
            if self._may_run(lane):
                self._admit(lane)
        elif lane.turn is not None and task.number < lane.posted:
            lane.turn.post(lane, task.number)

    def _left(self, lane: _Lane) -> None:
        lane.count -= 1
        if not lane.count:
            self._dismiss(lane)
            del self._lanes[lane.priority, lane.project, lane.queue]

    # -- the rotation -------------------------------------------------------------------------------------------

    def _may_run(self, lane: _Lane) -> bool:
        return not self.is_paused(lane.queue) and lane.project not in self._stopped

    def _admit(self, lane: _Lane) -> None:
        if lane.turn is not None:
            return
        rotation = self._rotations.get(lane.priority)
        if rotation is None:
            rotation = self._rotations[lane.priority] = OrderedDict()
            insort(self._priorities, lane.priority)
        turn = rotation.get(lane.project)
        if turn is None:
            turn = rotation[lane.project] = _Turn(self._weight(lane.project))
        lane.turn = turn
        turn.count += 1
        turn.post(lane, lane.head())

    def _dismiss(self, lane: _Lane) -> None:
        turn, lane.turn = lane.turn, None
        if turn is None:
            return
        turn.count -= 1
        if turn.count:
            return
        rotation = self._rotations[lane.priority]
        del rotation[lane.project]
        if not rotation:
            del self._rotations[lane.priority]
            del self._priorities[bisect_left(self._priorities, lane.priority)]

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


def _swept(heap: list[_Place]) -> list[_Place]:
    kept = [place for place in heap if place[1] == place[2].token]
    heapq.heapify(kept)
    return kept
