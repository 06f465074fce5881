"""Whether what a client asks is what a cassette has, with placeholders bound to what they stand for."""

from __future__ import annotations

import re
from typing import Any, Final

from poppo_ipc.testing._cassette_scrub import PLACEHOLDERS, SECRETS, walked
from poppo_ipc.testing._cassette_tape import Message
from poppo_ipc.testing._matchers import differences

__all__ = ["Bindings", "asked"]

_PLACEHOLDER: Final = re.compile(r"<(uuid|time|id)-\d+>")


def asked(message: Message) -> Message:
    """What is compared of a command."""
    return {"command": message.get("command"), "args": message.get("args") or {}}


class Bindings:
    """What each placeholder stands for in this run."""

    def __init__(self, known: dict[str, str], secrets: frozenset[str] = SECRETS) -> None:
        self._known = dict(known)
        self._secrets = secrets

    def compare(self, recorded: Message, live: Message) -> tuple[list[str], dict[str, str]]:
        """In what a command differs from the recorded one, and what it binds where it does not."""
        fresh: dict[str, str] = {}

        def bound(value: Any, got: Any, name: str) -> Any:
            if isinstance(value, dict) and isinstance(got, dict):
                return {key: bound(each, got.get(key), key) for key, each in value.items()}
            if isinstance(value, list) and isinstance(got, list):
                padded = [*got, *[None] * len(value)]
                return [bound(each, other, name) for each, other in zip(value, padded, strict=False)]
            if isinstance(value, str):
                if value == "<secret>" and name.lower() in self._secrets:
                    return got
                return self._bound(value, got, fresh)
            return value

        expected = bound(asked(recorded), asked(live), "")
        return differences(expected, asked(live)), fresh

    def keep(self, fresh: dict[str, str]) -> None:
        """These stand for what they were found to stand for, from here on."""
        self._known.update(fresh)

    def filled(self, message: Message) -> Message:
        """A recorded message with what its placeholders stand for."""
        found: Message = walked(message, lambda value, name: self._filled(value, {}))
        return found

    def _filled(self, value: Any, fresh: dict[str, str]) -> Any:
        if isinstance(value, str) and "<" in value:
            for placeholder, text in {**self._known, **fresh}.items():
                value = value.replace(placeholder, text)
        return value

    def _bound(self, value: str, got: Any, fresh: dict[str, str]) -> str:
        value = self._filled(value, fresh)
        open_ones = list(_PLACEHOLDER.finditer(value))
        if not open_ones or not isinstance(got, str):
            return value
        pattern, at = "", 0
        for found in open_ones:
            pattern += re.escape(value[at : found.start()]) + f"({PLACEHOLDERS[found[1]]})"
            at = found.end()
        matched = re.fullmatch(pattern + re.escape(value[at:]), got)
        if matched is None:
            return value
        fresh.update({found[0]: text for found, text in zip(open_ones, matched.groups(), strict=True)})
        return got
