"""Output that goes on for long: whoever reads it slowly, or no more, holds up nothing but the output."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable
from typing import Any, Final

import trio

from poppo_ipc.cli._output import Output
from poppo_ipc.cli._stdout import nobody_reads

__all__ = ["LiveLines"]

#: Characters that wait for stdout, over which `room` waits.
_HELD: Final = 64 * 1024


class LiveLines:
    """Lines on their way to stdout. `output` takes them without waiting, `run` writes them, in a thread."""

    def __init__(self, *, as_json: bool | None) -> None:
        self._buffer = _Buffer(sys.stdout.isatty())
        self._changed = trio.Event()
        self._closed = False
        self.output = Output(as_json=as_json, stream=self._buffer)

    async def room(self) -> None:
        """Let it be written, and wait for as long as much waits already."""
        self._change()
        while self._buffer.tell() >= _HELD:
            await self._changed.wait()

    def close(self) -> None:
        """No more lines: `run` returns once all are written."""
        self._closed = True
        self._change()

    async def run(self) -> None:
        """Write until closed. Raises BrokenPipeError when nobody reads any more, also where there is nothing to write.

        Cancelled, it leaves at once, and what was not written is not.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_reader, sys.stdout.fileno())
            while True:
                text = self._buffer.take()
                if text:
                    self._change()
                    await trio.to_thread.run_sync(_write, text, abandon_on_cancel=True)
                elif self._closed:
                    break
                else:
                    await self._changed.wait()
            nursery.cancel_scope.cancel()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class _Buffer(io.StringIO):
    """Holds what is written; a terminal where stdout is one."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        return sys.stdout.fileno()  # Windows is asked whether this console shows colours

    def take(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def _write(text: str) -> None:
    # Not through sys.stdout: a thread that hangs in there holds its lock, and the program could not end.
    data = memoryview(text.encode(sys.stdout.encoding, "backslashreplace"))
    write = _writer()
    while data:
        try:
            data = data[write(data) :]
        except OSError as error:
            if nobody_reads(error):
                raise BrokenPipeError from error
            raise


def _writer() -> Callable[[memoryview], int]:
    if sys.platform == "win32" and sys.stdout.isatty():
        raw: Any = sys.stdout.buffer
        return raw.raw.write  # type: ignore[no-any-return]  # a console takes text, and this makes it of UTF-8
    descriptor = sys.stdout.fileno()
    return lambda data: os.write(descriptor, data)


async def _watch_reader(fd: int) -> None:
    """Raise BrokenPipeError once nobody reads the pipe any more; else, and where that cannot be told, never return."""
    if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(fd).st_mode):
        # The end of a pipe that is written to is ready to read only once it is broken.
        await trio.lowlevel.wait_readable(fd)
        raise BrokenPipeError
    await trio.sleep_forever()
