"""What a peer is: a server in a process of its own, and a client that loads it from another."""

from __future__ import annotations

import enum
import importlib
import importlib.util
import shutil
from pathlib import Path
from typing import Any, Protocol

from attrs import field, frozen

__all__ = ["ALL_MODES", "FAN_OUT", "REQUESTS", "AsyncClient", "Load", "Peer", "Place", "SyncClient"]

REQUESTS = frozenset({"requests", "big", "connect"})
FAN_OUT = frozenset({"fan-out"})
#: What a server of this wire is measured in, with the lean client.
ALL_MODES = REQUESTS | FAN_OUT | {"hold"}


class Load(enum.Enum):
    """Who makes the load, and on which event loop."""

    LEAN = "lean"
    """Plain sockets and requests encoded beforehand, the same for every server of this wire."""
    TRIO = "trio"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"
    SYNC = "sync"


@frozen
class Place:
    """Where a server is found, and how it is set; `settings` are its peer's own."""

    directory: Path
    settings: dict[str, Any] = field(factory=dict)

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return str(self.directory / "s")


class AsyncClient(Protocol):
    """A peer's own client, on an event loop."""

    async def call(self, command: str, args: dict[str, Any]) -> Any:
        """Ask and wait for the answer."""

    async def subscribe(self) -> None:
        """Get every event from now on."""

    async def take(self, count: int) -> Any:
        """Wait for so many events; gives the data of the last one."""


class SyncClient(Protocol):
    """A peer's own client, without an event loop."""

    def begin(self, command: str, args: dict[str, Any]) -> None:
        """Ask."""

    def end(self) -> Any:
        """Wait for the answer to the oldest question."""

    def subscribe(self) -> None:
        """Get every event from now on."""

    def take(self, count: int) -> Any:
        """Wait for so many events; gives the data of the last one."""


@frozen(kw_only=True)
class Peer:
    """A server with a client. The module has `serve(place)`, and `client(place)`, a context manager of its client."""

    name: str
    title: str
    """Both sides in a few words."""
    module: str
    """The file in this package."""
    load: Load
    kinds: frozenset[str] = ALL_MODES
    """The kinds of modes that it can be measured in."""
    needs: tuple[str, ...] = ()
    """Modules that it imports beyond those of the project."""
    programs: tuple[str, ...] = ()
    settings: dict[str, Any] = field(factory=dict)
    most_clients: int = 100_000
    """Clients that it can be asked to hold; a server with a thread for each cannot hold many."""
    threads: bool = False
    """Whether many clients in one process need a thread each, as the client cannot ask without waiting."""
    batches: bool = False
    """Whether 64 in flight means to ask for 64 at a time, on the client of an event loop."""
    handshake: bool = True
    """Whether its lean client has to be welcomed and to authenticate."""
    own: bool = False
    """Whether it is this project's server."""

    def missing(self) -> str | None:
        """Why it cannot take part here; None where it can."""
        for name in self.needs:
            if importlib.util.find_spec(name) is None:
                return f"the package {name} is not installed"
        for program in self.programs:
            if shutil.which(program) is None:
                return f"the program {program} is not installed"
        return None

    def order(self) -> dict[str, Any]:
        """What another process has to know of it, ready for JSON."""
        fields = {name: getattr(self, name) for name in ("name", "title", "module", "threads", "batches", "handshake")}
        return {**fields, "load": self.load.value}

    @classmethod
    def from_order(cls, order: dict[str, Any]) -> Peer:
        """The opposite."""
        return cls(**{**order, "load": Load(order["load"])})

    def code(self) -> Any:
        """The module, imported."""
        return importlib.import_module(f"bench_peers.{self.module}")
