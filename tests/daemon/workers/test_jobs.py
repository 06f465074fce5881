"""What a job gets, gives and prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from poppo_ipc.daemon.workers import Ending, Functions

from . import functions
from .kit import alive, running

pytestmark = pytest.mark.trio


@pytest.mark.parametrize(
    ("type", "payload", "result"),
    [
        ("noop", {}, None),
        ("add", {"a": 2, "b": 3}, 5),
        ("add", {"a": 2}, 3),
        ("echo", {"a": [1, None, 2.5, "é", {"b": True}]}, {"a": [1, None, 2.5, "é", {"b": True}]}),
        ("echo", {"x": "y" * 3_000_000}, {"x": "y" * 3_000_000}),
        ("size_of", {"a": 1, "b": 2}, 2),
        ("trio_sum", {"numbers": [1, 2, 3]}, 6),
        ("asyncio_sum", {"numbers": [1, 2, 3]}, 6),
        ("context", {}, ["t1", 3]),
    ],
)
async def test_a_function_gets_its_payload_and_gives_its_result(type: str, payload: Any, result: Any) -> None:
    async with running() as bench:
        outcome = await bench.source.run(type, payload, attempt=3)
        assert (outcome.ending, outcome.result, outcome.error) == (Ending.COMPLETED, result, None)
        assert outcome.duration > 0


async def test_an_exception_is_one_line_and_its_traceback_is_output() -> None:
    async with running() as bench:
        job = bench.source.submit("fail", {"text": "not\nto be " + "x" * 5000})
        outcome = await bench.source.outcome(job)
        assert outcome.ending is Ending.FAILED
        assert outcome.error is not None
        assert outcome.error.startswith("RuntimeError: not to be xxx")
        assert len(outcome.error.encode()) <= 2048
        traceback = bench.source.printed(job, "stderr")
        assert traceback.startswith("Traceback (most recent call last)")
        assert "in fail" in traceback
        assert "_call.py" not in traceback


async def test_failures_of_every_kind_leave_the_worker_usable() -> None:
    async with running() as bench:
        pid = bench.only().pid
        for type, payload, text in (
            ("leave", {"code": 3}, "SystemExit: 3"),
            ("add", {"c": 3}, "TypeError: add() got an unexpected keyword argument 'c'"),
            ("add", [1], "The payload must be an object"),
            ("no_json", {"kind": "set"}, "The result is no JSON: $.a[1] is of type set"),
            ("no_json", {"kind": "nan"}, "The result is no JSON: $[0] is nan"),
            ("no_json", {"kind": "key"}, "The result is no JSON: $ has a key of type int"),
            ("no_json", {"kind": "loop"}, "The result is no JSON: it is nested deeper than 128, or contains itself"),
            ("no_json", {"kind": "text"}, "The result is no JSON: "),
            ("no_json", {"kind": "big"}, "The result has 17825794 bytes of JSON, over the limit of"),
            ("absent", {}, "No task function is named 'absent'"),
            ("echo", {"x": {1, 2}.__iter__()}, "The payload is no JSON: "),
            ("echo", {"x": "y" * (17 << 20)}, "The payload is over the limit of 16777216 bytes"),
        ):
            outcome = await bench.source.run(type, payload)
            assert outcome.ending is Ending.FAILED
            assert outcome.error is not None
            assert outcome.error.startswith(text)
        assert (await bench.source.run("pid")).result == pid


async def test_a_function_that_no_worker_can_import_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be imported where it is registered: that a worker cannot is found out there."""
    registry = Functions()
    registry.register("pid", functions.pid)
    module = type(sys)("only_here")
    exec("def lost(): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    registry.register("lost", module.lost)
    async with running(registry) as bench:
        outcome = await bench.source.run("lost")
        assert outcome.ending is Ending.FAILED
        assert outcome.error == ("Cannot import lost of only_here: ModuleNotFoundError: No module named 'only_here'")
        assert (await bench.source.run("pid")).ending is Ending.COMPLETED


# -- output -----------------------------------------------------------------------------------------------------


async def test_text_to_both_streams_keeps_its_order() -> None:
    async with running() as bench:
        job = bench.source.submit("turns", {"count": 200})
        await bench.source.outcome(job)
        assert bench.source.printed(job) == "".join(f"out {n}\nerr {n}\n" for n in range(200))
        assert bench.source.printed(job, "stderr") == "".join(f"err {n}\n" for n in range(200))


async def test_a_stream_keeps_its_order_whoever_writes_to_it() -> None:
    async with running() as bench:
        job = bench.source.submit("children_print")
        await bench.source.outcome(job)
        assert bench.source.printed(job, "stdout") == "one\ntwo\nthree\nfour"


async def test_a_function_that_closes_its_output_does_not_silence_the_next() -> None:
    async with running() as bench:
        first, second = bench.source.submit("closes_stdout"), bench.source.submit("turns", {"count": 1})
        await bench.source.outcome(second)
        assert bench.source.printed(first) == "before\n"
        assert bench.source.printed(second) == "out 0\nerr 0\n"


@pytest.mark.parametrize("fd", [1, 2])
async def test_a_worker_whose_output_was_closed_is_replaced(fd: int) -> None:
    async with running() as bench:
        first, second = bench.source.submit("closes_descriptor", {"fd": fd}), bench.source.submit("turns", {"count": 1})
        await bench.source.outcome(second)
        # Of what goes to the other stream then nobody knows when: the closed one cannot be asked whether it was read.
        assert bench.source.printed(first, "stdout") == ("before\n" if fd == 1 else "before\nafter\n")
        assert bench.source.printed(second) == "out 0\nerr 0\n"
        assert bench.events.reason("worker-1") == "its task closed or replaced the output"


async def test_much_output_on_both_streams_is_whole_when_the_job_ends() -> None:
    size = 5 << 20
    async with running() as bench:
        job = bench.source.submit("flood", {"size": size})
        after = bench.source.submit("noop")
        await bench.source.outcome(after)
        assert len(bench.source.printed(job, "stdout")) == size
        assert len(bench.source.printed(job, "stderr")) == size
        assert after.task_id not in bench.source.output


async def test_what_a_task_leaves_behind_is_killed_and_silent_before_the_next_begins() -> None:
    async with running() as bench:
        pid = bench.only().pid
        noise, after = bench.source.submit("noisy_child"), bench.source.submit("pid")
        assert (await bench.source.outcome(after)).result == pid
        assert "begun\n" in bench.source.printed(noise)
        assert after.task_id not in bench.source.output
        outcome = await bench.source.run("family", {"then": "return"})
        assert len(outcome.result) == 4
        assert alive(outcome.result) == []
        gone = (await bench.source.run("daemonize")).result
        assert alive([gone]) == []
        assert (await bench.source.run("pid")).result == pid


async def test_a_fork_that_comes_back_ends_and_only_one_answer_counts() -> None:
    async with running() as bench:
        pid = bench.only().pid
        assert (await bench.source.run("fork_back")).result == pid
        assert (await bench.source.run("pid")).result == pid


# -- commands ---------------------------------------------------------------------------------------------------


async def test_the_output_of_a_command_is_in_order() -> None:
    lines = "".join(f"{number}\n" for number in range(300))
    script = "import os\nfor number in range(300): os.write(1 + number % 2, b'%d\\n' % number)"
    async with running() as bench:
        job = bench.source.submit("command", {"argv": [sys.executable, "-c", script]})
        await bench.source.outcome(job)
        assert bench.source.printed(job) == lines
        assert bench.source.printed(job, "stderr") == "".join(f"{number}\n" for number in range(1, 300, 2))


async def test_a_command_runs_where_and_how_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the daemon")
    (tmp_path / "sub").mkdir()
    script = (
        "import os, sys; sys.stderr.write('oops'); "
        "sys.stdout.write('|'.join((os.getcwd(), os.environ['A'], os.environ.get('SECRET', ''), sys.stdin.read())))"
    )
    async with running() as bench:
        payload = {
            "argv": [sys.executable, "-X", "utf8", "-c", script],
            "cwd": "sub",
            "env": {"A": "b"},
            "stdin": "é" * 100_000,
        }
        job = bench.source.submit("command", payload, cwd=str(tmp_path))
        outcome = await bench.source.outcome(job)
        assert (outcome.ending, outcome.result, outcome.error) == (Ending.COMPLETED, {"exitCode": 0}, None)
        assert bench.source.printed(job, "stdout") == f"{tmp_path / 'sub'}|b||{'é' * 100_000}"
        assert bench.source.printed(job, "stderr") == "oops"
        script = "import os, sys; sys.stdout.write(os.getcwd() + sys.stdin.read())"
        plain = bench.source.submit("command", {"argv": [sys.executable, "-c", script]}, cwd=str(tmp_path))
        await bench.source.outcome(plain)
        assert bench.source.printed(plain) == str(tmp_path)


async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    invalid = "The payload of a command is not valid: "
    absent = str(tmp_path / "absent")
    cases: list[tuple[dict[str, Any], str, Any]] = [
        ({"argv": [sys.executable, "-c", "exit(3)"]}, "code 3", {"exitCode": 3}),
        ({"argv": ["no-such-program"]}, "Command not found: no-such-program", None),
        ({"argv": [absent]}, f"Command not found: {absent}", None),
        ({"argv": ["true"], "cwd": absent}, f"No such working directory: {absent}", None),
        ({"argv": []}, f"{invalid}`argv` names no program", None),
        ({"argv": ["a\0b"]}, f"{invalid}embedded null byte", None),
        ({"argv": "ls"}, f"{invalid}Expected `array`, got `str` - at `$.argv`", None),
        ({"argv": ["ls"], "x": 1}, f"{invalid}Object contains unknown field `x`", None),
    ]
    if sys.platform != "win32":
        cases += [
            ({"argv": ["sh", "-c", "kill -9 $$"]}, "killed by SIGKILL", {"exitCode": -9}),
            ({"argv": [str(program)]}, f"Command cannot be executed, permission denied: {program}", None),
        ]
    async with running() as bench:
        for payload, error, result in cases:
            outcome = await bench.source.run("command", payload)
            assert (outcome.ending, outcome.error, outcome.result) == (Ending.FAILED, error, result)


async def test_children_get_no_descriptor_of_the_worker() -> None:
    async with running() as bench:
        job = bench.source.submit("command", {"argv": ["sh", "-c", "ls -l /proc/$$/fd"]})
        await bench.source.outcome(job)
        of_a_function = (await bench.source.run("inherited")).result
        for listing in (bench.source.printed(job), of_a_function):
            numbers = [line.split()[-3] for line in listing.splitlines() if "->" in line]
            assert numbers == ["0", "1", "2"]


# -- the process ------------------------------------------------------------------------------------------------


async def test_a_worker_is_light() -> None:
    async with running() as bench:
        loaded = set((await bench.source.run("modules")).result)
        assert loaded & {"trio", "attr", "asyncio", "psutil", "poppo_ipc.protocol"} == set()


async def test_a_worker_leads_a_group_of_its_own() -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    async with running() as bench:
        pid = bench.only().pid
        assert pid is not None
        assert os.getpgid(pid) == os.getsid(pid) == pid
