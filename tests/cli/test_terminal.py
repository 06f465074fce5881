"""What a person sees in a terminal: colours or none, nothing that the daemon's data could do to it."""

from __future__ import annotations

import pytest

from .program import Shell


def test_colours_are_on_in_a_terminal(served: Shell) -> None:
    assert "\x1b[1mdaemon\x1b[0m" in served.shown("status")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_off_where_they_are_not_wanted(served: Shell, env: dict[str, str]) -> None:
    assert "\x1b" not in served.shown("status", env=env)


def test_an_empty_no_color_says_nothing(served: Shell) -> None:
    assert "\x1b[1m" in served.shown("status", env={"NO_COLOR": ""})


@pytest.mark.parametrize(
    "arguments", [("call", "evil"), ("call", "evil", "--json"), ("commands",), ("commands", "evil")]
)
def test_the_data_of_a_daemon_does_nothing_to_it(talking: Shell, arguments: tuple[str, ...]) -> None:
    shown = talking.shown(*arguments, env={"NO_COLOR": "1"})
    assert shown.strip()
    assert all(character == "\n" or character.isprintable() for character in shown)
    assert "Traceback" not in shown


def test_json_is_set_for_reading_in_a_terminal(talking: Shell) -> None:
    assert '{\r\n  "text": "a",' in talking.shown("call", "echo", "--text", "a", "--json").replace("\n", "\r\n")


def test_progress_is_no_item_in_a_terminal(talking: Shell) -> None:
    assert talking.shown("call", "count", "--to", "2", env={"NO_COLOR": "1"}) == "number=0\nnumber=1\n"
