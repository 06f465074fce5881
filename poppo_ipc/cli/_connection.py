"""How the daemon is reached: the options that every command has, and the client that is made from them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

import click

from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._output import Output

if TYPE_CHECKING:
    from poppo_ipc.client import SyncClient
    from poppo_ipc.transport import Address

__all__ = ["Invocation", "connected", "connection_options", "default_token_file", "waiting_options"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

#: Seconds that a call takes at most where nothing else is said. Streams have no limit of their own.
CALL_SECONDS: Final = 30.0
#: Seconds that a daemon has to greet. One that is late is tried once more.
_HANDSHAKE_SECONDS: Final = 5.0


class Invocation:
    """One run of the program: the options that were given, before the command's name or after it."""

    def __init__(self) -> None:
        self.socket: str | None = None
        self.token_file: str | None = None
        self.timeout: float | None = None
        """Seconds, as they were given."""
        self.json: bool = False

    @property
    def output(self) -> Output:
        """Where results go."""
        return Output(as_json=self.json or None)

    def address(self) -> Address:
        """Where the daemon listens. Raises AddressError where what was given is no address."""
        from poppo_ipc.transport import Address

        return Address.default() if self.socket is None else Address.parse(self.socket)

    def token(self) -> str | None:
        """The token: of the file that was named, else of the environment, else of the default state directory.

        Raises AuthenticationError where there is a file that cannot be used.
        """
        from poppo_ipc.client import token_from_environment

        if self.token_file:
            return token_from_environment({"POPPO_TOKEN_FILE": self.token_file})
        token = token_from_environment()
        own = default_token_file()
        if token is None and os.path.lexists(own):
            return token_from_environment({"POPPO_TOKEN_FILE": own})
        return token

    @contextmanager
    def client(self, **changes: Any) -> Iterator[SyncClient]:
        """A connected client; closed at the end. `changes` are fields of `Options`.

        Raises what `SyncClient` raises, and `Failure` where the daemon did not answer within `--timeout`.
        """
        from poppo_ipc.client import Backoff, SyncClient
        from poppo_ipc.errors import ConnectionLost

        patience = min(self.timeout or _HANDSHAKE_SECONDS, _HANDSHAKE_SECONDS)
        options: dict[str, Any] = {
            "client_name": "poppo-ipc",
            "timeout": self.timeout or CALL_SECONDS,
            "handshake_seconds": patience,
            # A person is told at once; what is to survive restarts has a client of its own.
            "reconnect": False,
            "initial": Backoff(attempts=3, total=min(patience, 1.0)),
            **changes,
        }
        client = SyncClient(self.address(), token=self.token(), **options)
        try:
            client.__enter__()
        except ConnectionLost as error:
            if self.timeout is None or not error.timed_out:
                raise
            what = f"The daemon did not greet within {self.timeout:g} s"
            raise Failure(what, "Give it longer with --timeout SECONDS", ExitCode.TIMED_OUT) from error
        with client:
            yield client


def default_token_file() -> str:
    """Where `serve` keeps the token that it makes."""
    state = os.path.expanduser(os.environ.get("POPPO_STATE_DIR") or "~/.poppobuilder")
    return os.path.join(os.path.normpath(state), "token")


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    invocation = ctx.ensure_object(Invocation)
    if param.name == "timeout" and value is not None and not value > 0:
        raise click.BadParameter("it has to be over 0 seconds", ctx, param)
    if value not in (None, False):
        assert param.name is not None
        setattr(invocation, param.name, value)


_OPTIONS: Final = (
    click.option("--json", is_flag=True, expose_value=False, callback=_remember, help="JSON, also on a terminal."),
    click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        expose_value=False,
        callback=_remember,
        help="How long an answer may take (30; a stream: no limit).",
    ),
    click.option(
        "--token-file",
        type=click.Path(),
        expose_value=False,
        callback=_remember,
        help="The file that holds the token (POPPO_TOKEN_FILE).",
    ),
    click.option(
        "--socket",
        metavar="ADDRESS",
        expose_value=False,
        callback=_remember,
        help="Where the daemon listens (POPPO_SOCKET).",
    ),
)


def connection_options(function: F) -> F:
    """Add the options that say how to reach the daemon, and in what form the answer is wanted."""
    for option in _OPTIONS:
        function = option(function)
    return function


def waiting_options(function: F) -> F:
    """Add `--json` and `--timeout` alone: for commands whose other options say where the daemon is."""
    for option in _OPTIONS[:2]:
        function = option(function)
    return function


def connected(function: Callable[Concatenate[Invocation, P], R]) -> Callable[P, R]:
    """Add these options to a command, and give its function the `Invocation` first."""

    @connection_options
    @functools.wraps(function)
    def with_invocation(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(click.get_current_context().ensure_object(Invocation), *args, **kwargs)

    return with_invocation
