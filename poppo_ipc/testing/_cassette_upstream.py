"""What a cassette does not have, asked of a daemon and written down."""

from __future__ import annotations

import json
from typing import Any

from poppo_ipc.protocol._frames import frame
from poppo_ipc.testing._cassette_player import Listening
from poppo_ipc.testing._cassette_recorder import GONE, Reader, close
from poppo_ipc.testing._cassette_tape import Entry, Message, Tape, Track
from poppo_ipc.transport import Address, Stream, connect

__all__ = ["Upstream"]


class Upstream:
    """One connection to the daemon for each client that asks something new; what passes is in `tape`."""

    def __init__(self, address: Address, token: str | None) -> None:
        self.tape = Tape()
        self._address = address
        self._token = token
        self._links: dict[Listening, _Link] = {}

    async def ask(self, listening: Listening, message: Message) -> None:
        """Ask it, and let the answers come to the client. Raises what `connect` raises."""
        link = self._links.get(listening)
        if link is None:
            link = _Link(await connect(self._address), listening)
            self._links[listening] = link
            self.tape.tracks.append(link.track)
            await link.begin(self._token)
        await link.send(message)


class _Link:
    """A connection to the daemon in a client's name."""

    def __init__(self, stream: Stream, listening: Listening) -> None:
        self.track = Track()
        self._stream = stream
        self._listening = listening
        self._ids: set[Any] = set()

    async def begin(self, token: str | None) -> None:
        capabilities = [each for each in self._listening.capabilities if each != "challenge"]
        auth = {"type": "auth", "id": "cassette", "token": token or "", "version": "1.0.0"}
        await self._write(auth | ({"capabilities": capabilities} if capabilities else {}))
        self._listening.elsewhere = self._take
        self._listening.nursery.start_soon(self._read)

    async def send(self, message: Message) -> None:
        self._ids.add(message.get("id"))
        await self._write(message)

    async def _take(self, message: Message) -> bool:
        """Pass on what belongs to a command that was asked here."""
        mine = message.get("id") in self._ids
        if mine:
            await self._write(message)
        return mine

    async def _write(self, message: Message) -> None:
        self.track.entries.append(Entry("client", message))
        await self._stream.send(frame(json.dumps(message).encode()))

    async def _read(self) -> None:
        reader = Reader()
        try:
            while True:
                for message in reader.read(await self._stream.receive()):
                    self.track.entries.append(Entry("server", message))
                    if message.get("type") in ("event", "item") or message.get("id") in self._ids:
                        await self._listening.send(message)
        except GONE:
            pass
        finally:
            await close(self._stream)
