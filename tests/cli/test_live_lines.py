"""What is written while nobody may read: see also test_events.py, where programs do it."""

from __future__ import annotations

import sys

import pytest

from poppo_ipc.cli._live_lines import LiveLines


class Console:
    """Stdout that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


def test_it_stands_for_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows is asked by the descriptor whether a console shows colours."""
    monkeypatch.setattr(sys, "stdout", Console())
    output = LiveLines(as_json=None).output
    assert output.for_person
    assert output._stream.fileno() == 1
