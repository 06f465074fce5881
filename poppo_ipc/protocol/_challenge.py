"""The challenge proof (WIRE.md section 4): both sides show that they know the token, and it never crosses the wire.

Each side signs its own name and both nonces, its peer's and its own, so that a proof made by one side is of no use
as a proof of the other, nor on another connection.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from typing import Any, Final

__all__ = ["NONCE_BYTES", "client_proof", "decode_nonce", "new_nonce", "proof_matches", "server_proof"]

NONCE_BYTES: Final = 32


def new_nonce() -> str:
    """32 fresh random bytes in base64, for one connection."""
    return base64.b64encode(os.urandom(NONCE_BYTES)).decode()


def decode_nonce(text: Any) -> bytes | None:
    """The bytes of a peer's nonce, or None where it is not the base64 of 32 bytes."""
    if not isinstance(text, str):
        return None
    try:
        nonce = base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return nonce if len(nonce) == NONCE_BYTES else None


def client_proof(token: str, nonce: bytes, client_nonce: bytes) -> str:
    """What a client shows: HMAC-SHA256 over "POPPO client", the server's nonce and its own, in base64."""
    return _sign(token, b"POPPO client" + nonce + client_nonce)


def server_proof(token: str, nonce: bytes, client_nonce: bytes) -> str:
    """What the server shows in return: the same with "POPPO server" and the nonces the other way round."""
    return _sign(token, b"POPPO server" + client_nonce + nonce)


def proof_matches(expected: str, shown: Any) -> bool:
    """Whether the peer's proof is the expected one, compared in constant time."""
    return isinstance(shown, str) and hmac.compare_digest(expected.encode(), shown.encode("utf-8", "replace"))


def _sign(token: str, message: bytes) -> str:
    return base64.b64encode(hmac.digest(token.encode("utf-8", "surrogatepass"), message, "sha256")).decode()
