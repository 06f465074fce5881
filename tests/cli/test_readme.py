"""The README is true where a program can tell: its code runs, its tables are those of the code."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

import poppo_ipc
import poppo_ipc.daemon
import poppo_ipc.testing
from poppo_ipc import Limits, Overflow, PoppoError, SyncClient, TokenFileError, errors, generate_token
from poppo_ipc.cli._flags import default_of, summary_of
from poppo_ipc.commands.standard import STANDARD_COMMANDS, STANDARD_EVENTS
from poppo_ipc.daemon._config_model import keys

from .processes import Program, at, run

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = {
    found[1]: found[0] for found in re.findall(r"```python\n(# (\w+)\.py\n.*?)```", README, re.DOTALL)
}  # each block says in its first line what it is


@pytest.fixture
def settings(place: Path) -> dict[str, str]:
    return {"POPPO_SOCKET": at(place / "sock"), "POPPO_TOKEN": generate_token()}


@pytest.fixture
def greeter(place: Path, settings: dict[str, str]) -> Iterator[Program]:
    """The README's daemon, up and running."""
    program = place / "daemon.py"
    program.write_text(BLOCKS["daemon"])
    with Program(sys.executable, program, env=settings) as daemon:
        with SyncClient(settings["POPPO_SOCKET"], token=settings["POPPO_TOKEN"], retry_initial=True):
            pass
        yield daemon


def test_each_block_of_python_is_run() -> None:
    assert list(BLOCKS) == ["daemon", "sync", "listen", "own", "submit", "bring", "blog", "test_cli", "test_record"]
    assert README.count("```python") == len(BLOCKS)


@pytest.mark.parametrize(
    ("block", "says"),
    [("sync", "Hello, Ada!"), ("listen", "Hello, Grace!\nsomebody.greeted {'name': 'Grace'}")],
)
def test_its_clients_talk_to_its_daemon(
    place: Path, settings: dict[str, str], greeter: Program, block: str, says: str
) -> None:
    program = place / f"{block}.py"
    program.write_text(BLOCKS[block])
    assert run(sys.executable, program, env=settings) == (0, says)


def test_the_daemon_has_ten_lines_and_the_client_three() -> None:
    def lines(block: str) -> int:
        return sum(bool(line.strip()) for line in BLOCKS[block].splitlines()[1:])

    assert lines("daemon") <= 10
    assert lines("sync") == 3
    assert lines("own") <= 30


def test_a_daemon_of_your_own_runs_tasks(place: Path, settings: dict[str, str]) -> None:
    for block in ("own", "submit"):
        (place / f"{block}.py").write_text(BLOCKS[block])
    environ = {"POPPO_SOCKET": settings["POPPO_SOCKET"], "POPPO_STATE_DIR": str(place / "state"), "POPPO_WORKERS": "1"}
    with Program(sys.executable, place / "own.py", env=environ):
        with SyncClient(settings["POPPO_SOCKET"], token=None, retry_initial=True):
            pass
        code, said = run(sys.executable, place / "submit.py", env=environ)
    assert (code, said) == (0, "Album summer is made\nresizing a.jpg\n{'path': 'a.jpg', 'width': 100}")


def test_the_table_of_limits_is_that_of_the_code() -> None:
    table = README[README.index("## Limits") : README.index("## Errors")]
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([^ |]+) \|", table, re.MULTILINE))
    limits = Limits()
    real = {field.name: getattr(limits, field.name) for field in attrs.fields(Limits)}
    shown = {name: value.value if isinstance(value, Overflow) else f"{value:g}" for name, value in real.items()}
    shown |= {name: str(value) for name, value in real.items() if isinstance(value, int)}
    assert rows == shown


def test_the_table_of_settings_is_that_of_the_code() -> None:
    table = README[README.index("### Settings") : README.index("### Commands")]
    rows = re.findall(r"^\| `(.+?)` \| (.*?) \| (.*?) \| (.*?) \|$", table, re.MULTILINE)
    assert rows == [
        (key.path, default_of(key), "yes" if key.reload else "", summary_of(key)) for key in keys().values()
    ]


def test_the_tables_of_commands_and_events_are_those_of_the_code() -> None:
    table = README[README.index("### Commands") : README.index("## The command line")]
    rows = re.findall(r"^\| `(.+?)` \| (.*?) \| (.*?) \|$", table, re.MULTILINE)
    assert [(name, summary) for name, _, summary in rows] == sorted(
        (spec.name, spec.summary) for spec in STANDARD_COMMANDS
    )
    events = re.findall(r"`([a-z.-]+)`", table[table.index("Events:") :])
    assert events == sorted(event.name for event in STANDARD_EVENTS)


def test_a_program_brings_its_daemon_along(
    place: Path, settings: dict[str, str], no_leftovers: Callable[[], list[int]]
) -> None:
    for block in ("daemon", "bring"):
        (place / f"{block}.py").write_text(BLOCKS[block])
    assert run(sys.executable, place / "bring.py", env=settings) == (0, "Hello, Ada!")
    with SyncClient(settings["POPPO_SOCKET"], token=settings["POPPO_TOKEN"]) as client:
        assert client.call("greet", name="Grace") == "Hello, Grace!"


def test_its_tests_of_a_program_pass_and_are_played_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in ("blog", "test_cli", "test_record"):
        (place / f"{block}.py").write_text(BLOCKS[block])
    monkeypatch.chdir(place)
    (place / "pytest.ini").write_text("[pytest]\n")
    for mode in ("once", "none"):
        code, output = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", env={"POPPO_RECORD": mode})
        assert (code, "3 passed" in output) == (0, True), output


def test_the_table_of_errors_has_every_code_and_class() -> None:
    table = README[README.index("| code | class |") : README.index("The programs exit")]
    classes = [getattr(errors, name) for name in errors.__all__] + [TokenFileError]
    told = set(re.findall(r"`(\w+)`", table))
    # The bases have no row: nothing is raised as one of them. The kinds of ProtocolError are told by their codes.
    rows = [error for error in classes if error not in (PoppoError, errors.CommandError)]
    assert {error.code for error in rows} == {name for name in told if name.isupper()}
    kinds: set[type[PoppoError]] = {errors.LocalProtocolError, errors.RemoteProtocolError}
    assert {error.__name__ for error in rows if error not in kinds} <= told


def test_names_in_the_readme_exist() -> None:
    called = set(re.findall(r"`([A-Z][A-Za-z]+)(?:\.|`|\()", README))
    assert {name for name in called if not name.isupper()} <= {
        *poppo_ipc.__all__,
        *dir(poppo_ipc.daemon),
        *dir(poppo_ipc.testing),
    }
