"""What results look like to a person, and what may not reach a terminal."""

from __future__ import annotations

import io
import json
import sys

import pytest

from poppo_ipc.cli._plain import Style, bytes_text, cell, duration_text, render, render_item, table
from poppo_ipc.cli._printable import PrintedText
from poppo_ipc.cli._progress import Bar, progress_of
from poppo_ipc.cli._safe import safe, safe_json

PLAIN = Style()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 漢 🎉", "plain ä 漢 🎉"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("\u202eabc\u2066\u200b", "\\u202eabc\\u2066\\u200b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_left(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_json_made_safe_is_the_same_value() -> None:
    value = {"a\x9b": ["\x1b[2J", "\x7f\u202e", "ä"]}
    text = safe_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert safe(text) == text


def test_a_message_stands_alone() -> None:
    assert render({"message": "Done"}, PLAIN, 80) == "Done"


def test_a_counted_list_is_a_table() -> None:
    value = {"count": 2, "things": [{"id": "a", "n": 1}, {"id": "b", "extra": None}]}
    assert render(value, PLAIN, 80).splitlines() == ["id  n  extra", "a   1  -", "b   -  -"]
    assert render({"count": 0, "things": []}, PLAIN, 80) == "(none)"


def test_an_object_is_its_fields_with_trees_below() -> None:
    value = {"name": "x", "on": True, "deep": {"uptime": 90061, "rss": 3145728}, "args": ["a", "b"]}
    assert render(value, PLAIN, 80).splitlines() == [
        "name  x",
        "on    yes",
        "deep",
        "  uptime  1d 1h",
        "  rss     3.0 MiB",
        'args  ["a", "b"]',
    ]


def test_a_wide_table_cuts_its_widest_columns_and_no_id() -> None:
    rows = [["p-123456789012", "x" * 40, "y" * 10]]
    heading, row = table(rows, ["projectId", "text", "more"], PLAIN, 40)
    assert row == f"p-123456789012  {'x' * 11}…  {'y' * 10}"
    assert heading.split() == ["projectId", "text", "more"]


def test_wide_characters_take_two_columns() -> None:
    _, first, second = table([["漢字", "a"], ["abcd", "b"]], ["x", "y"], PLAIN, 80)
    assert (first, second) == ("漢字  a", "abcd  b")
    assert table([["漢字" * 10, "a"]], ["x", "y"], PLAIN, 13)[1] == "漢字漢字…   a"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (True, "yes"), (0.1234567891, "0.123457"), (2.0, "2"), ([], "-"), ({"a": 1}, '{"a": 1}')],
)
def test_values_in_one_line(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_times_and_sizes() -> None:
    assert [duration_text(seconds) for seconds in (0.4, 61, 3600, 200_000)] == ["0s", "1m 1s", "1h 0m", "2d 7h"]
    assert [bytes_text(count) for count in (5, 2048, 5 << 30)] == ["5 B", "2.0 KiB", "5.0 GiB"]


def test_states_have_colours_only_where_they_are_on() -> None:
    assert render_item({"status": "failed"}, Style(True)) == "\x1b[2mstatus=\x1b[0m\x1b[31mfailed\x1b[0m"
    assert render_item({"status": "failed"}, PLAIN) == "status=failed"


class TestPrintedText:
    """What a task prints, on a terminal."""

    def shown(self, *pieces: str, monkeypatch: pytest.MonkeyPatch, colours: bool = True) -> str:
        monkeypatch.setenv("TERM", "xterm" if colours else "dumb")
        monkeypatch.delenv("NO_COLOR", raising=False)
        if sys.platform == "win32":  # there is no console to ask
            monkeypatch.setattr("poppo_ipc._win32.console.knows_colours", lambda _: colours)
        stream = Terminal()
        printed = PrintedText(stream)
        for piece in pieces:
            printed.write(piece)
        printed.close()
        return stream.getvalue()

    def test_lines_and_colours_are_kept_and_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.shown("\x1b[31mred\x1b[0m\tx\n", monkeypatch=monkeypatch) == "\x1b[31mred\x1b[0m\tx\n\x1b[0m"
        assert self.shown("\x1b[31mred\n", monkeypatch=monkeypatch, colours=False) == "red\n"

    def test_all_else_is_written_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.shown("a\x1b]0;title\x07\x1b[2J", monkeypatch=monkeypatch) == "a\\x1b]0;title\\x07\\x1b[2J"

    def test_a_colour_in_two_pieces_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.shown("a\x1b[3", "1mb", monkeypatch=monkeypatch) == "a\x1b[31mb\x1b[0m"
        assert self.shown("a\x1b[3", monkeypatch=monkeypatch) == "a\\x1b[3"

    def test_a_line_cannot_be_written_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.shown("1%\r2%\r", "\n", monkeypatch=monkeypatch) == "1%\n2%\n"

    def test_in_a_pipe_it_is_as_it_was(self) -> None:
        stream = io.StringIO()
        PrintedText(stream).write("\x1b[2J\r")
        assert stream.getvalue() == "\x1b[2J\r"


class TestBar:
    """Progress, on a terminal."""

    def test_it_is_drawn_over_and_taken_away(self) -> None:
        stream = Terminal()
        bar = Bar(stream, after=0)
        bar.update({"done": 1, "total": 4, "message": "co\x1bpying"})
        bar.close()
        bar.close()
        assert stream.getvalue() == f"\r[{'#' * 6}{'.' * 18}]  25%  1/4  co\\x1bpying\x1b[K\r\x1b[K"

    def test_what_is_soon_over_has_none_and_what_is_no_terminal_neither(self) -> None:
        soon, pipe = Terminal(), io.StringIO()
        Bar(soon, after=1000).update({"done": 1})
        Bar(pipe, after=0).update({"done": 1})
        assert (soon.getvalue(), pipe.getvalue()) == ("", "")

    @pytest.mark.parametrize(
        ("item", "progress"),
        [
            ({"progress": {"done": 1}}, {"done": 1}),
            ({"progress": 1}, None),
            ({"progress": {}, "x": 1}, None),
            (1, None),
        ],
    )
    def test_which_items_tell_of_it(self, item: object, progress: object) -> None:
        assert progress_of(item) == progress
