"""A daemon's state under load, to be killed: run as a script, it forks a victim for each line that it is given.

Each victim works on the database of the line and says what was acknowledged, a line each, in one write.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import trio

sys.path.insert(0, str(Path(__file__).parent.parent))

from poppo_ipc.daemon._times import now_ms
from poppo_ipc.daemon.workers import Ending, JobOutcome
from poppo_ipc.errors import Conflict, NotFound
from tasks.kit import Bench, Wall, bench

QUEUES = ("a", "b", "c")


def say(*words: Any) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


async def submit(it: Bench, chance: random.Random, run: str, actor: int, projects: list[str]) -> None:
    number = 0
    while True:
        number += 1
        key = f"{run}-{actor}-{number}" if number % 3 == 0 else None
        task = it.task(
            id=f"t-{run}-{actor}-{number}",
            queue=chance.choice(QUEUES),
            project=chance.choice([None, *projects]),
            max_attempts=chance.choice((1, 2, 5)),
            submit_key=key,
        )
        answer = await it.queue.submit(None, task)
        say("submitted", answer["taskId"], key)


async def work(it: Bench, chance: random.Random, worker: str) -> None:
    while True:
        job = await it.queue.next_job(worker)
        say("claimed", job.task_id, job.attempt)
        text = f"{job.task_id} {job.attempt}\n"
        for _ in range(chance.randrange(4)):
            it.queue.job_output(job, "stdout", text.encode())
            await trio.lowlevel.checkpoint()
        it.queue.job_output(job, "stdout", b"end\n")
        ending = chance.choice((Ending.COMPLETED, Ending.COMPLETED, Ending.FAILED, Ending.INTERRUPTED))
        await it.queue.job_ended(job, worker, JobOutcome(ending=ending, error="broken"))
        say("ended", job.task_id, job.attempt, ending.value)


async def cancel(it: Bench, chance: random.Random) -> None:
    while True:
        waiting = [task.id for task in it.queue.schedule]
        if not waiting:
            await it.settle()
            continue
        task_id = chance.choice(waiting)
        try:
            await it.queue.cancel(None, task_id)
            say("cancelled", task_id)
        except (Conflict, NotFound) as error:
            say("refused", str(error))


async def pause(it: Bench, chance: random.Random) -> None:
    while True:
        queue, state = chance.choice(QUEUES[1:]), chance.random() < 0.5
        say("try pause", queue, state)
        await it.control.set_paused(None, queue, state)
        say("paused", queue, state)


async def change_projects(it: Bench, chance: random.Random, projects: list[str]) -> None:
    number = 0
    while True:
        number += 1
        project = chance.choice(projects)
        status = chance.choice(("active", "inactive"))
        say("try status", project, status)
        await it.projects.set_status(None, project, status, "changed")
        say("status", project, status)
        await it.projects.update(None, project, {"number": number})
        say("config", project, number)


async def run(directory: Path, seed: str) -> None:
    chance = random.Random(seed)
    wall = Wall()
    async with bench(directory, wall=wall, random=lambda: 0.0) as it:
        it.queue.clock = now_ms
        if not it.projects.list():
            for name in ("one", "two"):
                (directory / name).mkdir()
                await it.projects.add(None, str(directory / name), None, None)
        projects = [project.id for project in it.projects.list()]
        say("up", it.store.epoch, it.store.seq)

        def told(events: Any) -> None:
            for event in events:
                say("event", event.seq)

        it.store.on_events(told)
        async with trio.open_nursery() as nursery:
            for actor in range(4):
                nursery.start_soon(submit, it, chance, seed, actor, projects)
            for number in range(3):
                nursery.start_soon(work, it, chance, f"w{number}")
            nursery.start_soon(it.queue.run)
            nursery.start_soon(cancel, it, chance)
            nursery.start_soon(pause, it, chance)
            nursery.start_soon(change_projects, it, chance, projects)


def main() -> None:
    for line in sys.stdin:
        directory, seed = json.loads(line)
        if sys.platform == "win32":
            # What no fork can spare it there: the time to start.
            with subprocess.Popen([sys.executable, __file__, directory, seed]) as process:
                say("pid", process.pid)
        else:
            pid = os.fork()
            if not pid:
                trio.run(run, Path(directory), seed)
                os._exit(1)
            say("pid", pid)
            os.waitpid(pid, 0)
        say("dead")


if __name__ == "__main__":
    if sys.argv[1:]:
        trio.run(run, Path(sys.argv[1]), sys.argv[2])
    else:
        main()
