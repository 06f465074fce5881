"""Addresses of the kind that the platform itself has: a Unix socket, or on Windows a named pipe."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What such addresses begin with.
NATIVE = "npipe" if sys.platform == "win32" else "unix"


@contextmanager
def short_directory() -> Iterator[Path]:
    """A private directory whose path leaves room for a socket's name; pytest's own are too long for that."""
    directory = None if sys.platform == "win32" else "/tmp"
    with tempfile.TemporaryDirectory(prefix="p", dir=directory) as name:
        yield Path(name)


@contextmanager
def native_address() -> Iterator[str]:
    """An address that nobody has used; what it leaves in the file system goes with the block."""
    if sys.platform == "win32":
        yield f"npipe:poppo-test-{os.urandom(8).hex()}"
    else:
        with short_directory() as directory:
            yield f"unix:{directory}/s"
