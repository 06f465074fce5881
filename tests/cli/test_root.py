"""The program as a whole: nothing heavy on the way to an answer, no traceback whatever happens."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from poppo_ipc import errors
from poppo_ipc.cli import main
from poppo_ipc.cli._commands import COMMANDS, Entry
from poppo_ipc.cli._failures import ExitCode, Failure, failure_of
from poppo_ipc.cli._lazy_group import LazyGroup
from poppo_ipc.cli._root import root

from .processes import environment
from .program import Shell

HEAVY = {"trio", "anyio", "asyncio", "rich", "textual", "structlog", "sqlite3", "prometheus_client", "psutil", "h11"}


@pytest.mark.parametrize("arguments", [("call", "daemon.status"), ("status",), ("projects", "list")])
def test_an_answer_needs_nothing_heavy(served: Shell, arguments: tuple[str, ...]) -> None:
    script = (
        "import sys\nfrom poppo_ipc.cli import main\ncode = main(sys.argv[1:])\n"
        f"print(sorted(({HEAVY!r} | {{'poppo_ipc.daemon', 'poppo_ipc.server', 'difflib'}}) & set(sys.modules)), "
        "file=sys.stderr)\nsys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=environment(served.env)
    )
    assert (ran.returncode, ran.stderr.strip()) == (0, "[]")


def test_every_row_leads_to_a_command_that_says_the_same() -> None:
    with click.Context(root, info_name="poppo-ipc") as ctx:
        for name, entry in COMMANDS.items():
            command = root.get_command(ctx, name)
            assert command is not None
            assert command.name == name
            assert (command.help or "").startswith(entry.summary.rstrip(".").split(",")[0][:10]), name


def test_help_lists_every_command_under_its_heading() -> None:
    ran = CliRunner().invoke(root, ["--help"])
    assert ran.exit_code == 0
    for name, entry in COMMANDS.items():
        assert f"{entry.section}:\n" in ran.output
        assert f"  {name} " in ran.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    ran = CliRunner().invoke(root, [name, "--help"])
    assert ran.exit_code == 0
    assert ran.output.startswith(f"Usage: poppo-ipc {name}")


@pytest.mark.parametrize("error", [RuntimeError("odd"), KeyError("x"), PermissionError(13, "Permission denied", "/x")])
def test_no_traceback_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    @click.command("broken")
    def broken() -> None:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: broken)
    assert main(["broken"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("poppo-ipc: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


def test_what_is_not_there_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "shiny", Entry("_shiny", "Help", "Shine.", ("no_such_package",), "shiny"))
    assert main(["shiny", "--with", "anything"]) == 1
    assert capsys.readouterr().err == ("poppo-ipc: shiny needs no_such_package; run: pip install 'poppo-ipc[shiny]'\n")


def test_without_click_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    assert main(["--version"]) == 1
    assert capsys.readouterr().err == ("poppo-ipc: the command line needs click; run: pip install 'poppo-ipc[cli]'\n")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("There is no task x"), ExitCode.FAILED),
        (errors.CommandError("OF_MY_OWN", "No"), ExitCode.FAILED),
        (errors.InternalError("Internal error", {"ref": "r1"}), ExitCode.FAILED),
        (errors.OutcomeUnknown("It may have run"), ExitCode.FAILED),
        (errors.UnknownCommand("Unknown command: x", {"suggestions": ["y"]}), ExitCode.USAGE),
        (errors.InvalidArgs("No", {}), ExitCode.USAGE),
        (errors.AddressError("x is none: write it"), ExitCode.USAGE),
        (errors.ConnectFailed("No daemon listens at x: start the daemon"), ExitCode.NOT_CONNECTED),
        (errors.ConnectionLost("The server closed the connection"), ExitCode.NOT_CONNECTED),
        (errors.VersionMismatch("1 and 2"), ExitCode.NOT_CONNECTED),
        (errors.AuthenticationError("No"), ExitCode.NOT_AUTHENTICATED),
        (errors.AuthRequired("Authentication required"), ExitCode.NOT_AUTHENTICATED),
        (errors.CallTimeout("Too late"), ExitCode.TIMED_OUT),
    ],
)
def test_each_error_has_its_exit_code_and_says_what_to_do(error: errors.PoppoError, code: ExitCode) -> None:
    failure = failure_of(error)
    assert failure.exit_code == code
    assert failure.todo
    text = failure.format_message()
    assert text.endswith(".")
    assert "\n" not in text


def test_a_failure_is_one_line() -> None:
    assert Failure("It\nfailed", "try  again").format_message() == "It failed. try again."


def test_the_reference_of_an_internal_error_is_told() -> None:
    assert "r1" in failure_of(errors.InternalError("Internal error", {"ref": "r1"})).todo
