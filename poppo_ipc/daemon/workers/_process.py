"""One worker process as a `Worker` uses it: messages, output, and its end, over what the system gives (`_child`)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import trio

from poppo_ipc._exits import exit_text
from poppo_ipc.daemon.workers import _messages as messages
from poppo_ipc.daemon.workers._child import STREAMS, StreamName, start_child
from poppo_ipc.protocol import FrameDecoder

__all__ = ["WorkerProcess", "encoded_setup"]

logger = logging.getLogger("poppo_ipc.daemon.workers")

#: Bytes that a pipe can hold at most (Linux lets a user raise it to 1 MiB): what came before a message is among them.
_PIPE_BYTES: Final = 1024 * 1024

#: Seconds for killed processes to be gone. Only one that the kernel holds in a call takes longer.
_REAP_SECONDS: Final = 5.0

_LEFT: Final = "a process of its task cannot be killed"
_TURN: Final = messages.encode(messages.Turn())


class WorkerProcess:
    """A running worker. Used by the tasks of one `Worker`; nothing here outlives `aclose`.

    `take` gets all that it prints.
    """

    def __init__(self, python: str, take: Callable[[StreamName, bytes], None]) -> None:
        """Start it; takes some milliseconds, and no thread.

        Raises:
            OSError: there is no such interpreter, or the system has no processes or descriptors left.
        """
        self._child = start_child(python)
        self._take = take
        self._gone = trio.Event()
        self._decoder = FrameDecoder()
        self._received: list[messages.Up] = []
        self._at_end = False
        self._closed = False
        self._pid: int | None = None
        self.exited = trio.Event()
        """The worker has exited. Of what it leaves, some may still be about to be killed."""
        self.order_unread = False
        """The worker died without having read all that was sent to it: it never began the job."""

    @property
    def pid(self) -> int | None:
        """The worker's; None until it has said hello. Not to be signalled: it may be another's."""
        return self._pid

    @property
    def returncode(self) -> int | None:
        """As of `subprocess`: -n for signal n. None until all of its processes are gone."""
        return self._child.returncode

    @property
    def exit_text(self) -> str:
        """How the worker ended, in words."""
        code = self._child.returncode
        return "cannot be killed" if code is None else exit_text(code)

    def family(self) -> list[int] | None:
        """The processes of the worker, where the system keeps a list of them; itself included."""
        return self._child.family()

    # -- messages -----------------------------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Send one encoded message. A worker that is gone is no error here: `receive` tells.

        Cancelled half-way, the worker cannot be used any more.
        """
        if self.exited.is_set():
            self.order_unread = True
            return
        self.order_unread = self._child.acknowledges
        try:
            await self._child.send(messages.frame(data))
        except trio.ClosedResourceError:
            return  # `_note_exit`: it has exited
        except OSError:
            self.order_unread = True

    async def receive(self) -> messages.Hello | messages.Done | None:
        """The next message; None when the worker has gone, or speaks nonsense. Loses nothing when cancelled."""
        while True:
            self._read_channel()
            while self._received:
                answer = await self._take_message(self._received[0])
                if answer is not None:
                    return answer
            if self._at_end or self.exited.is_set():
                return None
            try:
                await self._child.wait_message()
            except trio.ClosedResourceError:
                continue  # `_note_exit`: once more, for what it said before it died

    async def _take_message(self, message: messages.Up) -> messages.Hello | messages.Done | None:
        """Do what the first of the received messages asks for; gives it where it is an answer."""
        answer: messages.Hello | messages.Done | None = None
        if isinstance(message, messages.Turn):
            self.drain()
            unread = self.order_unread
            await self.send(_TURN)
            self.order_unread = unread  # that is about the job, which has begun, and not about this answer
        elif isinstance(message, messages.Begun):
            self.order_unread = False
        elif isinstance(message, messages.Hello):
            self._child.greeted()
            answer = message
        else:
            answer = message
            if not await self._child.sweep():
                answer = msgspec.structs.replace(message, retire=_LEFT)
        del self._received[0]
        return answer

    def _read_channel(self) -> None:
        if self._at_end:
            return
        try:
            data = self._child.receive()
        except BlockingIOError:
            return
        except ConnectionResetError:
            self.order_unread = True
            data = b""
        except OSError as error:
            logger.warning("worker process %d: control channel: %s", self._number, error)
            data = b""
        if not data:
            self._at_end = True
            return
        self._decoder.feed(data)
        try:
            for payload in self._decoder.drain(messages.MAX_FRAME_BYTES):
                message = messages.decode_up(payload)
                if self._pid is None and isinstance(message, messages.Hello):
                    self._pid = message.pid
                self._received.append(message)
            if self._decoder.error is not None:
                raise ValueError(str(self._decoder.error))
        except ValueError as error:
            # A function that wrote to a descriptor that is not its own.
            logger.warning("worker process %d: control channel: %s", self._number, error)
            self._at_end = True

    # -- output -------------------------------------------------------------------------------------------------

    async def pump(self, stream: StreamName) -> None:
        """Take all that comes out of one stream, until its end or that of the process."""
        while True:
            try:
                await self._child.wait_output(stream)
                data = self._child.read(stream)
            except BlockingIOError:
                continue  # `drain` was faster
            except trio.ClosedResourceError:
                return
            if not data:
                return
            self._take(stream, data)

    def drain(self) -> None:
        """Take all that is in the streams now, without waiting: what was written before a message came."""
        for stream in STREAMS:
            count = 0
            while count < _PIPE_BYTES:
                try:
                    data = self._child.read(stream)
                except BlockingIOError:
                    break
                if not data:
                    break
                self._take(stream, data)
                count += len(data)

    # -- the end ------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Wait for the worker to exit, set `exited` and wake `receive`; then wait for all of its processes to be gone.

        Shielded: whoever ends the process waits for this to see it. Ends with `aclose` at the latest.
        """
        # With no limit of its own, since a worker lives as long as it likes: `aclose`, which comes whatever happens,
        # waits 5 s for the killed and then closes the child, which wakes both waits.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_exit)
                with suppress(trio.ClosedResourceError):
                    await self._child.wait_gone()
                    self._gone.set()
                    self._note_exit()
                nursery.cancel_scope.cancel()

    async def _watch_exit(self) -> None:
        with suppress(trio.ClosedResourceError):
            await self._child.wait_exited()
            self._note_exit()

    def _note_exit(self) -> None:
        if not self.exited.is_set():
            self.exited.set()
            # A process of the worker may hold the other end of the channel open: do not wait for its end.
            self._child.wake()

    async def terminate(self, grace: float) -> None:
        """Ask all of its processes to end, kill them after `grace` seconds, and wait until they are gone.

        Cancelled, it leaves the process dying or to be killed.
        """
        if not self.exited.is_set():
            self._child.terminate()
            with trio.move_on_after(grace):
                # It may still want to be heard; its answer is not wanted any more.
                while await self.receive() is not None:
                    continue
                await self.exited.wait()
        await self.kill()

    async def kill(self) -> None:
        """Kill all of its processes that still run, and reap. Shielded, for 5 s at most; idempotent."""
        if self.returncode is not None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _REAP_SECONDS):
            self._child.kill()
            await self._gone.wait()
            self._child.reap()

    async def aclose(self) -> None:
        """Kill whatever still runs, and give everything back. Shielded, for 5 s at most; idempotent.

        `watch` must be running, or have ended.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self.kill()
            if self.returncode is None:
                # What guards it stays, and goes on trying.
                logger.error("worker process %d cannot be killed", self._number)
        finally:
            self._child.close()

    @property
    def _number(self) -> int:
        """What to call it in a log."""
        return self._child.pid if self._pid is None else self._pid


def encoded_setup(python: str) -> bytes:
    """The message that makes a worker's interpreter look like this one; another `python` keeps its own path."""
    path = list(sys.path) if python == sys.executable else []
    return messages.encode(messages.Setup(path=path, pythonpath=os.environ.get("PYTHONPATH")))
