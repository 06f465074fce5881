"""What a log line looks like, and what is never in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from poppo_ipc.cli._logs import log_to

TOKEN = 'a-"secret"-token-é'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings of logging, which belong to the whole process."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # Or `force=True` would close what pytest listens with.
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_records_of_logging_and_of_structlog_look_the_same() -> None:
    stream = io.StringIO()
    log_to(stream, level="info", as_json=True)
    logging.getLogger("one").warning("Session %s", "s1", extra={"session": "s1"})
    structlog.get_logger("two").warning("Session s1", session="s1")
    one, two = logged(stream)
    for entry in (one, two):
        assert entry.pop("timestamp").endswith("Z")
        entry.pop("logger")
    assert one == two == {"event": "Session s1", "level": "warning", "session": "s1"}


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    log_to(stream, level="warning", as_json=True)
    logging.getLogger("one").info("too low")
    structlog.get_logger("two").info("too low")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("colour", "variable"), [(True, ""), (False, "1")])
def test_a_terminal_gets_colours_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, colour: bool, variable: str
) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    stream = Terminal()
    log_to(stream, level="info", as_json=False)
    logging.getLogger("one").warning("Hello")
    assert ("\x1b[" in stream.getvalue()) is colour
    assert "Hello" in stream.getvalue()


def raise_with(token: str) -> None:
    raise ValueError(f"bad: {token}")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_token_is_in_no_field_no_text_and_no_traceback(as_json: bool) -> None:
    stream = io.StringIO()
    log_to(stream, level="info", as_json=as_json).mask(TOKEN)
    log = logging.getLogger("one")
    log.warning("It is %s", TOKEN, extra={"headers": {"authorization": TOKEN}})
    try:
        raise_with(TOKEN)
    except ValueError:
        log.exception("Failed")
    text = stream.getvalue()
    assert text.count("[token]") == 3
    assert "ValueError" in text
    for form in (TOKEN, json.dumps(TOKEN)[1:-1], json.dumps(TOKEN, ensure_ascii=False)[1:-1]):
        assert form not in text
