"""The command line as a function."""

from __future__ import annotations

import subprocess
import sys

import pytest

from poppo_ipc import __version__
from poppo_ipc.cli import main

from .processes import environment


@pytest.mark.parametrize(("command", "needs"), [("serve", "structlog"), ("demo", "rich")])
def test_what_is_not_installed_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, needs: str
) -> None:
    monkeypatch.setitem(sys.modules, needs, None)
    assert main([command]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"poppo-ipc: {command} needs {needs}; run: pip install 'poppo-ipc[cli]'\n"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"poppo-ipc {__version__}\n"


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help")])
def test_help_loads_no_event_loop(arguments: tuple[str, ...]) -> None:
    script = (
        "import sys\n"
        "from poppo_ipc.cli import main\n"
        "main(sys.argv[1:])\n"
        "print(sorted({'trio', 'anyio', 'rich', 'structlog', 'sqlite3'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=environment(), check=True
    )
    assert ran.stdout.startswith("Usage: poppo-ipc")
    assert ran.stderr.strip() == "[]"
