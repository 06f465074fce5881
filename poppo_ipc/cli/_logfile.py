"""The daemon's log file, which is opened late: it lies in the state directory, and that may be another daemon's."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import Final

from poppo_ipc.daemon.monitoring._logwriter import FileSink, WrittenLine

__all__ = ["LateFile"]

_KEPT_LINES: Final = 1000
_FILE_BYTES: Final = 10 * 1024 * 1024
_FILES: Final = 5


class LateFile:
    """A sink of the log that keeps lines until its file is opened, and then writes them first. Safe in any thread."""

    def __init__(self) -> None:
        self._kept: deque[WrittenLine] = deque(maxlen=_KEPT_LINES)
        self._file: FileSink | None = None
        self._writing = threading.Lock()

    def open(self, path: Path) -> None:
        """Open the file, its directory made where there is none, for its owner alone. Blocks. Raises OSError."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = FileSink(path, _FILE_BYTES, _FILES)
        with self._writing:
            while self._kept:
                file.write(self._kept.popleft())
            self._file = file

    def write(self, line: WrittenLine) -> None:
        """Write one line, or keep it."""
        with self._writing:
            if self._file is None:
                self._kept.append(line)
            else:
                self._file.write(line)

    def close(self) -> None:
        """Write no more."""
        with self._writing:
            if self._file is not None:
                self._file.close()
