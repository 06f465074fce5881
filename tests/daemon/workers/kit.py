"""A job source in memory, a record of events, and a pool around both."""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any, Literal

import psutil
import trio

from poppo_ipc.daemon.workers import Ending, Functions, Job, JobOutcome, PoolOptions, WorkerInfo, WorkerPool

from . import functions as task_functions

LIMIT = 20.0 if sys.platform != "win32" else 60.0
#: Longer than any machine takes for what a test does: what ends within half of it was not waited for to be killed.
KILL_GRACE = 50.0
"""Seconds after which a test that waits has failed."""


class Source:
    """Jobs in the order of their submission, with all that is said about them."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Job](math.inf)
        self.outcomes: dict[str, JobOutcome] = {}
        self.output: dict[str, list[tuple[str, bytes]]] = {}
        self.taken: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self._news = trio.Event()
        self._number = 0

    def submit(self, type: str, payload: Any = None, **fields: Any) -> Job:
        self._number += 1
        job = Job(f"t{self._number}", fields.pop("attempt", 1), type, {} if payload is None else payload, **fields)
        self._send.send_nowait(job)
        return job

    async def next_job(self, worker_id: str) -> Job:
        job = await self._receive.receive()
        self.taken.append((job.task_id, worker_id))
        self._tell()
        return job

    def job_output(self, job: Job, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        assert job.task_id not in self.outcomes, "output after the end"
        self.output.setdefault(job.task_id, []).append((stream, data))
        self._tell()

    async def job_ended(self, job: Job, worker_id: str, outcome: JobOutcome) -> None:
        await trio.lowlevel.checkpoint()
        assert job.task_id not in self.outcomes, "ended twice"
        self.outcomes[job.task_id] = outcome
        self.ended.append((job.task_id, worker_id))
        self._tell()

    async def exchange_job(self, job: Job, worker_id: str, outcome: JobOutcome) -> Job | None:
        await self.job_ended(job, worker_id, outcome)
        if not self._receive.statistics().current_buffer_used:
            return None
        return await self.next_job(worker_id)

    def printed(self, job: Job, stream: str | None = None) -> str:
        pieces = self.output.get(job.task_id, [])
        return b"".join(data for name, data in pieces if stream in (None, name)).decode()

    async def outcome(self, job: Job) -> JobOutcome:
        await self.until(lambda: job.task_id in self.outcomes)
        return self.outcomes[job.task_id]

    async def run(self, type: str, payload: Any = None, **fields: Any) -> JobOutcome:
        return await self.outcome(self.submit(type, payload, **fields))

    async def said(self, job: Job, text: str = "ready") -> str:
        """Wait until the job has printed this, or ended."""
        await self.until(lambda: text in self.printed(job) or job.task_id in self.outcomes)
        assert text in self.printed(job), self.outcomes.get(job.task_id)
        return self.printed(job)

    async def family(self, job: Job) -> list[int]:
        """The numbers that `functions.family` printed."""
        text = await self.said(job, "pids")
        return [int(word) for word in text.partition("pids")[2].partition("\n")[0].split()]

    async def until(self, condition: Any) -> None:
        with trio.fail_after(LIMIT):
            while not condition():
                await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class Events:
    def __init__(self) -> None:
        self.log: list[tuple[str, ...]] = []
        self._news = trio.Event()

    async def worker_added(self, worker_id: str) -> None:
        self._note("added", worker_id)

    async def worker_removed(self, worker_id: str, reason: str) -> None:
        self._note("removed", worker_id, reason)

    def _note(self, *entry: str) -> None:
        self.log.append(entry)
        self._news.set()
        self._news = trio.Event()

    @property
    def present(self) -> list[str]:
        gone = {entry[1] for entry in self.log if entry[0] == "removed"}
        return [entry[1] for entry in self.log if entry[0] == "added" and entry[1] not in gone]

    def reason(self, worker_id: str) -> str | None:
        return next((entry[2] for entry in self.log if entry[:2] == ("removed", worker_id)), None)

    async def until(self, condition: Any) -> None:
        with trio.fail_after(LIMIT):
            while not condition():
                await self._news.wait()


def registry() -> Functions:
    functions = Functions()
    for name, function in vars(task_functions).items():
        if callable(function) and getattr(function, "__module__", None) == task_functions.__name__:
            functions.register(name, function, backend="asyncio" if name.startswith("asyncio") else "trio")
    return functions


class Bench:
    def __init__(self, pool: WorkerPool, source: Source, events: Events) -> None:
        self.pool = pool
        self.source = source
        self.events = events

    def workers(self) -> dict[str, WorkerInfo]:
        return {worker.id: worker for worker in self.pool.status().workers}

    def only(self) -> WorkerInfo:
        (worker,) = self.pool.status().workers
        return worker


@asynccontextmanager
async def running(functions: Functions | None = None, **options: Any) -> AsyncIterator[Bench]:
    """A pool that is up; at the end it is drained, and nothing may be left."""
    options = {"count": 1, "kill_grace": KILL_GRACE} | options
    source, events = Source(), Events()
    pool = WorkerPool(functions or registry(), source, events, PoolOptions(**options))
    async with trio.open_nursery() as nursery:
        with trio.fail_after(LIMIT):
            await nursery.start(pool.run)
        bench = Bench(pool, source, events)
        try:
            yield bench
            with trio.fail_after(LIMIT):
                await pool.drain(0.0)
        finally:
            nursery.cancel_scope.cancel()
    assert pool.status().total == 0
    assert events.present == []
    taken = [task for task, _ in source.taken]
    assert sorted(taken) == sorted(source.outcomes), "a job was lost"


class Gate:
    """What a `gate` of the functions waits at."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.payload = {"port": self._listener.getsockname()[1]}

    async def open(self, text: str = "x") -> None:
        """Let one through that waits, with a text to take along."""
        stream, _ = await trio.to_thread.run_sync(self._listener.accept)
        with stream:
            stream.sendall(text.encode())

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.close()


#: How a process ends that `kill` has killed, in words.
KILLED = "exited with code 9" if sys.platform == "win32" else "killed by SIGKILL"


def kill(pid: int | None) -> None:
    """Kill a process: on Unix by a signal, on Windows with an exit code, that is 9."""
    assert pid is not None
    os.kill(pid, 9)


def interrupted(outcome: JobOutcome) -> bool:
    return outcome.ending is Ending.INTERRUPTED


def alive(pids: Iterable[int]) -> list[int]:
    """Those of these processes that still run."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_gone(pids: Iterable[int], seconds: float = LIMIT) -> list[int]:
    """Those that still run after so many seconds at most: a killed process that is nobody's child takes a moment."""
    processes = []
    for pid in alive(pids):
        with suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(pid))
    with ExitStack() as handles:
        if sys.platform == "linux":
            deadline = time.monotonic() + seconds
            for process in processes:
                with suppress(ProcessLookupError):
                    handle = os.pidfd_open(process.pid)
                    handles.callback(os.close, handle)
                    if process.is_running():
                        select.select([handle], [], [], max(deadline - time.monotonic(), 0.0))
        else:
            psutil.wait_procs(processes, timeout=seconds)
    return alive(process.pid for process in processes)


def guardian_of(worker: int) -> psutil.Process:
    """The process between this worker and its daemon."""
    found = psutil.Process(worker).parent()
    assert found is not None
    return found


def children() -> list[int]:
    """The processes below this one; on Windows those that it has started itself."""
    if sys.platform != "win32":
        return [process.pid for process in psutil.Process().children(recursive=True)]
    found = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if psutil.Process(pid).ppid() == os.getpid():
                found.append(pid)
    return found


def open_descriptors() -> set[str]:
    """What this process has open, as names of files, pipes and sockets. Nothing on Windows: wine counts no handles."""
    found: set[str] = set()
    if sys.platform == "win32":
        return found
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue
    return found
