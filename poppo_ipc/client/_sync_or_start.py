"""A client that brings its daemon along, for programs without an event loop."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from poppo_ipc.client._options import DEFAULT, Default, Options
from poppo_ipc.client._starter import run_blocking
from poppo_ipc.client._starting import Command, Start, must_start
from poppo_ipc.client._sync import SyncClient
from poppo_ipc.errors import AuthenticationError, ConnectFailed
from poppo_ipc.transport import Address

__all__ = ["sync_connect_or_start"]


def sync_connect_or_start(
    address: Address | str | os.PathLike[str] | None = None,
    *,
    command: Command,
    start_timeout: float = 30.0,
    log: str | os.PathLike[str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    token: str | Default | None = DEFAULT,
    options: Options | None = None,
    **changes: Any,
) -> SyncClient:
    """A connected `SyncClient`: `with sync_connect_or_start(command=[...]) as client:`.

    Arguments, errors and what is started when as in `connect_or_start`. Ctrl-C while it waits ends what it started.
    """
    where = Address.default() if address is None else Address.parse(address)
    start = Start(command=command, timeout=start_timeout, log=log, cwd=cwd, environ=environ)
    try:
        return SyncClient(where, token=token, options=options, **changes).__enter__()
    except (ConnectFailed, AuthenticationError) as error:
        if not must_start(error, where):
            raise
    run_blocking(start.starter(where))
    return SyncClient(where, token=token, options=options, **changes).__enter__()
