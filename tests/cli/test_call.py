"""`call`, as a process: the flags of the daemon's own description, its answers, streams and exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rights import REMEDY, open_to_everyone

from poppo_ipc import SyncClient

from .original import Original
from .processes import KIND, PATIENCE, at, environment, told
from .program import PROGRAM, Shell


def test_a_command_without_arguments_is_answered_as_json(served: Shell) -> None:
    assert served.run("call", "daemon.status").json["status"] == "running"


def test_flags_have_the_types_of_the_description(talking: Shell) -> None:
    given = ["--text", "5", "--times", "2", "--ratio=0.5", "--loud", "--colour", "red", "--tags", "a", "--tags", "b"]
    given += ["--paint.colour", "green", "--paint.coats", "3", "--anything", '{"a": [1]}', "--socket-name", "s"]
    assert talking.ask("call", "echo", *given).json == {
        "text": "5", "times": 2, "ratio": 0.5, "loud": True, "colour": "red", "tags": ["a", "b"],
        "paint": {"colour": "green", "coats": 3}, "anything": {"a": [1]}, "socketName": "s",
    }  # fmt: skip


def test_all_arguments_as_one_object_with_flags_laid_over_it(talking: Shell) -> None:
    answer = talking.ask("call", "echo", "--args", '{"text": "a", "times": 2}', "--times", "3", "--no-loud").json
    assert (answer["text"], answer["times"], answer["loud"]) == ("a", 3, False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("echo", "--text", "a", "--tmes", "3"), "echo has no argument --tmes. Did you mean --times"),
        (("echo", "--text", "a", "--times", "x"), "--times takes integer, not 'x'."),
        (("echo", "--text", "a", "--colour", "gren"), "--colour is one of green, red, not 'gren'. Did you mean green?"),
        (("echo",), "echo needs --text."),
        (("echo", "--text"), "--text needs a value (text)."),
        (("echo", "a"), "'a' stands alone, and arguments are given by name."),
        (("ehco",), "The daemon has no command 'ehco'. Did you mean echo?"),
        (("echo", "--args", "["), "--args is no JSON"),
        (("echo", "--args", "[]"), "--args has to be a JSON object."),
    ],
)
def test_wrong_usage_is_told_with_what_may_have_been_meant(
    talking: Shell, arguments: tuple[str, ...], says: str
) -> None:
    ran = talking.ask("call", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"poppo-ipc: {says}")
    assert ran.err.count("\n") == 1


def test_the_help_of_a_command_is_its_description(served: Shell) -> None:
    ran = served.ask("call", "project.add", "--help")
    assert ran.code == 0
    assert "Usage: poppo-ipc call project.add --path TEXT [--name TEXT] [--config OBJECT]" in ran.out
    assert "Add a project." in ran.out
    assert "--path    text    The project's directory. Required." in ran.out


def test_its_own_help_needs_no_daemon(place: Path) -> None:
    ran = Shell({"POPPO_SOCKET": at(place / "none")}).ask("call", "--help")
    assert ran.code == 0
    assert "Usage: poppo-ipc call [OPTIONS] COMMAND [--NAME VALUE]..." in ran.out


def test_a_stream_is_a_line_for_each_item(talking: Shell) -> None:
    ran = talking.ask("call", "count", "--to", "2")
    assert ran.code == 0
    assert [line["number"] for line in ran.lines if "number" in line] == [0, 1]
    assert [line["progress"]["done"] for line in ran.lines if "progress" in line] == [0, 1]


@pytest.mark.parametrize(
    ("code", "exits"),
    [
        ("NOT_FOUND", 1),
        ("CONFLICT", 1),
        ("OF_MY_OWN", 1),
        ("INVALID_ARGS", 2),
        ("AUTH_FAILED", 4),
        ("TIMEOUT", 5),
    ],
)
def test_what_a_command_fails_with_is_told_and_is_the_exit_code(talking: Shell, code: str, exits: int) -> None:
    ran = talking.ask("call", "fail", "--code", code)
    assert (ran.code, ran.out) == (exits, "")
    assert ran.err.startswith(f"poppo-ipc: It is a case of {code}. ")


def test_no_daemon_is_3(place: Path) -> None:
    ran = Shell({"POPPO_SOCKET": at(place / "none")}).run("call", "daemon.status")
    assert ran.code == 3
    assert ran.err == (
        f"poppo-ipc: No daemon listens at {told(place / 'none')}, there is no such {KIND}. Start it with poppo-ipc "
        "start, or name the socket of one that runs with --socket or POPPO_SOCKET.\n"
    )
    assert list(place.iterdir()) == []


def test_a_wrong_token_is_4_and_no_token_is_too(served: Shell, place: Path) -> None:
    wrong = served.ask("call", "daemon.status", env={"POPPO_TOKEN": "wrong"})
    none = served.ask("call", "daemon.status", env={"POPPO_STATE_DIR": str(place)})
    for ran in (wrong, none):
        assert (ran.code, ran.out) == (4, "")
        assert "Set POPPO_TOKEN, or name the daemon's token file" in ran.err


def test_a_token_is_no_option(served: Shell) -> None:
    assert served.ask("call", "--token", "secret", "daemon.status").code == 2


def test_the_token_file_may_be_named_before_and_after_the_command(served: Shell, place: Path) -> None:
    file = Path(served.env["POPPO_STATE_DIR"]) / "token"
    shell = Shell({"POPPO_STATE_DIR": str(place)})
    options = ("--socket", served.env["POPPO_SOCKET"], "--token-file", file)
    assert shell.ask(*options, "call", "daemon.status").code == 0
    assert shell.ask("call", "daemon.status", *options).code == 0
    (place / "open").write_text("x")
    open_to_everyone(place / "open")
    refused = shell.ask(*options[:2], "--token-file", place / "open", "status")
    assert refused.code == 4
    assert f"run: {REMEDY} " in refused.err


def test_an_answer_that_does_not_come_in_time_is_5(talking: Shell) -> None:
    ran = talking.ask("call", "hang", "--timeout", "0.2")
    assert (ran.code, ran.out) == (5, "")
    assert "--timeout" in ran.err


def test_a_daemon_that_does_not_greet_in_time_is_5(place: Path) -> None:
    with Original(place / "sock", {}, greets=False):
        ran = Shell({}).ask("--socket", at(place / "sock"), "--timeout", "0.2", "status")
    assert ran.code == 5
    assert ran.err.startswith("poppo-ipc: The daemon did not greet within 0.2 s.")


def test_ctrl_c_cancels_the_command_and_is_130(talking: Shell) -> None:
    with SyncClient(talking.env["POPPO_SOCKET"], token=None) as client:
        began = client.subscribe("hang.began", timeout=PATIENCE)
        running = subprocess.Popen(
            [*PROGRAM, "call", "hang"], env=environment(talking.env), stderr=subprocess.PIPE, text=True
        )
        assert next(iter(began))
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE)
        assert (running.returncode, err) == (130, "")
        assert client.call("cancelled", timeout=PATIENCE) is True


def test_a_reader_that_goes_away_is_no_failure_to_tell(talking: Shell) -> None:
    # Unbuffered, Python takes a piece that was written for the whole.
    env = environment({**talking.env, "PYTHONUNBUFFERED": ""})
    command = [*PROGRAM, "call", "large"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        assert ran.stdout.read(1) == b"["
        ran.stdout.close()
        assert ran.wait(PATIENCE) == 141
        assert ran.stderr.read() == b""


class TestOriginal:
    """A server that has no `ipc.describe`."""

    def test_arguments_are_taken_as_they_are_given(self, place: Path) -> None:
        with Original(place / "sock", {"build": {"done": True}}) as server:
            shell = Shell({"POPPO_SOCKET": at(place / "sock")})
            given = ["--retries", "3", "--name", "a b", "--deep.er", "[1]", "--force", "--id=007"]
            assert shell.ask("call", "build", *given).json == {"done": True}
        args = {"retries": 3, "name": "a b", "deep": {"er": [1]}, "force": True, "id": "007"}
        assert server.asked == [("build", args)]

    def test_an_unknown_command_fails_as_the_server_says(self, place: Path) -> None:
        with Original(place / "sock", {}):
            ran = Shell({"POPPO_SOCKET": at(place / "sock")}).ask("call", "nope")
        assert ran.code == 1
        assert ran.err.startswith("poppo-ipc: Unknown command: nope.")

    def test_help_and_the_list_say_that_it_does_not_tell(self, place: Path) -> None:
        with Original(place / "sock", {}):
            shell = Shell({"POPPO_SOCKET": at(place / "sock")})
            assert "does not describe its commands" in shell.ask("call", "nope", "--help").out
            ran = shell.ask("commands")
        assert ran.code == 1
        assert ran.err.startswith("poppo-ipc: This daemon does not describe its commands.")

    def test_short_forms_work(self, place: Path) -> None:
        answers: dict[str, Any] = {"daemon.status": {}, "logs.tail": {"lines": [{"message": "a"}, {"message": "b"}]}}
        answers |= {"status": {"daemon": {"status": "running"}}}
        with Original(place / "sock", answers, token="secret") as server:
            shell = Shell({"POPPO_SOCKET": at(place / "sock"), "POPPO_TOKEN": "secret"})
            assert shell.ask("status").json == answers["status"]
            assert shell.ask("logs", "-n", "2").lines == [{"message": "a"}, {"message": "b"}]
            assert shell.ask("logs", "-f").code == 2
            doctor = json.loads(shell.ask("doctor", "--json").out)
        assert ("logs.tail", {"lines": 2}) in server.asked
        assert "original" in str(doctor)
