"""What the tests of claims share."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from poppo_ipc.transport._claim import Claim

ROOT = Path(__file__).parents[2]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@contextmanager
def claimed(path: Path | str) -> Iterator[Claim]:
    claim = Claim.take(os.fspath(path), 16)
    try:
        yield claim
    finally:
        close(claim)


def close(claim: Claim) -> None:
    claim.unlink()
    claim.sock.close()
    claim.release()


def run(program: str, *args: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, **options)


def plain_server(path: Path, backlog: int = 8) -> socket.socket:
    """What a server without a lock does."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(path))
    sock.listen(backlog)
    return sock


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)
