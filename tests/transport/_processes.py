"""Programs of their own, run from the tree, that tests talk to by lines."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def running(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the source `program`; it is killed at the end of the block if it still runs."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it writes; at its end all it said, in an error."""
    assert process.stdout is not None
    text = process.stdout.readline()
    assert text, f"it ended with {process.wait(10)}"
    assert not text.startswith("Traceback"), process.stdout.read()
    return text.rstrip("\n")


def tell(process: subprocess.Popen[str], text: str = "go") -> None:
    """Write it a line."""
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()
