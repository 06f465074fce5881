"""The program as a whole: nothing heavy on the way to an answer, no traceback whatever happens."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import poppo_ipc
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
        (errors.AddressError("x is none", remedy="write it"), ExitCode.USAGE),
        (errors.AddressError("x is none"), ExitCode.USAGE),
        (errors.ConnectFailed("No daemon listens at x", remedy="start the daemon"), ExitCode.NOT_CONNECTED),
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


DOCTOR = "Run poppo-ipc doctor to see where it hangs."
Reason = errors.ConnectFailed.Reason


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            errors.ConnectFailed("Nobody is there", remedy="see to it", reason=Reason.ABSENT),
            "Nobody is there. Start it with poppo-ipc start, or name the socket of one that runs with --socket or "
            "POPPO_SOCKET.",
        ),
        (errors.ConnectFailed("No daemon listens: so it seems"), f"No daemon listens: so it seems. {DOCTOR}"),
        (
            errors.ConnectFailed("Could not connect: Too many open files"),
            f"Could not connect: Too many open files. {DOCTOR}",
        ),
        (errors.ConnectFailed("x: is no socket", remedy="take: another"), "x: is no socket. Take: another."),
        (errors.AddressError("x: is none", remedy="write it"), "x: is none. Write it."),
        (
            errors.ConnectionLost("It broke; try again", remedy="try again"),
            "It broke; try again. Ask again; if that does not help: run poppo-ipc doctor to see where it hangs.",
        ),
        (
            errors.AuthenticationError("The file is odd", remedy="see to it", token_file="x"),
            "The file is odd. Name the daemon's token file with --token-file.",
        ),
        (
            errors.AuthenticationError("The server wants no token file"),
            "The server wants no token file. Set POPPO_TOKEN, or name the daemon's token file with --token-file or "
            "POPPO_TOKEN_FILE.",
        ),
        (
            errors.Unavailable("The disk is full. Free some space", {"reason": "disk-full"}),
            "The disk is full. Free some space.",
        ),
        (errors.Unavailable("The disk is full", {"reason": "disk-full"}), "The disk is full."),
    ],
)
def test_what_to_do_is_told_by_what_an_error_is_and_not_by_its_words(error: errors.PoppoError, text: str) -> None:
    assert failure_of(error).format_message() == text


def test_no_two_errors_share_a_code() -> None:
    """`START_FAILED` was once that of a client's error, and of the daemon's own. A subclass may keep its parent's."""
    for module in pkgutil.walk_packages(poppo_ipc.__path__, "poppo_ipc."):
        # What is for other systems, or needs what is not installed, is looked at where that is.
        with contextlib.suppress(ImportError, AssertionError):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
    by_code: dict[str, list[type[errors.PoppoError]]] = {}
    for each in below(errors.PoppoError):
        if each.__module__.partition(".")[0] == "poppo_ipc":
            by_code.setdefault(each.code, []).append(each)
    assert {"START_FAILED", "SERVE_FAILED", "CONFIG_INVALID", "STORE_LOCKED"} <= set(by_code)
    for code, classes in by_code.items():
        assert any(all(issubclass(each, first) for each in classes) for first in classes), (code, classes)


def below(cls: type[errors.PoppoError]) -> set[type[errors.PoppoError]]:
    return {cls}.union(*map(below, cls.__subclasses__()))


def test_a_failure_is_one_line() -> None:
    assert Failure("It\nfailed", "try  again").format_message() == "It failed. try again."


def test_the_reference_of_an_internal_error_is_told() -> None:
    assert "r1" in failure_of(errors.InternalError("Internal error", {"ref": "r1"})).todo
