"""Who a client is: tokens, their files, and the protocol for an authenticator of one's own."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import field, frozen

from poppo_ipc.commands import Principal
from poppo_ipc.errors import DeclarationError, PoppoError
from poppo_ipc.protocol import PeerInfo, client_proof, decode_nonce, proof_matches, server_proof
from poppo_ipc.transport import PeerCredentials
from poppo_ipc.transport._private import create_private_file, make_private_directory, why_not_private

__all__ = ["AuthAttempt", "Authenticator", "Token", "TokenAuth", "TokenFileError", "generate_token", "read_token_file"]

TOKEN_BYTES: Final = 32


class TokenFileError(PoppoError):
    """A token file is missing, empty, or open to other users; the message says which and what to do."""

    code = "TOKEN_FILE"


class AuthAttempt:
    """One `auth` of a client: ask `verify` whether it knows a secret.

    `peer` is what the kernel says of the client, `client` what it says of itself.
    """

    __slots__ = ("_client_nonce", "_nonce", "_proof", "_token", "client", "peer", "server_proof")

    def __init__(
        self, *, token: Any, proof: Any, nonce: str, client_nonce: Any, peer: PeerCredentials | None, client: PeerInfo
    ) -> None:
        self._token = token
        self._proof = proof
        self._nonce = decode_nonce(nonce)
        self._client_nonce = decode_nonce(client_nonce)
        self.peer = peer
        self.client = client
        #: The proof that the server knows the secret too, once `verify` has found it.
        self.server_proof: str | None = None

    def verify(self, secret: str) -> bool:
        """Whether the client knows `secret`, by its proof where it gave one, else by its token; in constant time."""
        if isinstance(self._proof, str):
            if self._nonce is None or self._client_nonce is None:
                return False
            if not proof_matches(client_proof(secret, self._nonce, self._client_nonce), self._proof):
                return False
            self.server_proof = server_proof(secret, self._nonce, self._client_nonce)
            return True
        if not isinstance(self._token, str):
            return False
        return hmac.compare_digest(secret.encode("utf-8", "replace"), self._token.encode("utf-8", "replace"))


class Authenticator(Protocol):
    """What decides who a client is."""

    async def authenticate(self, attempt: AuthAttempt) -> Principal | None:
        """The principal of a client whose `attempt` is good, else None. Cancelled when its time is up."""


@frozen
class Token:
    """A secret with a name, and the scopes of who shows it: globs of command names, such as `*.status`."""

    name: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...] = ("*",)

    def __attrs_post_init__(self) -> None:
        if not self.secret:
            raise DeclarationError(f"The token {self.name!r} is empty; make one with generate_token()")


class TokenAuth:
    """Lets in who knows one of the tokens. Raises DeclarationError for no token, or two of one name."""

    def __init__(self, *tokens: Token) -> None:
        if not tokens:
            raise DeclarationError("TokenAuth needs a token; Server(auth=None) serves without")
        if len({token.name for token in tokens}) != len(tokens):
            raise DeclarationError("Two tokens have one name")
        self._tokens = tokens

    @classmethod
    def from_secret(cls, secret: str, *, name: str = "default", scopes: Iterable[str] = ("*",)) -> TokenAuth:
        """One token, given as a string."""
        return cls(Token(name, secret, tuple(scopes)))

    @classmethod
    def from_file(
        cls, path: str | os.PathLike[str], *, name: str = "default", scopes: Iterable[str] = ("*",)
    ) -> TokenAuth:
        """One token, read from a file that only its owner can read. Raises TokenFileError."""
        return cls(Token(name, read_token_file(path), tuple(scopes)))

    @classmethod
    def from_environment(
        cls, variable: str = "POPPO_TOKEN", *, name: str = "default", scopes: Iterable[str] = ("*",)
    ) -> TokenAuth:
        """One token, from an environment variable. Raises DeclarationError where it is not set."""
        secret = os.environ.get(variable, "")
        if not secret:
            raise DeclarationError(f"{variable} is not set; set it to the token, or use a token file")
        return cls(Token(name, secret, tuple(scopes)))

    async def authenticate(self, attempt: AuthAttempt) -> Principal | None:
        """The principal of the token that the client knows. Every token is tried, so time does not tell which."""
        found: Token | None = None
        for token in self._tokens:
            if attempt.verify(token.secret):
                found = token
        if found is None:
            return None
        return Principal(name=found.name, scopes=found.scopes, uid=attempt.peer.uid if attempt.peer else None)


def generate_token(path: str | os.PathLike[str] | None = None, *, replace: bool = False) -> str:
    """A new token of 256 random bits; with `path`, written to a file that only its owner can read.

    The file appears whole or not at all, and is private from its first moment: mode 0600, or on Windows an access list
    of this user and the system. So is its folder, where it is made. An existing file is left alone and FileExistsError
    raised, unless `replace`. Raises OSError where it cannot be written.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    if path is None:
        return token
    target = Path(path).expanduser()
    make_private_directory(str(target.parent))
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    descriptor = create_private_file(str(draft))
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, target)
        else:
            # A link cannot overwrite, so of two who make the same file one is told.
            os.link(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return token


def read_token_file(path: str | os.PathLike[str]) -> str:
    """The token in a file, less white space around it.

    Raises TokenFileError where it is not there, not a plain file of this user or root, open to others, or empty. On
    Windows administrators and the system are what root is.
    """
    target = Path(path).expanduser()
    try:
        with open(target, encoding="utf-8", opener=_open_at_once) as file:
            problem = _file_problem(str(target), file.fileno())
            if problem:
                raise TokenFileError(f"Token file {target} {problem}")
            token = file.read(4096).strip()
    except OSError as error:
        raise TokenFileError(f"Token file {target} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TokenFileError(f"Token file {target} is not text; make a new one with generate_token()") from None
    if not token:
        raise TokenFileError(f"Token file {target} is empty; make a new one with generate_token()")
    return token


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for somebody to write to it, as opening a named pipe would."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _file_problem(path: str, descriptor: int) -> str | None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return "is not a plain file"
    return why_not_private(path, descriptor)
