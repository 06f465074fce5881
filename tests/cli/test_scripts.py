"""The scripts, with an interpreter that only writes down what it is asked for: no environment is really made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Makes "environments" whose interpreter is itself, and fails where it is told to.
INTERPRETER = """#!/bin/sh
printf '%s\\n' "$*" >>"$ASKED"
case "$*" in
    *"$FAILING"*) exit 3 ;;
    "-c "*) echo "an interpreter" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && : >"$3/pyvenv.cfg" ;;
esac
"""


class Tree:
    """A copy of the scripts, at a path with spaces."""

    def __init__(self, place: Path) -> None:
        self.root = place / "a tree"
        self.elsewhere = place / "else where"
        self.elsewhere.mkdir()
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        shutil.copytree(ROOT / ".ci", self.root / ".ci")
        (self.root / "pyproject.toml").write_text("one")
        self.interpreter = place / "an interpreter"
        self.interpreter.write_text(INTERPRETER)
        self.interpreter.chmod(0o755)
        self._asked = place / "asked"

    def run(self, script: str, *arguments: str, shell: str = "sh", failing: str = "-never-") -> tuple[int, list[str]]:
        """Run a script from somewhere else; gives the exit code and what was asked of the interpreter but `-c`."""
        self._asked.write_text("")
        env = {**os.environ, "PYTHON": str(self.interpreter), "ASKED": str(self._asked), "FAILING": failing}
        ran = subprocess.run(
            [shell, self.root / script, *arguments],
            cwd=self.elsewhere,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ran.stdout
        asked = self._asked.read_text().splitlines()
        return ran.returncode, [line for line in asked if not line.startswith("-c ")]

    def made(self, extra: str) -> list[str]:
        return [f"-m venv {self.root}/.venv", self.installed(extra)]

    def installed(self, extra: str) -> str:
        return f"-m pip install --quiet --disable-pip-version-check -e .[{extra}]"


@pytest.fixture
def tree(place: Path) -> Tree:
    return Tree(place)


@pytest.mark.parametrize(
    ("script", "asks"), [("demo", "-m poppo_ipc demo --plain"), ("test", "-m pytest -n 2 --plain")]
)
def test_the_environment_is_made_once(tree: Tree, script: str, asks: str) -> None:
    assert tree.run(f"scripts/{script}", "--plain") == (0, [*tree.made("test"), asks])
    assert tree.run(f"scripts/{script}", "--plain") == (0, [asks])


def test_the_soak_runs_the_kill_test(tree: Tree) -> None:
    asks = "-m pytest tests/daemon/whole/test_killing.py"
    assert tree.run("scripts/soak-kill", "7", "3") == (0, [*tree.made("test"), asks])


def test_it_is_made_anew_when_something_it_is_made_from_has_changed(tree: Tree) -> None:
    tree.run("scripts/test")
    (tree.root / "pyproject.toml").write_text("two")
    assert tree.run("scripts/test") == (0, [*tree.made("test"), "-m pytest -n 2"])
    text = INTERPRETER.replace("an interpreter", "another interpreter")
    tree.interpreter.write_text(text)
    assert tree.run("scripts/test") == (0, [*tree.made("test"), "-m pytest -n 2"])


def test_what_the_checks_need_is_added_and_is_enough_for_the_tests(tree: Tree) -> None:
    tree.run("scripts/test")
    code, asked = tree.run("scripts/check")
    assert code == 0
    assert asked[:3] == [tree.installed("dev"), "-m ruff check .", "-m ruff format --check ."]
    assert sorted(asked[3:]) == sorted(MYPY)  # they run at once
    assert tree.run("scripts/test") == (0, ["-m pytest -n 2"])


def test_an_environment_that_was_not_finished_is_made_anew(tree: Tree) -> None:
    code, _ = tree.run("scripts/test", failing="pip install")
    assert code == 1
    assert tree.run("scripts/test") == (0, [*tree.made("test"), "-m pytest -n 2"])


def test_what_is_no_environment_is_left_alone(tree: Tree) -> None:
    (tree.root / ".venv").mkdir()
    (tree.root / ".venv" / "mine").write_text("")
    assert tree.run("scripts/test") == (1, [])
    assert (tree.root / ".venv" / "mine").exists()


@pytest.mark.parametrize(
    ("script", "failing", "code"),
    [
        ("test", "-m pytest", 3),
        ("demo", "-m poppo_ipc", 3),
        ("check", "-m ruff check", 1),
        ("check", "ruff format", 1),
        ("check", "-m mypy", 1),
    ],
)
def test_a_failure_is_the_exit_code(tree: Tree, script: str, failing: str, code: int) -> None:
    assert tree.run(f"scripts/{script}", failing=failing)[0] == code


def test_an_interpreter_that_is_too_old_is_told(tree: Tree) -> None:
    assert tree.run("scripts/test", failing="-c ") == (1, [])
    assert "Python 3.11 or newer is needed" in tree.output


MYPY = {
    f"-m mypy --platform {platform} --cache-dir .mypy_cache/{platform}" for platform in ("linux", "darwin", "win32")
}
CLOSING = "===== 1 failed, 22 passed, 3 subtests passed in 1.50s (0:00:01) ====="


@pytest.mark.parametrize("failing", ["-never-", "-m pytest", "-m mypy", "-m poppo_ipc"])
def test_ci_runs_everything_and_ends_with_the_closing_line_of_pytest(tree: Tree, failing: str) -> None:
    speaking = INTERPRETER.replace("case ", f'[ "$2" != pytest ] || echo "{CLOSING}"\ncase ', 1)
    tree.interpreter.write_text(speaking)
    # The Windows of this tree has no place in another: that it is asked for is all that is seen here.
    (tree.root / "scripts" / "test-windows").write_text('printf "windows %s.\\n" "$*" >>"$ASKED"\n')
    code, asked = tree.run(".ci/run", shell="bash", failing=failing)
    assert code == (0 if failing == "-never-" else 1)
    asked = [line for line in asked if "venv" not in line and "pip" not in line]
    assert sorted(line for line in asked if line in MYPY) == sorted(MYPY)
    assert [line for line in asked if line not in MYPY] == [
        "-m pytest -n 2", "-m ruff check .", "-m ruff format --check .", "-m poppo_ipc demo --plain", "windows .",
    ]  # fmt: skip
    assert tree.output.splitlines()[-1] == CLOSING


def test_ci_fails_where_pytest_says_nothing(tree: Tree) -> None:
    assert tree.run(".ci/run", shell="bash")[0] == 1
    assert "pytest printed no closing line" in tree.output
