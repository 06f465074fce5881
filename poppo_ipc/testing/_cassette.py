"""Recording what a program and a daemon say to each other once, and playing the daemon's part from then on."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from poppo_ipc.client import SyncClient
from poppo_ipc.server import generate_token
from poppo_ipc.testing._cassette_match import Bindings
from poppo_ipc.testing._cassette_player import Player
from poppo_ipc.testing._cassette_recorder import Recorder
from poppo_ipc.testing._cassette_scrub import SECRETS, TOKEN, scrubbed
from poppo_ipc.testing._cassette_tape import CassetteError, Message, Tape
from poppo_ipc.testing._cassette_upstream import Upstream
from poppo_ipc.testing._decorating import inside
from poppo_ipc.testing._environment import Environment
from poppo_ipc.testing._place import Place
from poppo_ipc.testing._thread import TrioThread
from poppo_ipc.transport import Address

__all__ = ["MODES", "Cassette", "Upstreamed"]

R = TypeVar("R")

#: How a cassette is used: `once` records where there is none; `new` records what it does not have, too; `none` never
#: records; `all` records anew each time.
MODES: Final = ("once", "new", "none", "all")
MODE_VARIABLE: Final = "POPPO_RECORD"


class Upstreamed(Protocol):
    """A daemon that can be recorded: `RealDaemon`, `FakeDaemon`, and whatever says as much of itself."""

    @property
    def address(self) -> Address:
        """Where it listens."""

    @property
    def token(self) -> str | None:
        """The token that it takes."""


class Cassette:
    """The daemon's part of a test, recorded once and played after that: `with Cassette("tests/cassettes/add.json"):`.

    A context manager, a decorator (for plain and async functions; a parameter named `cassette` gets it), and the
    fixture `cassette`. `POPPO_SOCKET` and `POPPO_TOKEN` lead programs to it, in this process and others, with any
    client. When it records, a proxy passes all bytes on unchanged and keeps what they say; when it plays, no daemon is
    needed. The file has no tokens, and ids and times that are the same each time. At the end of the block it raises
    CassetteError where the program asked what the cassette does not have, or did not ask what it has, and where the
    daemon that is recorded could not be reached.

    A message of the daemon is played when all has come that the client had said before it. Pings, credit, deadlines and
    idempotency keys are not part of a cassette: each run has its own.

    Args:
        path: the file.
        mode: `once`, `new`, `none` or `all`; None for `POPPO_RECORD`, or else `once`.
        upstream: the daemon that is recorded: a running one, or an address with `token`; None for a new `RealDaemon`.
        token: the token of an upstream that is an address.
        replace: texts that are others in each run, as a temporary path, and what stands in the file for them.
        secrets: names of arguments and results that are not to be kept, besides `token`, `password` and the like.
        scrub: changes each message before it is written.
        assert_all_played: whether a recorded command that does not come fails the test.

    Raises ValueError for a mode that there is not.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: str | None = None,
        upstream: Upstreamed | Address | str | None = None,
        token: str | None = None,
        replace: Mapping[str, str] | None = None,
        secrets: Collection[str] = (),
        scrub: Callable[[Message], Message] | None = None,
        assert_all_played: bool = True,
    ) -> None:
        self.path = Path(path)
        self.mode = mode or os.environ.get(MODE_VARIABLE) or "once"
        if self.mode not in MODES:
            raise ValueError(f"there is no mode {self.mode!r}: take one of {', '.join(MODES)}")
        self._options: dict[str, Any] = {
            "mode": mode, "upstream": upstream, "token": token, "replace": replace, "secrets": secrets,
            "scrub": scrub, "assert_all_played": assert_all_played,
        }  # fmt: skip
        self._upstream = upstream
        self._upstream_token = token
        self._replace = dict(replace or {})
        self._secrets = frozenset(each.lower() for each in secrets)
        self._scrub = scrub
        self._all = assert_all_played
        self._life = contextlib.ExitStack()
        self._place: Place | None = None
        self._token: str | None = None
        self._tape = Tape()
        self._recorder: Recorder | None = None
        self._player: Player | None = None
        self._new: Upstream | None = None
        self._unrecorded: list[str] = []

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Record or play, and set the environment.

        Raises CassetteError where there is nothing to play, RuntimeError where it was started before, and what the
        daemon raises that is recorded.
        """
        if self._place is not None:
            raise RuntimeError("this cassette has been started already; make a new one")
        there = self.path.exists()
        if not there and self.mode == "none":
            raise CassetteError(f"there is no cassette {self.path}; record it with --poppo-record=once")
        with contextlib.ExitStack() as life:
            self._place = Place.new()
            life.callback(self._place.remove)
            server = self._recording(life) if not there or self.mode == "all" else self._playing(life)
            thread = TrioThread(functools.partial(server.serve, self.address), "poppo-cassette")
            life.callback(thread.stop)
            thread.start()
            environment = Environment(self.environment)
            environment.apply()
            life.callback(environment.restore)
            self._life = life.pop_all()
        return self

    def stop(self, *, keep: bool = True) -> None:
        """End it, set the environment back, and write what was recorded, unless `keep` is false. Idempotent.

        Where the daemon could not be reached nothing is written, and `verify` tells why.
        """
        self._life.close()
        recorder, self._recorder = self._recorder, None
        new, self._new = self._new, None
        if recorder is not None:
            self._unrecorded = recorder.problems
            if keep and not self._unrecorded:
                self._scrubbed(recorder.tape).save(self.path)
        elif keep and new is not None and new.tape.tracks:
            tracks = [*self._tape.tracks, *self._scrubbed(new.tape).tracks]
            Tape(tracks).save(self.path)

    def verify(self) -> None:
        """Raise CassetteError where the program did not do what the cassette has, or what it did was not recorded."""
        __tracebackhide__ = True
        if self._unrecorded:
            raise CassetteError("\n".join([f"{self.path}: this was not recorded", *self._unrecorded]))
        if self._player is not None:
            problems = [*self._player.problems, *(self._player.unplayed() if self._all else [])]
            if problems:
                hint = "if that is meant, record it again with --poppo-record=all"
                raise CassetteError("\n".join([f"{self.path}: the program did something else ({hint})", *problems]))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.stop(keep=value is None)
        if value is None:
            self.verify()
        elif isinstance(value, Exception):
            try:
                self.verify()
            except CassetteError as error:
                value.add_note(str(error))

    def __call__(self, function: Callable[..., R]) -> Callable[..., R]:
        """Run a function with a new cassette of the same options."""
        return inside(function, lambda: Cassette(self.path, **self._options), "cassette")

    # -- where it is --------------------------------------------------------------------------------------------------

    @property
    def recording(self) -> bool:
        """Whether a daemon answers, and all of it is written down."""
        return self._recorder is not None

    @property
    def socket(self) -> str:
        """Where it listens, as `POPPO_SOCKET` has it: the path of its socket, or `npipe:NAME`."""
        return self._started.socket

    @property
    def address(self) -> Address:
        """The same as an address."""
        return self._started.address

    @property
    def _started(self) -> Place:
        if self._place is None:
            raise RuntimeError("this cassette has not been started: use it as `with Cassette(path):`")
        return self._place

    @property
    def token(self) -> str | None:
        """The token that it takes: the daemon's own while it records."""
        return self._token

    @property
    def environment(self) -> dict[str, str | None]:
        """The variables that lead to it; None for those that must not be set."""
        return {"POPPO_SOCKET": self.socket, "POPPO_TOKEN": self.token, "POPPO_TOKEN_FILE": None}

    def client(self, **options: Any) -> SyncClient:
        """A client of it, with the options of `SyncClient`."""
        return SyncClient(self.address, token=self.token, **options)

    # -- recording and playing ------------------------------------------------------------------------------------

    def _recording(self, life: contextlib.ExitStack) -> Recorder:
        address, self._token = self._daemon(life)
        self._recorder = Recorder(address)
        return self._recorder

    def _playing(self, life: contextlib.ExitStack) -> Player:
        self._tape = Tape.load(self.path)
        self._token = generate_token()
        unanswered = None
        if self.mode == "new":
            address, token = self._daemon(life)
            self._upstream_token = token
            self._new = Upstream(address, token)
            unanswered = self._new.ask
        stands = {text: value for value, text in self._replace.items()}
        bindings = Bindings({**stands, TOKEN: self._token}, SECRETS | self._secrets)
        self._player = Player(self._tape, self._token, bindings, unanswered)
        return self._player

    def _daemon(self, life: contextlib.ExitStack) -> tuple[Address, str | None]:
        """The daemon that is recorded, running."""
        upstream = self._upstream
        if upstream is None:
            from poppo_ipc.testing._real import RealDaemon

            upstream = life.enter_context(RealDaemon(set_environment=False))
        if isinstance(upstream, Address | str):
            return Address.parse(upstream), self._upstream_token
        return upstream.address, upstream.token

    def _scrubbed(self, tape: Tape) -> Tape:
        token = self._token if self._new is None else self._upstream_token
        return scrubbed(
            tape, token=token or self._upstream_token, replace=self._replace, secrets=self._secrets, scrub=self._scrub
        )
