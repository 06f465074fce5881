"""The client program under test, and the server that is scripted for it."""

from __future__ import annotations

import base64
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from poppo_ipc.client._apart import Apart
from poppo_ipc.testing._place import Place
from poppo_ipc.testing.conformance._findings import Violation
from poppo_ipc.testing.conformance._peer import Message, Peer, frame, message, short
from poppo_ipc.testing.conformance._target import proof
from poppo_ipc.testing.conformance._wire import Door, open_door

__all__ = ["Guest", "Program"]

_POLL_SECONDS = 0.02
_TAIL = 400
_AUTH_FIELDS = {"type", "id", "token", "version", "timestamp"}
_COMMAND_FIELDS = {"type", "id", "command", "args", "version", "timestamp"}


class Guest(Peer):
    """A connection that the program has made, and what a server does on it."""

    def __init__(self, *args: Any, token: str, result: Any) -> None:
        super().__init__(*args)
        self.token = token
        self._result = result
        #: Whether each byte is sent in a piece of its own.
        self.piecemeal = False
        #: Fields that go with every message, which no client knows.
        self.extra: Message = {}
        self.nonce = os.urandom(32)
        self.auth: Message = {}
        self.granted: tuple[str, ...] = ()
        self.commands: list[Message] = []

    def send(self, **fields: Any) -> None:
        """Send a message, with what is set for all."""
        whole = message(**{**self.extra, **fields})
        data = frame(json.dumps(whole).encode())
        if self.piecemeal:
            self.send_each_byte(data, short(whole))
        else:
            self.send_bytes(data, short(whole))

    def take(self, expected: str) -> Message | None:
        """The next message, held against what a client may send; None at the end of the stream."""
        found = self.receive(expected)
        if found is None or found["type"] == "pong":
            return found
        request_id = found.get("id")
        if not isinstance(request_id, str) or len(request_id) > 128:
            raise Violation("an `id` in each message: a string of at most 128 characters", short(found))
        if found["type"] == "command":
            if not isinstance(found.get("command"), str) or not isinstance(found.get("args", {}), dict):
                raise Violation("`command`, a string, and `args`, an object", short(found))
            if any(request_id == other["id"] for other in self.commands):
                raise Violation("an `id` for each command of its own", short(found))
            self.commands.append(found)
        return found

    # -- as an original server --------------------------------------------------------------------------------------

    def welcome_as_original(self, *, required: bool = True, **more: Any) -> None:
        """Greet, and let in who shows the token."""
        self.send(type="welcome", authRequired=required, **more)
        if required:
            self.auth = self._sent_auth()
            self._strictly(self.auth, _AUTH_FIELDS)
            if self.auth.get("token") != self.token:
                raise Violation(f"`auth` with the token of POPPO_TOKEN ({self.token!r})", short(self.auth))
            self.send(type="auth-success", id=self.auth["id"])

    def _sent_auth(self) -> Message:
        found = self.take("`auth`")
        if found is None or found["type"] != "auth":
            raise Violation("`auth`", "the end of the stream" if found is None else short(found))
        return found

    def _strictly(self, found: Message, known: set[str]) -> None:
        if not set(found) <= known:
            unknown = sorted(set(found) - known)
            raise Violation(f"for a server without extensions, `{found['type']}` without {unknown}", short(found))

    # -- with extensions --------------------------------------------------------------------------------------------

    def welcome(self, *offered: str, required: bool = True, **more: Any) -> None:
        """Greet with extensions, and read `auth`."""
        self.send(
            type="welcome", authRequired=required, capabilities=list(offered), maxFrameBytes=1 << 24,
            server={"name": "conformance", "version": "1"}, nonce=base64.b64encode(self.nonce).decode(), **more,
        )  # fmt: skip
        self.auth = self._sent_auth()
        wanted = self.auth.get("capabilities")
        self.granted = tuple(each for each in offered if isinstance(wanted, list) and each in wanted)

    def let_in(self, **more: Any) -> None:
        """Answer `auth` after it has been held against the token."""
        answer: Message = {"type": "auth-success", "id": self.auth["id"], "sessionId": "s1"}
        answer |= {"capabilities": list(self.granted), "epoch": "e1", "seq": 0, "keysDurable": False}
        if "challenge" in self.granted:
            answer["proof"] = self.proved()
        elif self.auth.get("token") != self.token:
            raise Violation(f"`auth` with the token of POPPO_TOKEN ({self.token!r})", short(self.auth))
        self.send(**{**answer, **more})

    def proved(self) -> str:
        """The server's proof, after the client's was found right."""
        text = self.auth.get("clientNonce")
        try:
            nonce = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        except ValueError:
            nonce = b""
        if len(nonce) != 32:
            raise Violation("`clientNonce` in `auth`: the base64 of 32 bytes", short(self.auth))
        expected = proof("client", self.token, self.nonce, nonce)
        if self.auth.get("proof") != expected:
            raise Violation(f"`auth` with the proof {expected}", short(self.auth))
        return proof("server", self.token, nonce, self.nonce)

    # -- commands ---------------------------------------------------------------------------------------------------

    def command(self) -> Message:
        """The next command that is no question of the protocol's own; those are answered."""
        while True:
            found = self.take("a command")
            if found is None:
                raise Violation("a command", "the end of the stream")
            if found["type"] == "command" and not self.own(found):
                if not self.granted:
                    self._strictly(found, _COMMAND_FIELDS)
                return found
            if found["type"] != "command":
                self.other(found)

    def own(self, found: Message) -> bool:
        """Answer what is a question of the protocol's own; whether it was one."""
        if found["command"] == "ipc.describe":
            error = {"message": "Unknown command: ipc.describe", "code": "UNKNOWN_COMMAND"}
            self.send(type="error", id=found["id"], error=error)
        elif found["command"] == "events.subscribe" and "subscribe" in self.granted:
            result = {"subscriptionId": "s1", "gap": False, "missed": 0, "seq": 0}
            self.send(type="response", id=found["id"], success=True, result=result)
        else:
            return False
        return True

    def other(self, found: Message) -> None:
        """Answer what is no command."""
        needs = {"ping": "ping", "pong": "ping", "cancel": "cancel", "credit": "stream"}.get(found["type"])
        if needs is None or needs not in self.granted:
            raise Violation(f"nothing that was not agreed on (agreed: {list(self.granted)})", short(found))
        if found["type"] == "ping":
            self.send(type="pong", id=found["id"])

    def respond(self, asked: Message, **more: Any) -> None:
        """Answer a command well."""
        self.send(**{"type": "response", "id": asked["id"], "success": True, "result": self._result, **more})

    def serve(self) -> None:
        """Answer all that comes, to the end of the stream."""
        while (found := self.take("a message, or the end of the stream")) is not None:
            if found["type"] != "command":
                self.other(found)
            elif not self.own(found):
                self.respond(found)


class Program:
    """A client program, started anew for each check, and the server at the address that it is led to.

    Args:
        command: the program and its arguments. It has to ask one command or more, and to end.
        result: what the server gives as the result.
        patience: seconds that are waited for what has to come.
        environment: variables besides those that lead to the server.
    """

    def __init__(
        self, command: Sequence[str], *, result: Any, patience: float, environment: Mapping[str, str] | None = None
    ) -> None:
        self.token = "the-token-of-the-conformance-checks"
        self.exchange: list[str] = []
        self._command = list(command)
        self._result = result
        self.patience = patience
        self._variables = dict(environment or {})
        self._place: Place | None = None
        self._door: Door | None = None
        self._process: Apart | None = None
        self._said: IO[bytes] | None = None
        self._guests: list[Guest] = []

    # -- life ---------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Listen, and start the program. Raises Violation where it cannot be started."""
        self.exchange = []
        place = self._place = Place.new()
        try:
            self._door = open_door(place.address)
            self._said = tempfile.TemporaryFile()  # noqa: SIM115  # `end` closes it
            environment = {name: value for name, value in os.environ.items() if not name.startswith("POPPO_")}
            environment |= {"POPPO_SOCKET": place.socket, "POPPO_TOKEN": self.token, **self._variables}
            self._process = self._started(self._said.fileno(), environment)
        except BaseException:
            self.end()
            raise

    def _started(self, output: int, environment: Mapping[str, str]) -> Apart:
        try:
            return Apart(self._command, output, cwd=None, environ=environment)
        except OSError as error:  # not all systems name the program in it
            raise Violation("a program that can be started", f"{self._command[0]}: {error.strerror}") from error

    def end(self) -> None:
        """End the program and what it has started, and take the socket away."""
        while self._guests:
            self._guests.pop().close()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        if self._door is not None:
            self._door.close()
        if self._said is not None:
            self._said.close()
        if self._place is not None:
            self._place.remove()

    # -- its connections ----------------------------------------------------------------------------------------------

    def guest(self, expected: str = "a connection") -> Guest:
        """The program's next connection. Raises Violation where it ends without one, or none comes in time."""
        found = self._next(expected)
        if found is None:
            raise Violation(expected, f"the program ended with exit code {self._code()}{self._tail()}")
        return found

    def guest_again(self) -> Guest | None:
        """The same; None where the program has ended."""
        return self._next("another connection, or the end of the program")

    def _next(self, expected: str) -> Guest | None:
        assert self._door is not None
        assert self._process is not None
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            try:
                wire = self._door.accept(_POLL_SECONDS)
            except TimeoutError:
                if ended:
                    return None
                continue
            label = f"[{len(self._guests) + 1}]" if self._guests else ""
            arguments = (wire, "client", self.patience, self.exchange, label)
            guest = Guest(*arguments, token=self.token, result=self._result)
            self._guests.append(guest)
            return guest
        raise Violation(expected, f"nothing within {self.patience:g} s{self._tail()}")

    # -- its end ------------------------------------------------------------------------------------------------------

    def succeeds(self) -> None:
        """It ends with exit code 0; connections that it still makes are served well."""
        code = self._ends(lambda guest: _serve_as_original(guest))
        if code != 0:
            raise Violation("exit code 0", f"exit code {code}{self._tail()}")

    def fails(self, why: str) -> None:
        """It ends with another exit code; connections that it still makes are closed."""
        code = self._ends(lambda guest: guest.close())
        if code == 0:
            raise Violation(f"an exit code that is not 0: {why}", f"exit code 0{self._tail()}")

    def _ends(self, serve: Callable[[Guest], None]) -> int:
        deadline = time.monotonic() + self.patience
        while (guest := self._next("the end of the program")) is not None:
            serve(guest)
            if time.monotonic() > deadline:
                raise Violation("the end of the program", f"it goes on connecting{self._tail()}")
        return self._code()

    def _code(self) -> int:
        assert self._process is not None
        code = self._process.wait()
        self.exchange.append(f"(the program ended with exit code {code})")
        return code

    def _tail(self) -> str:
        assert self._said is not None
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        return f"; it said: {said[-_TAIL:]}" if said else ""


def _serve_as_original(guest: Guest) -> None:
    guest.welcome_as_original()
    guest.serve()
