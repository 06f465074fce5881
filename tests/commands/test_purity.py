"""The package declares and converts: it loads no event loop and no socket."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from poppo_ipc import commands

FILES = sorted(pathlib.Path(commands.__file__).parent.rglob("*.py"))


def test_importing_it_loads_no_event_loop_and_no_socket() -> None:
    code = (
        "import sys, poppo_ipc.commands, poppo_ipc.commands.standard\n"
        "print(sorted({'trio', 'anyio', 'asyncio', 'socket', 'sqlite3', 'pytest'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.strip() == "[]"


def test_the_names_are_exported_in_both_ways() -> None:
    # Names with "@" are those of pytest, which rewrites the assertions of packages with a plugin.
    public = {name for name in vars(commands) if name[0] not in "_@" and name != "standard"}
    assert public == set(commands.__all__)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_files_stay_small(file: pathlib.Path) -> None:
    assert len(file.read_text().splitlines()) <= 400
