"""Task functions that the tests run in workers. `hang` and its kin say `ready` when they have begun."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from poppo_ipc.daemon.workers import current_task

_held: list[bytearray] = []

#: What a task is asked to end by.
STOP = signal.SIGINT if sys.platform == "win32" else signal.SIGTERM


def noop() -> None:
    """Nothing."""


def add(a: int, b: int = 1) -> int:
    return a + b


def echo(payload: Any) -> Any:
    return payload


def size_of(options: dict[str, Any]) -> int:
    return len(options)


async def trio_sum(numbers: list[int]) -> int:
    import trio

    total = 0
    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(trio.lowlevel.checkpoint)
            total += number
    return total


async def asyncio_sum(numbers: list[int]) -> int:
    import asyncio

    return sum(await asyncio.gather(*(asyncio.sleep(0, number) for number in numbers)))


def context() -> list[Any]:
    task = current_task()
    return [task.task_id, task.attempt]


def modules() -> list[str]:
    return sorted(sys.modules)


def fail(text: str) -> None:
    raise RuntimeError(text)


def leave(code: int) -> None:
    sys.exit(code)


def no_json(kind: str) -> Any:
    loop: list[Any] = []
    loop.append(loop)
    values: dict[str, Any] = {
        "set": {"a": [1, {2}]}, "nan": [float("nan")], "key": {1: 2}, "loop": loop, "text": "\ud800",
        "big": "x" * (17 << 20),
    }  # fmt: skip
    return values[kind]


def turns(count: int) -> None:
    for number in range(count):
        print("out", number)
        print("err", number, file=sys.stderr)


def children_print() -> None:
    print("one")
    subprocess.run([sys.executable, "-c", "import os; os.write(1, b'two\\n')"], check=True)
    os.write(1, b"three\n")
    print("four", end="")


def closes_stdout() -> None:
    print("before")
    sys.stdout.close()


def closes_descriptor(fd: int) -> None:
    print("before")
    os.close(fd)
    print("after")


def flood(size: int) -> None:
    piece = "x" * 4095 + "\n"
    for _ in range(size // 4096):
        sys.stdout.write(piece)
        os.write(2, piece.encode())


def segfault() -> None:
    print("on the way", flush=True)
    if sys.platform == "win32":
        # What ctypes does there is caught.
        faulthandler._read_null()  # type: ignore[attr-defined]
    ctypes.string_at(0)


def exit_after_turns() -> None:
    print("out")
    print("err", file=sys.stderr)
    print("out")
    os._exit(3)


def exit_now(code: int) -> None:
    print("last words", end="", flush=True)
    os._exit(code)


def kill_self() -> None:
    os.kill(os.getpid(), 9)


def hang() -> None:
    print("ready")
    while True:
        time.sleep(60)


def spin() -> None:
    print("ready")
    while True:
        pass


def tidy() -> None:
    try:
        hang()
    finally:
        print("tidied")


async def trio_hang() -> None:
    import trio

    try:
        print("ready")
        await trio.sleep_forever()
    finally:
        print("tidied")


def stubborn() -> None:
    signal.signal(STOP, signal.SIG_IGN)
    hang()


def gate(port: int) -> str:
    """Wait until the gate at this port is opened; gives what is said there."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        print("ready")
        # Windows interrupts no call that waits for a socket.
        while not select.select([stream], [], [], 0.02)[0]:
            continue
        with stream.makefile() as said:
            return said.read()


_FAMILY = """
sh -c 'trap "" TERM; echo 1 $$; exec sleep 1000' &
(sh -c 'echo 2 $$; exec sleep 1000' &)
setsid sh -c 'trap "" TERM; echo 3 $$; exec sleep 1000' &
"""


_WINDOWS_SLEEPER = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(1000)"
_WINDOWS_FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
sleeper, command = sys.argv[1], [sys.executable, "-I", "-S", "-c"]
print(1, subprocess.Popen([*command, sleeper]).pid, flush=True)
leave = "import subprocess, sys; print(2, subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid)"
subprocess.run([*command, leave, *command, sleeper])
alone = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
print(3, subprocess.Popen([*command, sleeper], creationflags=alone).pid, flush=True)
time.sleep(1000)
"""


def family(then: str) -> list[int]:
    """Leave a shell, its child that ignores SIGTERM, an orphan, and one in a session of its own; say their numbers."""
    if sys.platform == "win32":
        command = [sys.executable, "-I", "-S", "-c", _WINDOWS_FAMILY, _WINDOWS_SLEEPER]
    else:
        command = ["sh", "-c", _FAMILY + "wait"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = sorted(process.stdout.readline().split() for _ in range(3))
    pids = [process.pid, *(int(pid) for _, pid in said)]
    print("pids", *pids)
    if then == "hang":
        hang()
    elif then == "stubborn":
        stubborn()
    elif then == "crash":
        os._exit(7)
    elif then == "free":
        # As if the system had no such thing as a parent's death signal.
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        hang()
    return pids


def daemonize() -> int:
    """Leave one process that has nothing to do with this one any more: no parent, no group, no session, no job."""
    if sys.platform == "win32":
        command = [sys.executable, "-I", "-S", "-c", _WINDOWS_SLEEPER]
        alone = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            return subprocess.Popen(command, creationflags=alone | subprocess.CREATE_BREAKAWAY_FROM_JOB).pid
        except OSError:  # as Windows refuses to let it out of its job
            return subprocess.Popen(command, creationflags=alone).pid
    script = "setsid sh -c 'echo $$; exec sleep 1000' & read -r line"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        pid = int(shell.stdout.readline())
        assert shell.stdin is not None
        shell.stdin.close()
    return pid


def escape(then: str) -> None:
    """Daemonize a process as the book says: forked twice, in a session of its own. Say its number, and go on so."""
    if sys.platform == "win32":
        raise NotImplementedError
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, f"{os.getpid()}\n".encode())
            time.sleep(1000)
        os._exit(0)
    os.wait()
    pids = [os.read(reader, 16).decode().strip()]
    if then == "nohup":
        script = "nohup setsid sleep 1000 > /dev/null 2>&1 & echo $!"
        done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True)
        pids.append(done.stdout.strip())
    print("pids", *pids, flush=True)
    if then == "exit":
        os._exit(3)
    elif then == "segfault":
        ctypes.string_at(0)
    elif then == "nohup":
        os.kill(os.getpid(), signal.SIGKILL)
    hang()


def fork_chain(path: str, then: str) -> None:
    """Leave a process that forks, leaves the session and is gone, and so does its child, for 60 s. All of them hold a
    named pipe open for writing."""
    if sys.platform == "win32":
        raise NotImplementedError
    pipe = os.open(path, os.O_WRONLY)
    end = time.monotonic() + 60.0
    if os.fork() == 0:
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            os.setsid()
        os._exit(0)
    os.close(pipe)
    os.wait()
    print("ready")
    if then == "exit":
        os._exit(3)
    hang()


def inherited() -> str:
    """The descriptors of a child from which nothing was kept on purpose."""
    return subprocess.run(
        ["sh", "-c", "ls -l /proc/$$/fd"], close_fds=False, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def noisy_child() -> None:
    """Leave a child that prints for ever."""
    subprocess.Popen([sys.executable, "-c", "while True: print('noise')"])
    print("begun")


def fork_back() -> int:
    """Fork, and let the child come back into the worker's code."""
    if sys.platform == "win32":
        raise NotImplementedError
    os.fork()
    return os.getpid()


def fork_hold() -> None:
    """Leave a fork that holds every descriptor of the worker open, and die."""
    if sys.platform == "win32":
        raise NotImplementedError
    if os.fork() == 0:
        os.setsid()
        print("pids", os.getpid(), flush=True)
        time.sleep(1000)
    time.sleep(0)
    while True:
        os.kill(os.getpid(), signal.SIGKILL)


def close_all() -> None:
    os.closerange(3, 256)
    hang()


def grow(size: int) -> None:
    _held.append(bytearray(b"x" * size))


def pid() -> int:
    return os.getpid()


def ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
