"""What one client has running: commands from the moment they are taken in to their one answer."""

from __future__ import annotations

import time
from collections.abc import MutableSequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

import msgspec

from poppo_ipc.commands import Bound
from poppo_ipc.commands import Command as Declaration
from poppo_ipc.errors import (
    CallTimeout,
    CommandCancelled,
    CommandError,
    FrameTooLarge,
    LocalProtocolError,
    ResultTooLarge,
    ShuttingDown,
)
from poppo_ipc.protocol import Command
from poppo_ipc.server._answers import KeyedRun, Outcome
from poppo_ipc.server._builtin import SESSION_BOUND
from poppo_ipc.server._dispatch import command_error, is_failure, must_store
from poppo_ipc.server._request import Request

if TYPE_CHECKING:
    from poppo_ipc.server._session import Session

__all__ = ["Running"]

_encode_json: Final = msgspec.json.Encoder().encode
# A timeout longer than this is as good as none, and no float loses it.
_LONGEST_TIMEOUT_MS: Final = 2**53


class Running:
    """The commands of `session` that have no answer yet."""

    __slots__ = ("_abandoned", "_lone", "_requests", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._requests: dict[str, Request] = {}
        self._abandoned = False
        self._lone = 0

    def __len__(self) -> int:
        return len(self._requests) + self._lone

    # -- beginning ----------------------------------------------------------------------------------------------

    def begin(self, message: Command) -> Request | None:
        """Take a command in. None where it has its answer already: refused, run in this turn, kept or joined."""
        session = self._session
        session.counters.commands += 1
        request_id = message.id
        bound: Bound | None = None
        try:
            declaration = session.server.dispatcher.admit(session, message, len(self._requests))
            key = message.idempotency_key
            if isinstance(key, str) and declaration.name not in SESSION_BOUND:
                request = self._begin_keyed(message, declaration, key)
            elif declaration.lone:
                request, bound = None, declaration.bind(message.args)
            else:
                request = self._take_in(message, declaration)
        except BaseException as error:
            if not is_failure(error):
                raise
            self._refuse(message, command_error(error, session, message.command, request_id))
            return None
        if request is None:
            if bound is not None:
                self._run_lone(request_id, declaration, bound)
            return None
        if not declaration.inline or (request.run is not None and must_store(request)):
            return request
        self._run_inline(request)
        return None

    def _refuse(self, message: Command, error: CommandError) -> None:
        server = self._session.server
        self._answer_error(message.id, error)
        if server.observer is not None:
            server.observer(message.command if message.command in server.commands else "", 0.0, error.code)

    def _take_in(self, message: Command, declaration: Declaration) -> Request:
        session = self._session
        server = session.server
        request = Request(session, message.id, declaration, declaration.bind(message.args))
        if server.observer is not None:
            request.began = time.perf_counter()
        timeout_ms, credit = message.timeout_ms, message.credit
        if timeout_ms or credit:
            request.limit(min(timeout_ms, _LONGEST_TIMEOUT_MS) / 1000 if timeout_ms else None, credit or None)
        self._requests[message.id] = request
        server.running += 1
        return request

    def _begin_keyed(self, message: Command, declaration: Declaration, key: str) -> Request | None:
        session = self._session
        answers = session.server.answers
        run = answers.find(session.principal.name, key, declaration.name, message.args)
        request = self._take_in(message, declaration)
        if run is None:
            request.run = answers.begin(session.principal.name, key, declaration.name, message.args)
            return request
        request.run = run
        request.joined = True
        if run.outcome is not None:
            self.settle_joined(request, run.outcome)
        else:
            run.joiners.append(request)
            self.arm(request)
        return None

    def _run_lone(self, request_id: str, declaration: Declaration, bound: Bound) -> None:
        """Run what cannot wait and sees nothing of the call: nothing can stop it either, so it needs no `Request`."""
        session = self._session
        server = session.server
        began = 0.0 if server.observer is None else time.perf_counter()
        failure: CommandError | None = None
        result: Any = None
        args, kwargs = bound
        self._lone = 1
        server.running += 1
        try:
            result = declaration.encode_result(copy_context().run(declaration.handler, *args, **kwargs))
        except BaseException as error:
            if not is_failure(error):
                raise
            failure = command_error(error, session, declaration.name, request_id)
        finally:
            self._lone = 0
            server.one_less_running()
        failure = self._answer(request_id, declaration.name, result, failure)
        if server.observer is not None:
            server.observer(declaration.name, time.perf_counter() - began, None if failure is None else failure.code)

    def _run_inline(self, request: Request) -> None:
        declaration = request.declaration
        try:
            result = declaration.encode_result(copy_context().run(declaration.start, request, request.bound))
        except BaseException as error:
            if not is_failure(error):
                raise
            self.settle(request, error=error)
        else:
            self.settle(request, result=result)

    def arm(self, request: Request) -> None:
        """Have the command cancelled when its time is up."""
        if request.timer is None and request.deadline != float("inf"):
            request.timer = self._session.server.timers.at(
                request.deadline, lambda: request.stop(CallTimeout("The command ran out of time and was cancelled"))
            )

    # -- from the client ----------------------------------------------------------------------------------------

    def cancel(self, request_id: str, inbox: MutableSequence[Command]) -> None:
        """The client no longer wants an answer. Without effect where it has one."""
        request = self._requests.get(request_id)
        if request is not None:
            request.stop(CommandCancelled("The command was cancelled"))
            return
        for message in inbox:
            if message.id == request_id:
                inbox.remove(message)
                self._session.counters.commands += 1
                self._refuse(message, CommandCancelled("The command was cancelled"))
                return

    def credit(self, request_id: str, credit: int, inbox: MutableSequence[Command]) -> None:
        """The client has room for so many more items."""
        request = self._requests.get(request_id)
        if request is not None:
            request.add_credit(credit)
            return
        for message in inbox:
            if message.id == request_id and message.credit:
                message.credit += credit

    def client_gone(self) -> None:
        """Cancel what runs for a client that has gone, except what was begun with an idempotency key."""
        for request in list(self._requests.values()):
            request.wake()
            if request.run is None or request.joined:
                request.stop(CommandCancelled("The connection ended"))

    def shut_down(self) -> None:
        """The server stops, and the grace time is over."""
        for request in list(self._requests.values()):
            request.stop(ShuttingDown("The server stopped before the command ended"))

    def abandon(self) -> None:
        """What runs still, though it was cancelled: its answer is due, and nobody may wait for it any longer."""
        self._abandoned = True
        for request in list(self._requests.values()):
            request.reason = request.reason or CommandCancelled("The connection ended")
            self.settle(request, error=request.reason)

    # -- answering ----------------------------------------------------------------------------------------------

    def item(self, request: Request, data: Any) -> None:
        """Queue one item of a command."""
        session = self._session
        try:
            session.outbox.put(session.connection.item(request.request_id, data))
        except FrameTooLarge:
            raise ResultTooLarge("An item does not fit a frame") from None
        session.server.fanout.flush_soon(session)

    def settle(self, request: Request, *, result: Any = None, error: BaseException | None = None) -> None:
        """The command has ended: its one answer. Where it was stopped, that is the answer, whatever came of it."""
        if request.done:
            return
        failure: CommandError | None = request.reason
        if failure is None and error is None and request.run is None:
            self._close(request)
            failure = self._answer(request.request_id, request.declaration.name, result, None)
            if request.after_answer is not None or self._session.server.observer is not None:
                self._after(request, failure)
            return
        if failure is None and error is not None:
            failure = command_error(error, self._session, request.command, request.request_id)
        elif failure is not None and error is not None and error is not failure:
            self._note_late(request, error)
        run = request.run
        if run is not None and not request.joined:
            failure = self._settle_keyed(request, run, result, failure)
        else:
            self._close(request)
            failure = self._answer(request.request_id, request.command, result, failure)
        self._after(request, failure)

    def _settle_keyed(
        self, request: Request, run: KeyedRun, result: Any, failure: CommandError | None
    ) -> CommandError | None:
        outcome: Outcome
        if failure is None:
            try:
                outcome = Outcome(_encode_json(result), None)
            except Exception as error:
                failure = command_error(error, self._session, request.command, request.request_id)
        if failure is not None:
            outcome = Outcome(None, failure)
        self._close(request)
        failure = self._answer_outcome(request, outcome)
        keep = not (self._abandoned or isinstance(outcome.error, ShuttingDown))
        self._session.server.answers.finish(run, outcome, keep=keep)
        return failure

    def settle_joined(self, request: Request, outcome: Outcome) -> None:
        """The run that the request joined has ended, now or long ago."""
        if not request.done:
            self._close(request)
            self._after(request, self._answer_outcome(request, outcome))
            self._session.server.fanout.flush_soon(self._session)

    def _close(self, request: Request) -> None:
        request.done = True
        if request.timer is not None:
            request.timer.cancel()
        del self._requests[request.request_id]
        self._session.server.one_less_running()

    def _after(self, request: Request, failure: CommandError | None) -> None:
        session = self._session
        observer = session.server.observer
        if observer is not None:
            code = None if failure is None else failure.code
            observer(request.command, time.perf_counter() - request.began, code)
        follow_up = request.after_answer
        if follow_up is not None:
            request.after_answer = None
            if failure is None and not session.over:
                follow_up()

    def _answer_outcome(self, request: Request, outcome: Outcome) -> CommandError | None:
        result = msgspec.Raw(outcome.result or b"null")
        return self._answer(request.request_id, request.command, result, outcome.error)

    def _answer(self, request_id: str, command: str, result: Any, failure: CommandError | None) -> CommandError | None:
        """Queue the one answer; gives the error that it is, if it is one."""
        session = self._session
        if session.over:
            return failure
        if failure is None:
            try:
                session.outbox.put(session.connection.respond(request_id, result))
                return None
            except FrameTooLarge:
                failure = ResultTooLarge("The answer does not fit a frame; the command did run")
            except LocalProtocolError:
                raise
            except Exception as error:
                # The handler gave what is not JSON.
                failure = command_error(error, session, command, request_id)
        self._answer_error(request_id, failure)
        return failure

    def _answer_error(self, request_id: str, error: CommandError) -> None:
        session = self._session
        if session.over:
            return
        session.counters.errors += 1
        try:
            frame = session.connection.fail(request_id, error)
        except LocalProtocolError:
            raise
        except Exception as problem:
            # Details that are not JSON, or over the bound.
            frame = session.connection.fail(request_id, command_error(problem, session, "", request_id))
        session.outbox.put(frame)

    def _note_late(self, request: Request, error: BaseException) -> None:
        request.log.info("Command %s raised while it was being stopped", request.command, exc_info=error)
