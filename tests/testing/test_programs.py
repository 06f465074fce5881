"""Two programs as others write them, with Click and with Typer, tested with nothing but what the package brings."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from poppo_ipc.testing import CliResult, FakeDaemon, normalized

from .answers import ADDED, DONE, PATH, STARTED
from .programs import plain_pause
from .programs.click_blog import blog
from .programs.typer_queue import app

Run = Callable[..., CliResult]
PROGRAMS = Path(__file__).parent / "programs"
EVERY_WAY = {
    "click": blog,
    "process": PROGRAMS / "click_blog.py",
    "words": [sys.executable, str(PROGRAMS / "click_blog.py")],
}


@pytest.fixture(params=list(EVERY_WAY))
def blog_program(request: pytest.FixtureRequest) -> object:
    return EVERY_WAY[request.param]


def test_click_adds_a_blog(fake_daemon: FakeDaemon, run_cli: Run, blog_program: object) -> None:
    fake_daemon.on("project.add", path=PATH, name="blog").reply(ADDED)
    ran = run_cli(blog_program, ["add", PATH, "--name", "blog"])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "added blog as p1\n", "")
    assert ran.output == ran.stdout
    fake_daemon.assert_called_once("project.add")


def test_click_goes_on_with_what_it_was_told(fake_daemon: FakeDaemon, run_cli: Run) -> None:
    fake_daemon.on("project.add").reply(ADDED)
    fake_daemon.on("task.submit", type="build", projectId="p1").reply({"taskId": "t9"})
    assert run_cli(blog, f"add {PATH} --build").check().stdout.splitlines()[-1] == "building: t9"


def test_click_tells_an_error(fake_daemon: FakeDaemon, run_cli: Run, blog_program: object) -> None:
    fake_daemon.on("project.add").fail("CONFLICT", "There is a project at that path")
    ran = run_cli(blog_program, ["add", PATH])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (1, "", "Error: There is a project at that path\n")


def test_click_shows_json(fake_daemon: FakeDaemon, run_cli: Run) -> None:
    answer = {"count": 0, "projects": []}
    fake_daemon.on("project.list").reply(answer)
    assert run_cli(blog, "list --json").json == answer


def test_click_asks_before_it_cancels(fake_daemon: FakeDaemon, run_cli: Run, blog_program: object) -> None:
    fake_daemon.on("task.cancel", taskId="t1").reply({"message": "Task t1 cancelled"})
    assert run_cli(blog_program, "cancel t1", input="n\n").exit_code == 1
    fake_daemon.assert_not_called("task.cancel")
    assert run_cli(blog_program, "cancel t1", input="y\n").stdout == "Really? [y/N]: Task t1 cancelled\n".replace(
        "[y/N]: ", "[y/N]: y\n" if blog_program is blog else "[y/N]: "
    )


def test_click_without_a_daemon(fake_daemon: FakeDaemon, run_cli: Run, blog_program: object) -> None:
    with fake_daemon.faults.refuse():
        ran = run_cli(blog_program, ["add", PATH])
    assert ran.exit_code == 1
    assert "No daemon listens" in ran.stderr


TYPER = {"typer": app, "process": PROGRAMS / "typer_queue.py"}


@pytest.fixture(params=list(TYPER))
def queue_program(request: pytest.FixtureRequest) -> object:
    return TYPER[request.param]


def test_typer_pauses(fake_daemon: FakeDaemon, run_cli: Run, queue_program: object) -> None:
    fake_daemon.on("queue.pause", queue="mail").reply({"message": "Queue mail paused"})
    ran = run_cli(queue_program, "pause mail")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "Queue mail paused\n", "")


def test_typer_tells_an_error(fake_daemon: FakeDaemon, run_cli: Run, queue_program: object) -> None:
    fake_daemon.on("queue.pause").fail("UNAVAILABLE", "There are no queues")
    ran = run_cli(queue_program, "pause")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (3, "", "There are no queues\n")


def test_typer_watches(fake_daemon: FakeDaemon, run_cli: Run, queue_program: object) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def emit() -> None:
        fake_daemon.wait_until_subscribed("task.*")
        fake_daemon.emit("task.started", STARTED)

    with ThreadPoolExecutor() as beside:
        emitted = beside.submit(emit)
        assert run_cli(queue_program, "watch").stdout == "task.started t1\n"
        emitted.result()


PLAIN = {"function": plain_pause.main, "process": PROGRAMS / "plain_pause.py"}


@pytest.mark.parametrize("way", PLAIN)
def test_argparse(fake_daemon: FakeDaemon, run_cli: Run, way: str) -> None:
    fake_daemon.on("queue.pause").reply(DONE)
    ran = run_cli(PLAIN[way])
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "Queue all paused\n", "ask again to resume\n")
    assert sorted(ran.output.splitlines()) == ["Queue all paused", "ask again to resume"]
    ran = run_cli(PLAIN[way], "--loud")
    assert ran.exit_code == 2
    assert "unrecognized arguments: --loud" in ran.stderr


def test_a_daemon_that_set_no_environment(run_cli: Run) -> None:
    with FakeDaemon() as wanted, FakeDaemon():
        wanted.on("queue.pause").reply(DONE)
        assert run_cli(plain_pause.main, daemon=wanted).ok


# -- results ------------------------------------------------------------------------------------------------------


def test_functions_of_every_kind(run_cli: Run) -> None:
    def reads() -> None:
        print(sys.argv[1:], input())
        print("to the side", file=sys.stderr)
        print("\x1b[1mbold\x1b[0m")

    ran = run_cli(reads, ["a", "b c"], input="typed\n")
    assert ran.output == "['a', 'b c'] typed\nto the side\nbold\n"
    assert run_cli(reads, input="x\n", colours=True).stdout.endswith("\x1b[1mbold\x1b[0m\n")

    def breaks(arguments: list[str]) -> int:
        raise ValueError(f"no {arguments}")

    ran = run_cli(breaks, "x")
    assert ran.exit_code == 1
    assert isinstance(ran.exception, ValueError)
    assert "ValueError: no ['x']" in ran.stderr
    with pytest.raises(AssertionError, match="ValueError"):
        ran.check()

    for code, expected in ((None, 0), (7, 7), ("so it ends", 1)):
        assert run_cli(lambda code=code: sys.exit(code)).exit_code == expected

    async def never() -> None: ...

    with pytest.raises(TypeError, match="async"):
        run_cli(never)
    with pytest.raises(TypeError, match="no program"):
        run_cli(7)


def test_processes(run_cli: Run, tmp_path: Path) -> None:
    script = tmp_path / "it.py"
    script.write_text("import os, sys\nprint(os.getcwd(), os.environ.get('A'), 'HOME' in os.environ)\nsys.exit(3)")
    ran = run_cli(script, cwd=tmp_path, env={"A": "1", "HOME": None})
    assert (ran.exit_code, ran.stdout) == (3, f"{tmp_path} 1 False\n")
    script.write_text("print('here')\nimport threading; threading.Event().wait()")
    with pytest.raises(TimeoutError, match="did not end within"):
        run_cli(script, timeout=0.3)
    with pytest.raises(FileNotFoundError):
        run_cli(str(tmp_path / "none"))


def test_a_process_that_a_signal_ends(run_cli: Run) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run_cli([sys.executable, "-c", program]).exit_code == 137


def test_what_is_another_each_time_is_normalized(run_cli: Run, tmp_path: Path) -> None:
    first, second = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

    def program() -> None:
        print(f"\x1b[32mmade {tmp_path}/deep/file.txt\x1b[0m at 2026-11-24T02:16:59.123Z, pid 4711, in 12.5 ms")
        print(f"{first} then {second} then {first}; t-0abcdefghjkmnpqr", file=sys.stderr)
        print(f"{Path.cwd()}/x {Path.home()}/y 3 items")

    ran = run_cli(program, colours=True).normalized({str(tmp_path): "<project>"})
    assert ran.stdout == "made <project>/deep/file.txt at <time>, pid <pid>, in <duration>\n<cwd>/x <home>/y 3 items\n"
    assert ran.stderr == "<id-1> then <id-2> then <id-1>; <id-3>\n"
    assert str(ran).startswith("exit code 0\n--- stdout\nmade <project>/deep")
    assert ran == run_cli(program).normalized({str(tmp_path): "<project>"})
    with contextlib.chdir(tmp_path):
        assert normalized(f"{tmp_path}/x and {tmp_path}-y/z") == "<cwd>/x and <tmp>/z"
    top = tempfile.gettempdir()
    with contextlib.chdir(top):
        assert normalized(f"{top}/poppo-k3jd/sock in {top}") == "<tmp>/sock in <cwd>"
    assert normalized(f"{top}/pytest-of-me/pytest-7/test_it0/x and {top}/poppo-k3jd/sock") == "<tmp>/x and <tmp>/sock"


def test_paths_of_unix_are_normalized() -> None:
    assert normalized("/tmp/poppo-k3jd/sock, /tmp/x") == "<tmp>/sock, <tmp>"


def test_paths_of_windows_are_normalized(tmp_path: Path) -> None:
    path = str(tmp_path)
    for said in (path, path.upper(), path.replace("\\", "/"), json.dumps(path)[1:-1]):
        assert normalized(f"'{said}'") == "'<tmp>'"
    with contextlib.chdir(tmp_path):
        assert normalized(json.dumps([f"{path}\\x", f"{path}.y"])) == '["<cwd>\\\\x", "<tmp>"]'
    assert normalized(json.dumps(path), {path: "<project>"}) == '"<project>"'


def test_pipes_of_fake_daemons_are_normalized() -> None:
    assert normalized(r"npipe:poppo-k3jd_x0a at \\.\pipe\poppo-k3jd_x0a.") == r"npipe:<pipe> at \\.\pipe\<pipe>."
    assert normalized("npipe:poppobuilder-daemon, npipe:poppo-mine") == "npipe:poppobuilder-daemon, npipe:poppo-mine"
