"""What the latest `start` at an address was given: kept beside the socket (or with a pipe's files), for `restart`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from poppo_ipc.client._beside import beside
from poppo_ipc.daemon._config_model import keys
from poppo_ipc.transport import Address

if TYPE_CHECKING:
    from poppo_ipc.cli._serve import ServeOptions

__all__ = ["Started", "forget_variables"]

_TOKEN = "POPPO_TOKEN"


@frozen(kw_only=True)
class Started:
    """The settings by their sources. A token is never kept, only the file that it is in."""

    pid: int
    """The daemon that has them."""
    file: str | None
    flags: Mapping[str, Any]
    variables: Mapping[str, str]
    """The variables of settings that were set."""
    token_in_environment: bool
    """Whether the token was that of POPPO_TOKEN."""

    @classmethod
    def of(cls, options: ServeOptions) -> Started:
        """What this process was started with."""
        known = {key.variable for key in keys().values()}
        return cls(
            pid=os.getpid(),
            file=None if options.file is None else str(options.file),
            flags=dict(options.flags),
            variables={name: value for name, value in options.environ.items() if name in known},
            token_in_environment=bool(options.environ.get(_TOKEN)),
        )

    def write(self, address: Address) -> None:
        """Keep it. Raises OSError."""
        path = _path(address)
        temporary = f"{path}.new"
        text = json.dumps(
            {
                "pid": self.pid,
                "file": self.file,
                "flags": self.flags,
                "variables": self.variables,
                "tokenInEnvironment": self.token_in_environment,
            }
        )
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)

    @classmethod
    def read(cls, address: Address) -> Started | None:
        """What was kept; None where there is nothing that could be it."""
        try:
            descriptor = os.open(_path(address), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(descriptor, encoding="utf-8") as file:
                # On Windows it lies in the user's own directory, where no other user may write.
                if sys.platform != "win32" and os.fstat(descriptor).st_uid != os.geteuid():
                    return None
                kept = json.load(file)
            return cls(
                pid=int(kept["pid"]),
                file=kept["file"],
                flags=dict(kept["flags"]),
                variables=dict(kept["variables"]),
                token_in_environment=bool(kept["tokenInEnvironment"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def over(self, given: ServeOptions) -> ServeOptions:
        """The same settings again, with those that are given now in their place."""
        file = given.file or (None if self.file is None else Path(self.file))
        environ = {**forget_variables(given.environ), **self.variables}
        flags = {**self.flags, **given.flags}
        # Each of them says how to do without the other, and the later word holds.
        if given.flags.get("no_auth"):
            flags.pop("token_file", None)
        if given.flags.get("token_file"):
            flags.pop("no_auth", None)
        return evolve(given, file=file, flags=flags, environ=environ)


def forget_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without the settings in it."""
    known = {key.variable for key in keys().values()}
    return {name: value for name, value in environ.items() if name not in known}


def _path(address: Address) -> str:
    return beside(address, ".started")
