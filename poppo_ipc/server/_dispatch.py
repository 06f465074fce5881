"""From a decoded command to its handler's result: who may, what with, and what an exception becomes."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from poppo_ipc._groups import sole
from poppo_ipc.commands import Command, Kind, Middleware, Router
from poppo_ipc.errors import (
    Busy,
    CommandError,
    Forbidden,
    InternalError,
    ShuttingDown,
    UnknownCommand,
)
from poppo_ipc.protocol import Command as CommandMessage
from poppo_ipc.server._answers import Outcome
from poppo_ipc.server._request import Request

if TYPE_CHECKING:
    from poppo_ipc.server._session import Session

__all__ = ["Dispatcher", "command_error", "execute", "is_failure", "must_store"]

logger = logging.getLogger("poppo_ipc.server")

# A name of its own: to look a member up in its Enum takes as long as to call the handler.
_ASYNC: Final = Kind.ASYNC


class Dispatcher:
    """Finds the handler of a command and checks that it may run."""

    def __init__(self, commands: Mapping[str, Command], router: Router, running_per_client: int) -> None:
        self._commands = commands
        self._router = router
        self._limit = running_per_client

    def admit(self, session: Session, message: CommandMessage, running: int) -> Command:
        """The declaration of the command. Raises CommandError: the scope is looked at before anything of the args."""
        principal = session.principal
        if session.server.stopping:
            raise ShuttingDown("The server is stopping; try again when it is up")
        if running >= self._limit:
            raise Busy(
                f"This client has {running} commands running; wait for one of them to end", {"limit": self._limit}
            )
        declaration = self._commands.get(message.command)
        if not principal.allows(message.command if declaration is None else declaration.scope):
            raise Forbidden(f"The token {principal.name!r} does not allow this command")
        if declaration is None:
            suggestions = self._router.suggest(message.command, principal.allows)
            raise UnknownCommand(f"Unknown command: {message.command[:200]}", {"suggestions": suggestions})
        return declaration


async def execute(request: Request) -> Any:
    """Run the handler inside its middleware; the result is ready for JSON."""
    declaration = request.declaration
    middleware = declaration.middleware
    if declaration.kind is _ASYNC and not middleware and request.run is None:
        # Most of them, with no more frames around the handler than this one.
        return declaration.encode_result(await declaration.start(request, request.bound))
    if must_store(request):
        return await _execute_stored(request)
    result = await (_through(middleware, 0, request) if middleware else _handle(request))
    return result if declaration.kind is Kind.STREAM else declaration.encode_result(result)


def must_store(request: Request) -> bool:
    """Whether the answer has to be on disk before it goes out: it has a key that outlives the daemon.

    What may be done twice is simply done again.
    """
    return request.run is not None and request.session.server.answers.durable and not request.declaration.idempotent


async def _execute_stored(request: Request) -> Any:
    declaration, run = request.declaration, request.run
    assert run is not None
    answers = request.session.server.answers
    try:
        result = await (_through(declaration.middleware, 0, request) if declaration.middleware else _handle(request))
        if declaration.kind is not Kind.STREAM:
            result = declaration.encode_result(result)
    except CommandError as error:
        if not run.stored:
            await answers.store(run, Outcome(None, error))
        raise
    if not run.stored:
        await answers.store(run, Outcome(msgspec.json.encode(result), None))
    return result


def _through(middleware: tuple[Middleware, ...], index: int, request: Request) -> Awaitable[Any]:
    if index == len(middleware):
        return _handle(request)
    return middleware[index](request, lambda: _through(middleware, index + 1, request))


async def _handle(request: Request) -> Any:
    declaration = request.declaration
    match declaration.kind:
        case Kind.ASYNC:
            return await declaration.start(request, request.bound)
        case Kind.SYNC:
            return declaration.start(request, request.bound)
        case Kind.THREAD:
            # Abandoned when cancelled: a thread cannot be stopped, and its client should not wait for it.
            return await trio.to_thread.run_sync(
                partial(declaration.start, request, request.bound),
                abandon_on_cancel=True,
                limiter=request.session.server.threads,
            )
        case Kind.STREAM:
            async with contextlib.aclosing(declaration.start(request, request.bound)) as items:
                async for item in items:
                    await request.send_item(item)
            return None if request.wants_items else request.collected or []


def command_error(error: BaseException, session: Session, command: str, request_id: str) -> CommandError:
    """What a client is told of an exception: a `CommandError` as it is, of others only a reference to the log."""
    found = sole(error)
    if isinstance(found, CommandError):
        return found
    ref = secrets.token_hex(6)
    logger.error(
        "Command %s failed (ref %s)",
        command,
        ref,
        exc_info=error,
        extra={"ref": ref, "session": session.id, "request": request_id, "command": command},
    )
    return InternalError("Internal error", {"ref": ref})


def is_failure(error: BaseException) -> bool:
    """Whether an exception is the handler's own affair: an Exception, `sys.exit()`, or a group of only such."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_failure, error.exceptions))
    return isinstance(error, (Exception, SystemExit))
