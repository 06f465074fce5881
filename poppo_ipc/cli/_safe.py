"""Text from elsewhere, made safe for a terminal."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["safe", "safe_json"]

# Control characters (C0, DEL, C1), what turns the direction of writing, line separators, and halves of surrogates.
_OTHERS: Final = "\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
_UNSAFE: Final = re.compile(f"[\x00-\x1f{_OTHERS}]")
_UNSAFE_IN_JSON: Final = re.compile(f"[{_OTHERS}]")
_SHORT: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def safe(text: str) -> str:
    """The text on one line, with nothing in it that a terminal obeys or that hides something: that is written out."""
    return _UNSAFE.sub(_written, text)


def safe_json(text: str) -> str:
    """The same for a JSON text: still JSON, of the same value."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _written(found: re.Match[str]) -> str:
    number = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")
