"""`token`: made for its owner alone, shown to nobody unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from poppo_ipc.transport._private import why_not_private

from .processes import at
from .program import Shell


@pytest.fixture
def shell(place: Path) -> Shell:
    return Shell({"POPPO_STATE_DIR": str(place / "state"), "POPPO_SOCKET": at(place / "sock")})


def test_a_new_one_is_in_a_file_of_its_owner_and_not_printed(shell: Shell, place: Path) -> None:
    file = place / "state" / "token"
    assert shell.ask("token", "new").json == {"path": str(file)}
    assert why_not_private(str(file)) is None
    token = file.read_text()
    shown = shell.ask("token", "show")
    assert (shown.code, shown.out, shown.err) == (0, token, "")


def test_on_a_terminal_it_is_not_shown_either(shell: Shell, place: Path) -> None:
    shown = shell.shown("token", "new", place / "other")
    assert (place / "other").read_text().strip() not in shown


def test_one_that_is_there_is_kept_unless_it_is_said(shell: Shell, place: Path) -> None:
    shell.run("token", "new", place / "mine")
    before = (place / "mine").read_text()
    refused = shell.ask("token", "new", place / "mine")
    assert (refused.code, (place / "mine").read_text()) == (1, before)
    assert "--force" in refused.err
    assert shell.ask("token", "new", place / "mine", "--force").code == 0
    assert (place / "mine").read_text() != before


def test_where_it_comes_from(shell: Shell, place: Path) -> None:
    assert shell.ask("token", "show").code == 4
    shell.ask("token", "new")
    shell.ask("token", "new", place / "file")
    assert shell.ask("token", "show", "--json").json["source"] == str(place / "state" / "token")
    by_variable = shell.ask("token", "show", "--json", env={"POPPO_TOKEN_FILE": str(place / "file")}).json
    assert by_variable == {
        "token": (place / "file").read_text().strip(),
        "source": f"{place / 'file'} (POPPO_TOKEN_FILE)",
    }
    assert shell.ask("token", "show", env={"POPPO_TOKEN": "t"}).out == "t\n"
    named = shell.ask("token", "show", "--token-file", place / "file", env={"POPPO_TOKEN": "t"})
    assert named.out == (place / "file").read_text()
