"""Log lines on their way to the disk and the terminal, by a thread: neither may hold up the event loop.

Not `logging.handlers.QueueListener`: it cannot be stopped where its queue is full or its disk hangs.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any, Final, Protocol, TextIO

import structlog
from attrs import frozen

from poppo_ipc.transport._private import create_private_file

__all__ = ["FileSink", "LogWriter", "Sink", "TerminalSink", "WrittenLine"]


@frozen(eq=False)
class WrittenLine:
    """One log line, both ways."""

    entry: dict[str, Any]
    json: bytes


class Sink(Protocol):
    """Where lines go. Only the writer's thread calls it; what it raises costs the line and nothing else."""

    def write(self, line: WrittenLine) -> None:
        """Write one line; may block."""

    def close(self) -> None:
        """Write no more."""


class FileSink:
    """A file of JSON lines, for its owner alone, that is set aside when it is full.

    Args:
        path: the file; the directory must be there.
        size: bytes of one file.
        count: files that are kept beside the one that is written: `path.1` is the newest.

    Raises OSError where the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], size: int, count: int) -> None:
        self._handler = _PrivateFile(path, maxBytes=size, backupCount=count, encoding="utf-8", errors="replace")
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, line: WrittenLine) -> None:
        """Write one line and flush it."""
        self._handler.emit(logging.makeLogRecord({"msg": line.json.decode()}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _PrivateFile(logging.handlers.RotatingFileHandler):
    def _open(self) -> Any:
        # The handler's mode is one for text, so that lines would end otherwise on Windows.
        return open(
            self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, newline="\n", opener=_open_private
        )

    def doRollover(self) -> None:
        try:
            super().doRollover()
        except PermissionError:
            if sys.platform != "win32":
                raise
            # Somebody reads it, and Windows renames no file that is open. It grows until the next line finds it free.
            self.stream = self.stream or self._open()

    def handleError(self, record: logging.LogRecord) -> None:
        # To whoever wrote: the standard one prints to a terminal that may not be there.
        raise


def _open_private(path: str, flags: int) -> int:
    if sys.platform == "win32":
        with contextlib.suppress(FileExistsError):
            os.close(create_private_file(path))
        return os.open(path, flags & ~os.O_EXCL)
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


class TerminalSink:
    """Lines for people, with colours where the stream is a terminal."""

    def __init__(self, stream: TextIO | IO[str]) -> None:
        self._stream = stream
        self._render: Callable[..., str] = structlog.dev.ConsoleRenderer(colors=_is_terminal(stream))

    def write(self, line: WrittenLine) -> None:
        """Write one line and flush it."""
        entry = dict(line.entry)
        entry["event"] = entry.pop("message", "")
        self._stream.write(self._render(None, "", entry) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """The stream is not ours to close."""


def _is_terminal(stream: TextIO | IO[str]) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


_END: Final = None


class LogWriter:
    """Hands lines to sinks in a thread of its own; what does not fit its queue is dropped and counted.

    Args:
        sinks: where lines go.
        capacity: lines that may wait.
        notice: makes the line that tells how many lines were dropped, written once there is room again; called in
            the thread.
    """

    def __init__(self, sinks: Sequence[Sink], capacity: int, notice: Callable[[int], WrittenLine]) -> None:
        self._sinks = sinks
        self._queue: queue.Queue[WrittenLine | threading.Event | None] = queue.Queue(capacity)
        self._calm = capacity // 2
        self._notice = notice
        self._overflowed = 0
        self._failed = 0
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="poppo-log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were lost: there was no room for them, or a sink could not write them."""
        return self._overflowed + self._failed

    def offer(self, line: WrittenLine) -> None:
        """Queue a line. Never waits, never raises."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            # Called with the handler's lock held, so nothing is lost to another thread's counting.
            self._overflowed += 1

    def flush(self, timeout: float) -> bool:
        """Wait until all that was offered before is written, at most `timeout` seconds; whether it is. Blocks."""
        deadline = time.monotonic() + timeout
        done = threading.Event()
        try:
            self._queue.put(done, timeout=timeout)
        except queue.Full:
            return False
        return done.wait(max(0.0, deadline - time.monotonic()))

    def close(self, timeout: float) -> bool:
        """Write what is queued and end, in at most `timeout` seconds; whether all was written. Blocks.

        Where the disk hangs, the thread is left to itself.
        """
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(_END, timeout=timeout)
        except queue.Full:
            self._end_anyhow()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _end_anyhow(self) -> None:
        """In place of the line that has waited longest, so that the thread ends when its disk comes back."""
        with contextlib.suppress(queue.Empty, queue.Full):
            self._queue.get_nowait()
            self._overflowed += 1
            self._queue.put_nowait(_END)

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._write(item)
            # Not while lines are still being dropped: one notice for all of them.
            if self._queue.qsize() <= self._calm:
                self._tell_dropped()
        self._tell_dropped()
        for sink in self._sinks:
            try:
                sink.close()
            except Exception:
                self._failed += 1

    def _tell_dropped(self) -> None:
        dropped, self._told = self._overflowed - self._told, self._overflowed
        if dropped:
            self._write(self._notice(dropped))

    def _write(self, line: WrittenLine) -> None:
        for sink in self._sinks:
            try:
                sink.write(line)
            except Exception:
                # There is no one to tell: this is where errors are told.
                self._failed += 1
