"""A server that plays a cassette: it says what the daemon said, when the client has said what it said then."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import trio
from attrs import define, field

from poppo_ipc.errors import BadMessage, PoppoError, VersionMismatch
from poppo_ipc.limits import Limits
from poppo_ipc.protocol import PROTOCOL_VERSION
from poppo_ipc.protocol._capabilities import STREAM
from poppo_ipc.protocol._challenge import client_proof, decode_nonce, proof_matches, server_proof
from poppo_ipc.protocol._codec import codec_for
from poppo_ipc.protocol._connection import int_over_zero
from poppo_ipc.protocol._frames import frame
from poppo_ipc.testing._cassette_match import Bindings, asked
from poppo_ipc.testing._cassette_recorder import GONE, Reader, close
from poppo_ipc.testing._cassette_tape import Entry, Message, Tape, Track
from poppo_ipc.transport import Address, Stream, listen

__all__ = ["Player", "Unanswered"]

_CODE: Final = "CASSETTE_MISMATCH"
#: What the server says, in its words.
_BAD_CREDIT: Final = "credit has to be an integer over 0"
_HANDSHAKE: Final = frozenset({"welcome", "auth", "auth-success"})

#: Takes what the cassette has no answer for, in place of a refusal.
Unanswered = Callable[["Listening", Message], Awaitable[None]]


@define(eq=False)
class Playing:
    """How far a recorded connection has been played."""

    track: Track
    entries: list[Entry]
    done: list[bool]
    live: dict[str, str] = field(factory=dict)
    """Recorded ids, and those that the client has in their place."""

    loose: set[str] = field(factory=set)
    """Recorded ids of what came before its turn; its answers wait for nothing else."""

    taken: bool = False

    @classmethod
    def of(cls, track: Track) -> Playing:
        """From its beginning, without the handshake, which is made anew each time."""
        auths = {entry.request_id for entry in track.entries if entry.kind == "auth"}
        ids = {entry.request_id for entry in track.entries if entry.kind == "command"}
        entries = [
            entry
            for entry in track.entries
            if entry.kind not in _HANDSHAKE and not (entry.request_id in auths and entry.request_id not in ids)
        ]
        return cls(track, entries, [False] * len(entries))

    def commands(self) -> list[int]:
        """Where the commands are that have not come yet."""
        return [i for i, entry in enumerate(self.entries) if entry.kind == "command" and not self.done[i]]

    def came(self, index: int, live_id: str) -> None:
        """The command there has come, by this id."""
        recorded = self.entries[index].request_id or ""
        waiting = any(entry.side == "client" and not self.done[i] for i, entry in enumerate(self.entries[:index]))
        said = any(entry.side == "server" and not self.done[i] for i, entry in enumerate(self.entries[:index]))
        if waiting and said:
            self.loose.add(recorded)
        self.done[index] = True
        self.live[recorded] = live_id

    def cancelled(self, live_id: str) -> bool:
        """A cancel came; whether there is one for that in the recording."""
        for index, entry in enumerate(self.entries):
            if entry.kind == "cancel" and not self.done[index] and self.live.get(entry.request_id or "") == live_id:
                self.done[index] = True
                return True
        return False

    def answered(self, live_id: str) -> bool:
        """Whether that has been answered, or will be without anything else being asked."""
        return not any(
            entry.kind == "cancel" and not self.done[index] and self.live.get(entry.request_id or "") == live_id
            for index, entry in enumerate(self.entries)
        ) and any(
            entry.kind in ("response", "error") and self.live.get(entry.request_id or "") == live_id
            for entry in self.entries
        )

    def due(self, credit: dict[str, int]) -> list[Entry]:
        """What the server says now, with the client's ids; it counts as said from here on. Spends `credit`."""
        found, held, missing = [], set[str](), False
        for index, entry in enumerate(self.entries):
            if self.done[index]:
                continue
            recorded = entry.request_id
            if entry.side == "client":
                missing = True
                held.add(recorded or "")
                continue
            loose = recorded in self.loose
            if (missing and not loose) or recorded in held:
                continue
            live_id = self.live.get(recorded or "", recorded)
            if entry.kind == "item" and live_id in credit:
                if credit[live_id] < 1:
                    held.add(recorded or "")
                    continue
                credit[live_id] -= 1
            if entry.message is None and not all(self.done[:index]):
                continue
            self.done[index] = True
            message = entry.message
            if message is not None and recorded is not None:
                message = {**message, "id": live_id}
            found.append(Entry("server", message))
        return found


class Player:
    """Plays a tape to any number of connections.

    Args:
        tape: what is played.
        token: the token that clients have to show.
        bindings: what placeholders stand for.
        unanswered: takes commands that the tape does not have; None to refuse them.
    """

    def __init__(self, tape: Tape, token: str, bindings: Bindings, unanswered: Unanswered | None = None) -> None:
        self.problems: list[str] = []
        self.token = token
        self.bindings = bindings
        self.unanswered = unanswered
        self.tracks = [Playing.of(track) for track in tape.tracks]
        self.greeting = next((w for track in tape.tracks if (w := track.first("welcome"))), None)
        self.session = next((s for track in tape.tracks if (s := track.first("auth-success"))), {})

    async def serve(self, address: Address, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started()` once clients can connect. Raises what `listen` raises."""
        listener = await listen(address)
        try:
            task_status.started()
            await listener.serve(self._converse)
        finally:
            await close(listener)

    async def _converse(self, stream: Stream) -> None:
        try:
            async with trio.open_nursery() as nursery:
                with contextlib.suppress(*GONE):
                    await Listening(self, stream, nursery).run()
                nursery.cancel_scope.cancel()
        finally:
            await close(stream)

    def unplayed(self) -> list[str]:
        """The commands that never came."""
        rows = [playing.entries[index].message or {} for playing in self.tracks for index in playing.commands()]
        # Whether the end of a subscription is still told depends on who is quicker.
        return [f"never came: {_shown(row)}" for row in rows if row.get("command") != "events.unsubscribe"]

    def find(self, live: Message, own: list[Playing]) -> tuple[Playing, int] | None:
        """Where the tape has a command: in what this connection plays already, else in what nobody plays yet."""
        for playing in [*own, *(each for each in self.tracks if not each.taken)]:
            for index in playing.commands():
                message = playing.entries[index].message or {}
                problems, fresh = self.bindings.compare(message, live)
                if not problems:
                    self.bindings.keep(fresh)
                    return playing, index
        return None

    def why(self, live: Message) -> str:
        """In what a command that the tape does not have differs from the nearest one that it has."""
        told = f"the program asked {_shown(live)}, which the cassette does not have"
        left = [playing.entries[index].message or {} for playing in self.tracks for index in playing.commands()]
        if not left:
            return f"{told}; all that it has was asked before"
        compared = [(self.bindings.compare(message, live)[0], message) for message in left]
        same = [pair for pair in compared if pair[1].get("command") == live.get("command")]
        if not same:
            return f"{told}; still to come: " + ", ".join(str(message.get("command")) for message in left)
        found, nearest = min(same, key=lambda pair: len(pair[0]))
        return "\n".join([f"{told}; the nearest is {_shown(nearest)}:", *(f"  {line}" for line in found)])


class Listening:
    """One connection that is played to."""

    def __init__(self, player: Player, stream: Stream, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.capabilities: list[str] = []
        self._player = player
        self._stream = stream
        self._sending = trio.Lock()
        self._nonce = os.urandom(32)
        self._decode = codec_for("client", Limits().nesting).decode
        self._playing: list[Playing] = []
        self._credit: dict[str, int] = {}
        #: Takes what belongs to commands that the tape does not have.
        self.elsewhere: Callable[[Message], Awaitable[bool]] | None = None

    async def run(self) -> None:
        """Until the client ends, or the recorded daemon did."""
        await self.send(self._welcome())
        reader = Reader()
        if not self._greeting.get("authRequired"):
            self._take_silent()
            if await self._play():
                return
        while True:
            for payload in reader.payloads(await self._stream.receive()):
                if not await self._take(payload):
                    return
            if reader.error is not None:
                await self._refuse(None, f"the program sent what is no frame: {reader.error}", reader.error)
                return
            if await self._play():
                return

    async def send(self, *messages: Message) -> None:
        """Send messages, with the fields that every message has."""
        stamped = [
            {"version": PROTOCOL_VERSION, "timestamp": int(time.time() * 1000), **message} for message in messages
        ]
        data = b"".join(frame(json.dumps(message).encode()) for message in stamped)
        async with self._sending:
            await self._stream.send(data)

    @property
    def _greeting(self) -> Message:
        return self._player.greeting or {"type": "welcome", "authRequired": False}

    def _welcome(self) -> Message:
        nonce = {"nonce": base64.b64encode(self._nonce).decode()} if "nonce" in self._greeting else {}
        return {**self._player.bindings.filled(self._greeting), **nonce}

    async def _take(self, payload: bytes | bytearray) -> bool:
        """Hear what a frame holds, or refuse it as any server would; whether the connection goes on."""
        try:
            self._decode(payload)
        except (BadMessage, VersionMismatch) as error:
            await self._refuse(error.message_id, f"the program sent what no daemon takes: {error}", error)
            return isinstance(error, BadMessage)
        # The recording has fields that the protocol does not know, so the message is kept as it came.
        await self._hear(msgspec.json.decode(payload))
        return True

    async def _hear(self, message: Message) -> None:
        kind, request_id = message.get("type"), message.get("id")
        if kind == "ping":
            await self.send({"type": "pong", "id": request_id})
        elif kind == "auth":
            await self._auth(message)
        elif kind == "command":
            await self._command(message)
        elif self.elsewhere is not None and await self.elsewhere(message):
            pass
        elif kind == "credit":
            await self._more_credit(message["id"], message["credit"])
        elif kind == "cancel":
            await self._cancel(message["id"])

    async def _auth(self, message: Message) -> None:
        proof = self._proof(message)
        if proof is None:
            error = {"message": "Invalid authentication token", "code": "AUTH_FAILED"}
            await self.send({"type": "error", "id": message["id"], "error": error})
            return
        answer = {"type": "auth-success", "id": message["id"]}
        wanted = message.get("capabilities")
        if isinstance(wanted, list):  # else the client is an original
            answer = {**self._player.bindings.filled(self._player.session), **answer}
            answer.pop("proof", None)
            if "capabilities" in answer or "capabilities" in self._greeting:
                self.capabilities = [each for each in self._greeting.get("capabilities", []) if each in wanted]
                answer["capabilities"] = self.capabilities
            if proof:
                answer["proof"] = proof
        await self.send(answer)
        self._take_silent()

    def _proof(self, message: Message) -> str | None:
        """The server's proof, empty where the client showed the token itself; None where that is not right."""
        token = self._player.token
        if not self._greeting.get("authRequired"):
            return ""
        nonce = decode_nonce(message.get("clientNonce"))
        if "proof" not in message or nonce is None:
            return "" if message.get("token") == token else None
        expected = client_proof(token, self._nonce, nonce)
        return server_proof(token, self._nonce, nonce) if proof_matches(expected, message["proof"]) else None

    def _take_silent(self) -> None:
        """A recorded connection on which nothing was asked belongs to who connects when it is next."""
        waiting = next((playing for playing in self._player.tracks if not playing.taken), None)
        if waiting is not None and not waiting.commands():
            waiting.taken = True
            self._playing.append(waiting)

    async def _command(self, message: Message) -> None:
        request_id = message["id"]
        # Null counts as absent, and so does what was not agreed on.
        credit = message.get("credit") if STREAM in self.capabilities else None
        if credit is not None:
            if not int_over_zero(credit):
                why = f"the program asked {_shown(message)} with credit {credit!r}: {_BAD_CREDIT}"
                await self._refuse(request_id, why, BadMessage(_BAD_CREDIT))
                return
            self._credit[request_id] = credit
        found = self._player.find(message, self._playing)
        if found is not None:
            playing, index = found
            if not playing.taken:
                playing.taken = True
                self._playing.append(playing)
            playing.came(index, request_id)
        elif self._player.unanswered is not None:
            await self._player.unanswered(self, message)
        else:
            await self._refuse(request_id, self._player.why(message))

    async def _more_credit(self, request_id: str, credit: Any) -> None:
        if int_over_zero(credit):
            self._credit[request_id] = self._credit.get(request_id, 0) + credit
            return
        await self._refuse(request_id, f"the program sent credit {credit!r}: {_BAD_CREDIT}", BadMessage(_BAD_CREDIT))

    async def _cancel(self, request_id: str) -> None:
        if any(playing.cancelled(request_id) for playing in self._playing):
            return
        if not any(playing.answered(request_id) for playing in self._playing):
            await self._refuse(request_id, "the program cancelled a command that the cassette has not cancelled")

    async def _refuse(self, request_id: str | None, why: str, error: PoppoError | None = None) -> None:
        """Keep the problem, and answer with it, or with the error that any server would answer."""
        self._player.problems.append(why)
        body = {"message": why, "code": _CODE} if error is None else {"message": str(error), "code": error.code}
        await self.send({"type": "error", "id": request_id, "error": body})

    async def _play(self) -> bool:
        """Say what is due; whether the daemon closes then."""
        for playing in self._playing:
            for entry in playing.due(self._credit):
                if entry.message is None:
                    return True
                await self.send(self._player.bindings.filled(entry.message))
        return False


def _shown(message: Message) -> str:
    found = asked(message)
    args: dict[str, Any] = found["args"]
    named = ", ".join(f"{name}={value!r}" for name, value in args.items()) if isinstance(args, dict) else repr(args)
    return f"{found['command']}({named})"
