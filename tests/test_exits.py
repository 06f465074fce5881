"""How a process ended, in words; as told on every system."""

from __future__ import annotations

import pytest

from poppo_ipc._exits import KILLED, STOPPED, exit_text


@pytest.mark.parametrize(
    ("code", "platform", "text"),
    [
        (0, "linux", "exited with code 0"),
        (3, "darwin", "exited with code 3"),
        (-11, "linux", "killed by SIGSEGV"),
        (-200, "linux", "killed by signal 200"),
        (0, "win32", "exited with code 0"),
        (9, "win32", "exited with code 9"),
        (KILLED, "win32", "killed"),
        (STOPPED, "win32", "stopped by Ctrl-C"),
        (STOPPED - 2**32, "win32", "stopped by Ctrl-C"),
        (0xC0000005, "win32", "killed by an access violation (0xC0000005)"),
        (0xC0000135, "win32", "killed by a missing DLL (0xC0000135)"),
        (0xE06D7363, "win32", "killed by an exception (0xE06D7363)"),
    ],
)
def test_each_end_has_its_words(code: int, platform: str, text: str) -> None:
    assert exit_text(code, platform) == text
