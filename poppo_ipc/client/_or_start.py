"""A client that brings its daemon along, for event loops."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from poppo_ipc.client._client import Client
from poppo_ipc.client._connect import connect
from poppo_ipc.client._options import DEFAULT, Default, Options
from poppo_ipc.client._starter import Starter
from poppo_ipc.client._starting import Command, Start, must_start
from poppo_ipc.errors import AuthenticationError, ConnectFailed
from poppo_ipc.transport import Address

__all__ = ["connect_or_start"]


@asynccontextmanager
async def connect_or_start(
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
) -> AsyncIterator[Client]:
    """A client of the daemon at `address`, as of `connect`; where nobody listens there, the daemon is started first.

    Only where nobody does: no socket or pipe, or a socket whose owner is dead. Whatever answers, and refuses, is left
    alone. Of many programs that do this at once one starts the daemon. It is ready when it greets. It has a session (on
    Windows a console) of its own, so it outlives this program and its terminal. One that ends later is not started
    again by this client.

    Args:
        address: as of `connect`; a Unix socket or a named pipe.
        command: what to start: its arguments (`[sys.executable, "-m", "myapp.daemon"]`), a module to run, or a function
            of one to call, which gets this program's import path. It is told the address by `POPPO_SOCKET`.
        start_timeout: seconds until the daemon has to be ready; one that is not is ended.
        log: where its stdout and stderr go, also once it runs; by default beside the socket, with `.log` added, and for
            a pipe in the user's local directory (`%LOCALAPPDATA%\\poppo_ipc`).
        cwd: its working directory; by default the root of the file system, on Windows of the system's drive.
        environ: variables that it has besides those of this program.
        token, options, changes: as of `connect`.

    Raises:
        DaemonStartFailed: it ended, or was not ready in time; the message has the last line that it wrote.
        ConnectFailed: something has the address, and is not ready for clients in time either.
        OSError: its log cannot be written.
        TypeError, ValueError: `command` is nothing that can be run.
        All that `connect` raises.

    Cancellation while it waits kills what it started.
    """
    where = Address.default() if address is None else Address.parse(address)
    start = Start(command=command, timeout=start_timeout, log=log, cwd=cwd, environ=environ)
    async with AsyncExitStack() as stack:
        client: Client | None = None
        try:
            client = await stack.enter_async_context(connect(where, token=token, options=options, **changes))
        except (ConnectFailed, AuthenticationError) as error:
            if not must_start(error, where):
                raise
        if client is None:
            await _run(start.starter(where))
            client = await stack.enter_async_context(connect(where, token=token, options=options, **changes))
        yield client


async def _run(starter: Starter) -> None:
    steps = starter.steps()
    try:
        # No step takes long: they start a process, look at it, and try to connect.
        for pause in steps:
            await anyio.sleep(pause)
    finally:
        steps.close()
