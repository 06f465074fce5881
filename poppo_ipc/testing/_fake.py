"""A fake daemon on a real socket or named pipe, in a thread of its own: for every program that can connect."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from poppo_ipc.client import DEFAULT, SyncClient
from poppo_ipc.client._options import Default
from poppo_ipc.commands import Router
from poppo_ipc.limits import Limits
from poppo_ipc.protocol import ALL_CAPABILITIES
from poppo_ipc.testing._core import DaemonCore
from poppo_ipc.testing._decorating import inside
from poppo_ipc.testing._environment import Environment
from poppo_ipc.testing._expecting import Expecting
from poppo_ipc.testing._place import Place
from poppo_ipc.testing._thread import TrioThread
from poppo_ipc.transport import Address

__all__ = ["FakeDaemon"]

R = TypeVar("R")

#: The parameters of a decorated function that get the daemon.
_PARAMETERS = ("fake_daemon", "daemon")


class FakeDaemon(Expecting):
    """Answers commands as a test says, at a real socket that `POPPO_SOCKET` and `POPPO_TOKEN` lead to.

    On Windows that is a named pipe. A context manager (`with FakeDaemon() as daemon:`), a decorator (`@FakeDaemon()`,
    for plain and async functions; a parameter named `fake_daemon` or `daemon` gets a new one at each call), and the
    fixture `fake_daemon`. It runs in a thread of its own, so programs with any event loop or none can call it, and
    other processes. At the end of the block it raises Unmet where an expectation stayed unused or a call came that no
    one expected; an exception of the block comes out as it is, with an account of the calls as a note.

    Args:
        router: what the daemon is declared to answer and tell: a router, or several, of which later ones take
            precedence; the standard commands and events where none is given.
        token: the token that clients have to show, a new one by default; None lets in every process of this user.
        assert_all_called: whether an expectation, or a fault, that stays unused fails the test.
        allow_unexpected: whether a call that no one expected does not. The caller gets an error either way.
        limits, capabilities: as `Server` has them.
    """

    def __init__(
        self,
        router: Router | Iterable[Router] | None = None,
        *,
        token: str | Default | None = DEFAULT,
        assert_all_called: bool = True,
        allow_unexpected: bool = False,
        limits: Limits | None = None,
        capabilities: tuple[str, ...] = ALL_CAPABILITIES,
    ) -> None:
        routers = router if router is None or isinstance(router, Router) else tuple(router)
        self._options: dict[str, Any] = {
            "router": routers,
            "token": token,
            "assert_all_called": assert_all_called,
            "allow_unexpected": allow_unexpected,
            "limits": limits,
            "capabilities": capabilities,
        }
        core = DaemonCore(**self._options)
        super().__init__(core, self._in_thread)
        self._thread: TrioThread | None = None
        self._place: Place | None = None
        self._environment = Environment({})

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen, and set the environment. Raises RuntimeError where it has been started before."""
        if self._place is not None:
            raise RuntimeError("this fake daemon has been started already; make a new one")
        self._place = Place.new()
        thread = self._thread = TrioThread(functools.partial(self._core.serve, self.address), "poppo-fake-daemon")
        try:
            thread.start()
        except BaseException:
            self.stop()
            raise
        self._environment = Environment(self.environment)
        self._environment.apply()
        return self

    def stop(self) -> None:
        """Close all connections and the socket, and set the environment back. Idempotent; `verify` is the caller's."""
        self._environment.restore()
        try:
            if self._thread is not None:
                self._thread.stop()
        finally:
            if self._place is not None:
                self._place.remove()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.stop()
        if value is None:
            self.verify()
        elif isinstance(value, Exception):
            value.add_note(f"the fake daemon:\n{self.account()}")

    def __call__(self, function: Callable[..., R]) -> Callable[..., R]:
        """Run a function inside a new daemon of the same options."""
        return inside(function, lambda: FakeDaemon(**self._options), *_PARAMETERS)

    # -- where it is --------------------------------------------------------------------------------------------------

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
            raise RuntimeError("this fake daemon has not been started: use it as `with FakeDaemon() as daemon:`")
        return self._place

    @property
    def token(self) -> str | None:
        """The token that it takes."""
        return self._core.token

    @property
    def environment(self) -> dict[str, str | None]:
        """The variables that lead to it; None for those that must not be set."""
        return {"POPPO_SOCKET": self.socket, "POPPO_TOKEN": self.token, "POPPO_TOKEN_FILE": None}

    def client(self, **options: Any) -> SyncClient:
        """A client of it, with the options of `SyncClient`."""
        return SyncClient(self.address, token=self.token, **options)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def wait_for_call(self, command: str, count: int = 1, *, timeout: float = 30.0) -> None:
        """Block until a command has come `count` times. Raises AssertionError after `timeout` seconds.

        For programs that run beside the test; in an event loop, call it in a thread.
        """
        __tracebackhide__ = True
        self._book.wait_for_call(command, count, timeout)

    def wait_until_subscribed(self, pattern: str | None = None, *, timeout: float = 30.0) -> None:
        """Block until a client has subscribed to events, to `pattern` where that is given: then `emit` reaches it.

        Raises AssertionError after `timeout` seconds.
        """
        __tracebackhide__ = True
        self._book.wait_for_subscription(pattern, timeout)

    def _in_thread(self, function: Callable[[], Any]) -> Any:
        __tracebackhide__ = True
        if self._thread is None:
            raise RuntimeError("this fake daemon has not been started: use it as `with FakeDaemon() as daemon:`")
        return self._thread.call(function)
