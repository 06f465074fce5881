"""The book of one fake daemon: what is expected of it, what came, and what of that does not agree."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from poppo_ipc.errors import CommandError, InvalidArgs
from poppo_ipc.testing._calls import Call, Calls, written
from poppo_ipc.testing._errors import Unmet
from poppo_ipc.testing._expectations import Answer, Expectation
from poppo_ipc.testing._matchers import MISSING, differences
from poppo_ipc.testing._schemas import Schemas

__all__ = ["Book", "caller"]

_HERE: Final = os.path.dirname(__file__) + os.sep
_LISTED: Final = 20


class Book:
    """Written by the daemon and read by the test, as a rule in two threads: its methods may be called from any.

    Args:
        schemas: what is declared.
        assert_all_called: whether an expectation that stays unused fails the test.
        allow_unexpected: whether a call that no one expected does not.
    """

    def __init__(self, schemas: Schemas, *, assert_all_called: bool = True, allow_unexpected: bool = False) -> None:
        self.schemas = schemas
        self.assert_all_called = assert_all_called
        self.allow_unexpected = allow_unexpected
        self._changed = threading.Condition()
        self._expectations: list[Expectation] = []
        self._calls: list[Call] = []
        self._subscriptions: list[tuple[str, ...]] = []
        self._failures: list[str] = []
        self._pending: list[Callable[[], str | None]] = []

    # -- what the test says ---------------------------------------------------------------------------------------

    def expect(self, command: str, args: Mapping[str, Any]) -> Expectation:
        """A new expectation, behind those that there are."""
        __tracebackhide__ = True
        declaration = self.schemas.command(command)
        self.schemas.check_arg_names(declaration, args)
        expectation = Expectation(self.schemas, declaration, args, caller())
        with self._changed:
            self._expectations.append(expectation)
        return expectation

    def watch(self, unmet: Callable[[], str | None]) -> None:
        """Something else that has to happen: `unmet` says what of it did not, or None."""
        self._pending.append(unmet)

    # -- what the daemon says -------------------------------------------------------------------------------------

    def answer(
        self, command: str, args: dict[str, Any], refusal: InvalidArgs | None, *, session: str, key: str | None
    ) -> tuple[Answer, Call]:
        """The answer for a call, which counts as given from here on.

        `refusal` is what a daemon says of the args. Raises it, or a CommandError that tells that no expectation takes
        the call.
        """
        with self._writing():
            found = self._find(command, args, refusal)
            problem = None
            if found is None:
                problem = self._why(command, args) if refusal is None else f"its args are refused: {refusal}"
            call = Call(command, args, len(self._calls) + 1, session, key, problem)
            self._calls.append(call)
            if found is not None:
                answer = found.current
                assert answer is not None
                answer.used += 1
                return answer, call
        if refusal is not None:
            raise refusal
        raise CommandError("UNEXPECTED_CALL", f"The test does not expect {call}")

    def unknown(self, command: str, args: dict[str, Any]) -> None:
        """A command came that is not declared; the server refuses it by itself."""
        with self._writing():
            problem = "no daemon has this command"
            self._calls.append(Call(command, args, len(self._calls) + 1, problem=problem))

    def subscribed(self, patterns: tuple[str, ...]) -> None:
        """A client subscribed."""
        with self._writing():
            self._subscriptions.append(patterns)

    def failed(self, text: str) -> None:
        """Something went wrong in an answer: the test fails for it."""
        with self._writing():
            self._failures.append(text)

    # -- what came ------------------------------------------------------------------------------------------------

    @property
    def calls(self) -> Calls:
        """All calls so far."""
        with self._changed:
            return Calls(self._calls)

    def wait_for_call(self, command: str, count: int, seconds: float) -> None:
        """Block until a command has come so often. Raises AssertionError after `seconds`."""
        __tracebackhide__ = True
        self._wait(lambda: self._count(command) >= count, seconds, f"{count} of {command}")

    def wait_for_subscription(self, pattern: str | None, seconds: float) -> None:
        """Block until a client has subscribed, to `pattern` where that is given. Raises AssertionError."""
        __tracebackhide__ = True
        what = f"a subscription to {pattern!r}" if pattern else "a subscription"
        self._wait(
            lambda: any(pattern is None or pattern in patterns for patterns in self._subscriptions), seconds, what
        )

    # -- the verdict ----------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """All that does not agree."""
        with self._changed:
            found = [f"failed: {text}" for text in self._failures]
            if not self.allow_unexpected:
                found += [f"unexpected: {call}: {call.problem}" for call in self._calls if call.problem is not None]
            if self.assert_all_called:
                unmet = [expectation.unmet for expectation in self._expectations]
                unmet += [each() for each in self._pending]
                found += [f"unused: {text}" for text in unmet if text is not None]
        return found

    def account(self) -> str:
        """What came and what does not agree, for people."""
        calls = [f"  {call.number}. {call}" for call in self.calls]
        if len(calls) > _LISTED:
            calls[: len(calls) - _LISTED] = [f"  … {len(calls) - _LISTED} before these"]
        lines = [f"  {line}" for problem in self.problems() for line in problem.splitlines()]
        return "\n".join([*lines, "calls:" if calls else "calls: none", *calls])

    def verify(self) -> None:
        """Raise Unmet where something does not agree."""
        __tracebackhide__ = True
        if self.problems():
            raise Unmet(f"the fake daemon was not used as expected\n{self.account()}")

    def assert_called(self, command: str, args: Mapping[str, Any] | None, *, once: bool) -> None:
        """Raise AssertionError unless a command came: with exactly these args where they are given, and only `once`."""
        __tracebackhide__ = True
        self.schemas.command(command)
        calls = self.calls
        same = calls[command]
        if not same:
            raise AssertionError(f"{command} was not called; {calls}")
        if once and len(same) > 1:
            raise AssertionError(f"{command} was called {len(same)} times and not once; {same}")
        if args is None:
            return
        compared = [self._exact_differences(call, args) for call in same]
        if all(compared):
            raise AssertionError(_mismatch(command, args, same, compared))

    def assert_not_called(self, command: str | None) -> None:
        """Raise AssertionError where a command came, or any where none is named."""
        __tracebackhide__ = True
        if command is not None:
            self.schemas.command(command)
        calls = self.calls if command is None else self.calls[command]
        if calls:
            raise AssertionError(f"{command or 'the daemon'} was called; {calls}")

    # -- within -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._changed:
            yield
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        __tracebackhide__ = True
        deadline = time.monotonic() + seconds
        with self._changed:
            while not ready():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what} did not come within {seconds:g} s; {Calls(self._calls)}")
                self._changed.wait(left)

    def _count(self, command: str) -> int:
        return sum(call.command == command for call in self._calls)

    def _find(self, command: str, args: dict[str, Any], refusal: InvalidArgs | None) -> Expectation | None:
        for expectation in self._expectations:
            answer = expectation.current
            # A promised error is given for any args; all else a daemon only gives for those that it takes.
            usable = answer is not None and answer.kind != "none" and (refusal is None or answer.kind == "fail")
            if usable and expectation.command == command and not expectation.differences(args):
                return expectation
        return None

    def _why(self, command: str, args: dict[str, Any]) -> str:
        """Why no expectation takes a call: in what it differs from the nearest one."""
        nearest: Expectation | None = None
        least: list[str] = []
        for expectation in self._expectations:
            if expectation.command != command:
                continue
            found = expectation.differences(args)
            if not found:
                return _spent(expectation)
            if nearest is None or len(found) < len(least):
                nearest, least = expectation, found
        if nearest is None:
            return "no expectation names this command"
        return f"differs from {nearest}\n" + "\n".join(f"    {line}" for line in least)

    def _exact_differences(self, call: Call, args: Mapping[str, Any]) -> list[str]:
        found: list[str] = []
        defaults = self.schemas.defaults(call.command)
        for name in dict.fromkeys([*args, *call.args]):
            expected = args.get(name, MISSING)
            # What the test does not name may only be what it is when left out.
            if expected is MISSING and name in defaults and call.args[name] == defaults[name]:
                continue
            found += differences(expected, self.schemas.given(call.command, name, call.args, expected), name)
        return found


def _spent(expectation: Expectation) -> str:
    if any(answer.kind == "none" for answer in expectation.answers):
        return f"{expectation} has no answer"
    count = expectation.calls_answered
    return f"{expectation} was for {count} call{'s' * (count > 1)}: say .times(n) or .always() if more are right"


def _mismatch(command: str, args: Mapping[str, Any], calls: Calls, compared: list[list[str]]) -> str:
    lines = [f"{command} was called with other arguments", f"  expected {written(command, args)}"]
    for call, found in zip(calls, compared, strict=True):
        lines.append(f"  got      {call}")
        lines += [f"    {line}" for line in found]
    return "\n".join(lines)


def caller() -> str:
    """Where the harness was called from, as `test_cli.py:12`."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
