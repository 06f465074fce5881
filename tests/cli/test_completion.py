"""Completion: by the protocol that the shells' scripts speak, and in the shells that are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .original import Original
from .processes import PATIENCE, at, environment
from .program import Shell

INSTALLED = Path(sys.executable).with_name("poppo-ipc")


def completions(shell: Shell, *words: str, kind: str = "bash", env: dict[str, str] | None = None) -> list[str]:
    """What the program offers for the last of the words, without what kind of thing it is."""
    asked = {"_POPPO_IPC_COMPLETE": f"{kind}_complete", "COMP_WORDS": " ".join(["poppo-ipc", *words])}
    asked["COMP_CWORD"] = words[-1] if kind == "fish" else str(len(words))
    # Far more than it needs: no verdict here hangs on how busy the machine is.
    ran = shell.ask(env={"POPPO_COMPLETION_SECONDS": "20", **asked, **(env or {})})
    assert (ran.code, ran.err) == (0, "")
    return [line.partition(",")[2] for line in ran.out.splitlines() if line]


def test_commands_options_and_what_lies_below(served: Shell) -> None:
    assert completions(served, "st") == ["start", "stop", "status"]
    assert completions(served, "projects", "re") == ["remove", "restart"]
    assert completions(served, "tasks", "list", "--sta") == ["--status"]
    assert "--socket" in completions(served, "status", "--")


def test_the_daemons_commands_and_their_flags(served: Shell) -> None:
    assert completions(served, "call", "project.re") == ["project.remove", "project.restart"]
    assert completions(served, "call", "task.list", "--st") == ["--status"]
    assert completions(served, "call", "task.list", "--status", "c") == ["cancelled", "completed"]
    assert completions(served, "commands", "worker.") == ["worker.restart", "worker.scale", "worker.status"]


def test_ids(served: Shell, place: Path) -> None:
    project = served.ask("projects", "add", place).json["project"]["id"]
    task = served.ask("tasks", "submit", "true").json["taskId"]
    assert project in completions(served, "projects", "status", "")
    assert project in completions(served, "call", "project.status", "--project-id", "p-")
    assert task in completions(served, "tasks", "output", task[:4])
    assert completions(served, "projects", "status", "no-such") == []
    assert "worker-1" in completions(served, "workers", "restart", "worker")


@pytest.mark.parametrize("kind", ["zsh", "fish"])
def test_other_shells_are_told_what_things_are(served: Shell, kind: str) -> None:
    asked = {"_POPPO_IPC_COMPLETE": f"{kind}_complete", "COMP_WORDS": "poppo-ipc call task.stat"}
    asked["COMP_CWORD"] = "task.stat" if kind == "fish" else "2"
    said = served.run(env={"POPPO_COMPLETION_SECONDS": "20", **asked}).out
    assert "task.status" in said
    assert "Show a task." in said


def test_a_daemon_that_is_down_or_refuses_gives_none_and_no_noise(served: Shell, place: Path) -> None:
    down = {"POPPO_SOCKET": at(place / "none")}
    for words in (("call", "task."), ("projects", "status", ""), ("call", "task.list", "--st")):
        assert completions(served, *words, env=down) == []
    assert completions(served, "call", "task.", env={"POPPO_TOKEN": "wrong"}) == []
    assert completions(served, "call", "task.", env={"POPPO_SOCKET": "tcp://x"}) == []
    assert list(place.iterdir()) == []


def test_the_socket_that_was_typed_is_asked(served: Shell, place: Path) -> None:
    away = {"POPPO_SOCKET": at(place / "none")}
    words = ("--socket", served.env["POPPO_SOCKET"], "call", "task.sta")
    assert completions(served, *words, env=away) == ["task.status"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_needs_neither_it_nor_a_daemon(place: Path, shell: str) -> None:
    ran = Shell({"POPPO_SOCKET": at(place / "none"), "PATH": str(place)}).ask("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert f"_POPPO_IPC_COMPLETE={shell}_complete" in ran.out


def test_in_bash_itself(served: Shell) -> None:
    script = (
        'eval "$(poppo-ipc completion bash)"\n'
        "COMP_WORDS=(poppo-ipc call project.r) COMP_CWORD=2\n"
        "_poppo_ipc_completion poppo-ipc project.r call\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
        "complete -p poppo-ipc"
    )
    bash = shutil.which("bash")
    assert bash is not None
    assert INSTALLED.exists()
    path = f"{INSTALLED.parent}:{environment()['PATH']}"
    ran = subprocess.run(
        [bash, "--norc", "-c", script],
        env=environment({**served.env, "PATH": path, "POPPO_COMPLETION_SECONDS": "20"}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "project.remove",
        "project.restart",
        "complete -o nosort -F _poppo_ipc_completion poppo-ipc",
    ]


def test_a_daemon_that_hangs_gives_none(place: Path) -> None:
    with Original(place / "sock", {}, greets=False):
        shell = Shell({"POPPO_SOCKET": at(place / "sock")})
        assert completions(shell, "call", "task.", env={"POPPO_COMPLETION_SECONDS": "0.1"}) == []
        assert completions(shell, "projects", "status", "", env={"POPPO_COMPLETION_SECONDS": "nonsense"}) == []
