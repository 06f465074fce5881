"""What a log may not hold: secrets are masked wherever they stand, before anything keeps or shows a line."""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from collections.abc import Iterable, Mapping, MutableMapping, Set
from datetime import date
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from os import PathLike, fspath
from typing import Any, Final

__all__ = ["MASK", "Redactor"]

MASK: Final = "[redacted]"

#: A key of which this is a word holds a secret.
_WORDS: Final = frozenset(
    {"token", "secret", "password", "passwd", "passphrase", "authorization", "proof", "nonce", "cookie", "credential"}
)
#: The same of two words in a row.
_PAIRS: Final = frozenset({("api", "key"), ("private", "key"), ("access", "key")})
#: A key that ends like this says where the secret is, or how many there are.
_ABOUT: Final = frozenset({"file", "path", "dir", "count"})
_KEY_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

# `token=…`, `"password": "…"`, `Authorization: Bearer …` inside a text.
_IN_TEXT: Final = re.compile(
    r"""(?P<key>token|secret|passw(?:or)?d|passphrase|authorization|proof|nonce|cookie|credential
                |(?:api|private|access)[_-]?key)
        (?P<between>["']?\s{0,4}[=:]\s{0,4}(?:(?:bearer|basic|digest)\s+)?)
        (?P<value>"[^"]*"|'[^']*'|[^\s"',;&)}\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
# Shorter ones would take letters out of every other word; no token has so few.
_SHORTEST: Final = 4
_DEPTH: Final = 6
_ITEMS: Final = 256
_TEXT: Final = 16 * 1024
_MAX_INT: Final = 2**63


class Redactor:
    """Masks secrets by the name of their field, by their own text, and by `name=value` inside texts.

    It also makes values plain: what comes out is what JSON has, bounded in depth, in items and in length. Can be used
    as a structlog processor. Safe in any thread.

    Args:
        secrets: texts that are masked wherever they occur.
    """

    def __init__(self, secrets: Iterable[str | bytes] = ()) -> None:
        self._forms: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._longest = 0
        for secret in secrets:
            self.register(secret)

    def register(self, secret: str | bytes) -> None:
        """Mask this text from now on, also as it looks in JSON, in a URL and in a Python literal.

        Raises ValueError for one of fewer than 4 characters, which would mask half of every text.
        """
        text = secret.decode("utf-8", "backslashreplace") if isinstance(secret, bytes) else secret
        if len(text) < _SHORTEST:
            raise ValueError(f"a secret of {len(text)} characters cannot be masked; it has to have {_SHORTEST}")
        forms = {text, repr(text)[1:-1], json.dumps(text)[1:-1], urllib.parse.quote(text, safe="")}
        self._forms |= forms
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._longest = len(longest_first[0])
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str, limit: int = _TEXT) -> str:
        """The text without secrets, and with at most `limit` characters of its own."""
        if not text.isascii():
            # Names of files may hold halves of characters, which no JSON can.
            text = text.encode("utf-8", "backslashreplace").decode()
        cut = len(text) - limit
        shown = text if cut <= 0 else text[: limit + self._longest]
        if self._pattern is not None:
            shown = self._pattern.sub(MASK, shown)
        if "=" in shown or ":" in shown:  # most texts have neither, and the pattern looks at every letter
            shown = _IN_TEXT.sub(_mask_value, shown)
        if cut <= 0:
            return shown
        # A secret that was cut in half is not known as one: its part is within the last characters.
        return f"{shown[: max(0, min(limit, len(shown) - self._longest))]}… ({cut} more characters)"

    def fields(self, fields: Mapping[Any, Any]) -> dict[str, Any]:
        """A mapping made plain."""
        return self._mapping(fields, 0)

    def __call__(self, logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """As a structlog processor: all fields made plain; `exc_info` is left for what formats it."""
        untouched = {key: event_dict[key] for key in ("exc_info", "stack_info") if key in event_dict}
        return {**self.fields({k: v for k, v in event_dict.items() if k not in untouched}), **untouched}

    def value(self, value: Any, depth: int = 0) -> Any:
        """One value made plain."""
        if value is None or value is True or value is False:
            return value
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if isinstance(value, str):
            return self.text(str(value))
        if isinstance(value, int):
            return int(value) if -_MAX_INT <= value < _MAX_INT else str(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(value)
        return self._other(value, depth)

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping | list | tuple | Set) and depth >= _DEPTH:
            return "…"
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | Set):
            items = [self.value(item, depth + 1) for item, _ in zip(value, range(_ITEMS), strict=False)]
            return items if len(value) <= _ITEMS else [*items, f"… ({len(value) - _ITEMS} more)"]
        return self.text(_plain_text(value))

    def _mapping(self, fields: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in fields.items():
            if len(plain) >= _ITEMS:
                plain["…"] = f"{len(fields) - _ITEMS} more"
                break
            name = key if isinstance(key, str) else _plain_text(key)
            plain[self.text(name, 256)] = MASK if _is_secret(name, value) else self.value(value, depth + 1)
        return plain


def _plain_text(value: Any) -> str:
    try:
        if isinstance(value, date):  # and datetime, which is one
            return value.isoformat()
        if isinstance(value, PathLike):
            return str(fspath(value))
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).decode("utf-8", "backslashreplace")
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} without a text: {type(error).__name__}>"


def _is_secret(key: str, value: Any) -> bool:
    if value is None or value is True or value is False:
        return False
    named = _names_secret(key)
    # `tokens` that are a number are counted, and `password` that is one is still a password.
    return named == "one" or (named == "many" and not isinstance(value, int | float))


@lru_cache(maxsize=1024)
def _names_secret(key: str) -> str:
    """Whether a key is the name of "one" secret, of "many", or "" of none."""
    words = [word.lower() for word in _KEY_WORD.findall(key[:256])]
    if not words or words[-1] in _ABOUT:
        return ""
    if not _WORDS.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words)):
        return "one"
    return "many" if any(word.endswith("s") and word[:-1] in _WORDS for word in words) else ""


def _mask_value(found: re.Match[str]) -> str:
    value = found["value"]
    if value == MASK[:-1]:
        return found[0]  # masked already: its `]` ended the match
    quote = value[0] if value[0] in "\"'" else ""
    return f"{found['key']}{found['between']}{quote}{MASK}{quote}"
