"""A daemon to be killed: `python daemon.py THEN COUNT` runs so many families, and prints who is there."""

from __future__ import annotations

import os
import signal
import sys

import trio

if __name__ == "__main__":
    sys.path[:0] = sys.argv[3].split(os.pathsep)


def by_main(payload: dict[str, int]) -> list[str | int]:
    """A function of the main module."""
    return [__name__, payload["n"]]


async def _main(then: str, count: int) -> None:
    from poppo_ipc.daemon.workers import PoolOptions, WorkerPool
    from workers.kit import Events, Source, registry

    functions = registry()
    functions.register("by_main", by_main)
    source = Source()
    pool = WorkerPool(functions, source, Events(), PoolOptions(count=count))
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        if then == "main":
            print((await source.run("by_main", {"n": 5})).result, flush=True)
            await pool.drain(0.0)
            return
        if then == "chain":
            job = source.submit("fork_chain", {"path": os.environ["CHAIN"], "then": "hang"})
            await source.said(job)
            print(*(worker.pid for worker in pool.status().workers), flush=True)
            await trio.sleep_forever()
        if sys.platform != "win32" and then == "forked" and os.fork() == 0:
            print(os.getpid(), flush=True)
            signal.pause()  # with all of the descriptors that the daemon has
        for _ in range(count):
            job = source.submit("family", {"then": "stubborn" if then == "forked" else then})
            await source.said(job, "pids" if then == "return" else "ready")
            pids = await source.family(job)
            print(*pids, flush=True)
        print(*(worker.pid for worker in pool.status().workers), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(_main, sys.argv[1], int(sys.argv[2]))
