"""The output of a command, in the worker: both streams read in the order in which they were written. Linux.

Two pipes do not tell in which order they were written to. Linux does, to who asks: a pipe whose reader wants signals
(`O_ASYNC` and `F_SETSIG`, fcntl(2)) sends one for each write; real-time signals are queued in the order in which they
were sent, and each names its pipe. So each write leaves a mark in one queue for both. What belongs to a mark is told
by packets (`O_DIRECT`, pipe(2)): a read gives what one write has put in, as long as that is a page or less; a longer
one is a row of full pages and a rest. What is written without packets, as by a program that opens /dev/stdout anew, or
in pieces longer than a page by one that fills the pipe, is in order as far as it was read before the next write.

The signals go to one thread alone, which has them blocked and reads them from a signalfd(2): neither the worker's main
thread nor the command knows of them.
"""

# ruff: noqa: E402 - the type checker stops at the platform check, so that comes before what others lack

from __future__ import annotations

import sys

assert sys.platform == "linux"

import contextlib
import fcntl
import os
import select
import signal
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from poppo_ipc.daemon.workers._platform_unix import pipe_level

__all__ = ["PAGE_BYTES", "Order", "Relay"]

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

_PIPE_BYTES: Final = 1024 * 1024
_READ_BYTES: Final = 65536
#: Bytes read that no mark has come for, as of a write that goes on: they are passed on, marked or not.
_UNMARKED_BYTES: Final = 1024 * 1024
#: Seconds that a mark may come after what it marks: the writer was stopped between the two.
_MARK_SECONDS: Final = 0.1
#: Looks for a moment without marks: a writer can put in hundreds before it has to wait.
_LOOKS: Final = 2000

_F_SETSIG: Final = 10
_F_SETOWN_EX: Final = 15
_F_OWNER_TID: Final = 0
_SFD_FLAGS: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_SIGNALFD_INFO: Final = 128
_SIGNAL_SET_BYTES: Final = 128


class Order:
    """Puts packets of two streams, each in order, into the order of the marks of both. No I/O."""

    def __init__(self) -> None:
        self._packets: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self._was_full = [False, False]

    def add(self, stream: int, packet: bytes) -> None:
        """A packet was read from a stream (0 or 1)."""
        self._packets[stream].append(packet)

    @property
    def waiting(self) -> int:
        """Bytes that no mark has come for."""
        return sum(len(packet) for packets in self._packets for packet in packets)

    def arrange(self, marks: list[int], full: Sequence[bool] = (False, False)) -> Iterator[tuple[int, bytes]]:
        """What the writes that left these marks have written; a mark is the number of a stream.

        A full page is the first of several packets of one write where there are more packets than marks. `full` tells
        which pipe had no more room: a write that waits for it has left a mark already.
        """
        waited = {place for stream in (0, 1) for place in self._waited(stream, marks, full[stream])}
        self._was_full = list(full)
        marks = [stream for place, stream in enumerate(marks) if place not in waited]
        left = [marks.count(0), marks.count(1)]
        for stream in marks:
            packets = self._packets[stream]
            more = len(packets) - left[stream]
            left[stream] -= 1
            if not packets:
                continue
            packet = packets.popleft()
            yield stream, packet
            while more > 0 and len(packet) == PAGE_BYTES:
                packet = packets.popleft()
                more -= 1
                yield stream, packet

    def _waited(self, stream: int, marks: list[int], full: bool) -> Iterator[int]:
        """The places of marks that a write of this stream left before it had put anything in."""
        packets = self._packets[stream]
        places = [place for place, marked in enumerate(marks) if marked == stream]
        goes_on = bool(packets) and len(packets[-1]) == PAGE_BYTES
        surplus = len(places) - sum(len(packet) < PAGE_BYTES for packet in packets) - goes_on
        if surplus > 0 and full and not goes_on:
            surplus -= 1
            yield places[-1]
        # It began to wait after the last look, in which the pipe was full, and its own mark follows.
        if surplus > 0 and self._was_full[stream] and places[1:2] == [places[0] + 1]:
            yield places[0]

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """All that waits, marked or not."""
        for stream, packets in enumerate(self._packets):
            while packets:
                yield stream, packets.popleft()


class Relay:
    """Two pipes for a command, and a thread that passes on what comes out of them.

    `pass_on(stream, data)` is called in that thread, in order, with 0 for stdout and 1 for stderr. To be used as a
    context manager around the command's whole run; its end passes on what is left.

    Raises:
        OSError: the system has no descriptors left, or nothing that tells the order.
    """

    def __init__(self, pass_on: Callable[[int, bytes], None]) -> None:
        self._pass_on = pass_on
        self._order = Order()
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None
        self._set_up = threading.Event()
        with contextlib.ExitStack() as undo:
            self._writer_ends = undo.enter_context(contextlib.ExitStack())
            pipes = [_open_pipe(undo, self._writer_ends) for _ in range(2)]
            self._readers = [reader for reader, _ in pipes]
            self.writers = [writer for _, writer in pipes]
            """The ends for the command: stdout's and stderr's."""
            self._aside = _open_pipe(undo, undo)
            self._packets_a_pipe = min(fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) for fd in self._readers) // PAGE_BYTES
            self._stop = os.eventfd(0, os.EFD_CLOEXEC)
            undo.callback(os.close, self._stop)
            self._undo = undo.pop_all()

    def __enter__(self) -> Relay:
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()
        self._set_up.wait()
        if self._failure is not None:
            self._thread.join()
            self._undo.close()
            raise self._failure
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._thread is not None
        self.close_writers()
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._undo.close()

    def close_writers(self) -> None:
        """Leave the writing ends to the command. Does nothing twice."""
        self._writer_ends.close()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with contextlib.closing(_Marks(self._readers)) as marks:
                self._set_up.set()
                self._relay(marks)
        except OSError as error:
            self._failure = error
        finally:
            self._set_up.set()

    def _relay(self, marks: _Marks) -> None:
        poll = select.poll()
        for fd in (self._stop, marks.fd, *self._readers):
            poll.register(fd, select.POLLIN)
        open_readers = set(self._readers)
        while True:
            waiting = self._order.waiting
            found = poll.poll(_MARK_SECONDS * 1000 if waiting else None)
            self._look(marks)
            if not found or self._order.waiting > _UNMARKED_BYTES:
                self._put_out(self._order.rest())
            for fd, event in found:
                if fd == self._stop:
                    self._put_out(self._order.rest())
                    return
                if fd in open_readers and event & select.POLLHUP:
                    # Whoever had the other end is gone, and what it wrote has just been read.
                    poll.unregister(fd)
                    open_readers.remove(fd)

    def _look(self, marks: _Marks) -> None:
        """Read marks and what they mark, and pass that on.

        A moment is looked for in which no mark comes: what is in the pipes then belongs to the marks that were read,
        but for a write that has not come to its mark yet. It comes soon, as a writer whose pipe is full has to wait.
        """
        found = marks.read()
        for _ in range(_LOOKS):
            levels = [pipe_level(fd) for fd in self._readers]
            new = marks.read()
            if not new:
                break
            found += new
        last = found[-1] if found else 0
        # A writer that waits for room waits for that of its last mark: it must not go on to the other one, full too.
        full = [False, False]
        for stream in (1 - last, last):
            full[stream] = self._read_packets(stream, levels[stream])
        if marks.lost:
            marks.lost = False
            self._put_out(self._order.rest())
        else:
            self._put_out(self._order.arrange(found, full))

    def _read_packets(self, stream: int, level: int) -> bool:
        """Read so many bytes, and no packet that was written after them; True where the pipe was full of them.

        They are moved into a pipe of this process at once: reading them one by one would let a writer that waits for
        room go on in the middle of it, and wait again, with a mark each time.
        """
        room = self._packets_a_pipe
        while level > 0:
            moved = os.splice(self._readers[stream], self._aside[1], level)
            level -= moved
            while moved > 0:
                packet = os.read(self._aside[0], _READ_BYTES)
                self._order.add(stream, packet)
                moved -= len(packet)
                room -= 1
        return room <= 0

    def _put_out(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Pass on, pieces of one stream that follow one another as one."""
        last, joined = -1, list[bytes]()
        for stream, data in pieces:
            if stream != last and joined:
                self._pass_on(last, b"".join(joined))
                joined = []
            last = stream
            joined.append(data)
        if joined:
            self._pass_on(last, b"".join(joined))


def _open_pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe of packets, as large as may be; its ends are closed by the two stacks."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    readers.callback(os.close, reader)
    writers.callback(os.close, writer)
    os.set_blocking(reader, False)
    with contextlib.suppress(OSError):  # this user has as much in pipes as is allowed
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return reader, writer


class _Marks:
    """The marks of writes to pipes: signals to the thread that makes this, which has them blocked from then on."""

    def __init__(self, readers: list[int]) -> None:
        import ctypes

        self.lost = False
        """There were more than the system keeps: then it sends SIGIO, which does not name the pipe."""
        self._readers = readers
        marking = {signal.SIGRTMIN, signal.SIGIO}
        signal.pthread_sigmask(signal.SIG_BLOCK, marking)
        bits = sum(1 << (number - 1) for number in marking)
        wanted = bits.to_bytes(_SIGNAL_SET_BYTES, sys.byteorder)
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.signalfd(-1, wanted, _SFD_FLAGS)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        try:
            for reader in readers:
                fcntl.fcntl(reader, _F_SETSIG, int(signal.SIGRTMIN))
                fcntl.fcntl(reader, _F_SETOWN_EX, struct.pack("ii", _F_OWNER_TID, threading.get_native_id()))
                fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
        except OSError:
            self.close()
            raise

    def read(self) -> list[int]:
        """The streams of the writes since the last time, in order."""
        found: list[int] = []
        while True:
            try:
                data = os.read(self.fd, 256 * _SIGNALFD_INFO)
            except BlockingIOError:
                return found
            for at in range(0, len(data), _SIGNALFD_INFO):
                number, fd = struct.unpack_from("I16xi", data, at)
                if number == signal.SIGIO:
                    self.lost = True
                else:
                    found.append(self._readers.index(fd))

    def close(self) -> None:
        """Give the descriptor back; what comes later goes with the thread."""
        os.close(self.fd)
