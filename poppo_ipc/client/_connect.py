"""Opening a client for the length of a block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from os import PathLike
from typing import Any

import anyio
import attrs

from poppo_ipc.client._client import Client
from poppo_ipc.client._options import DEFAULT, Default, Options
from poppo_ipc.client._token import token_from_environment
from poppo_ipc.transport import Address

__all__ = ["connect"]


@asynccontextmanager
async def connect(
    address: Address | str | PathLike[str] | None = None,
    *,
    token: str | Default | None = DEFAULT,
    options: Options | None = None,
    **changes: Any,
) -> AsyncIterator[Client]:
    """A client of the daemon at `address`, connected; closed at the end of the block.

    Entering waits for the first session. A daemon that does not listen is an error at once, one that is busy is
    tried again for a moment; with `retry_initial=True` any is tried for as long as `backoff` says. After that a lost
    connection is made again as often as it takes.

    Args:
        address: the daemon's address, or what `Address.parse` takes; by default `Address.default()`.
        token: the token; by default that of the environment (`token_from_environment`), None for none.
        options: how the client behaves.
        changes: single options, by name: `connect(timeout=5, reconnect=False)`.

    Raises:
        AddressError, TransportUnsupported, ConnectFailed: there is no daemon to talk to at the address.
        AuthenticationError: the token is wrong, or the server is an impostor.
        VersionMismatch: the daemon speaks another version; the message says what to do.
        ConnectionLost, Busy, ShuttingDown: the daemon is there but took nobody in.
        TypeError, ValueError: an option that does not exist, or makes no sense.

    An exception of the block comes out as it is, not in a group. Cancellation ends the block and closes at once.
    """
    chosen = attrs.evolve(options or Options(), **changes)
    secret = token_from_environment() if isinstance(token, Default) else token
    client = Client(Address.default() if address is None else Address.parse(address), secret, chosen)
    raised: BaseException | None = None
    group: BaseExceptionGroup[BaseException] | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client._manage)
            tasks.start_soon(client._watch_deadlines)
            try:
                await client._started()
                yield client
            except BaseException as exc:
                raised = exc
                raise
            finally:
                await client.aclose()
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as exc:
        group = exc
    if group is not None:
        raise _bare(group, raised)


def _bare(group: BaseExceptionGroup[BaseException], raised: BaseException | None) -> BaseException:
    """The one exception to raise for a group: what the block raised, or the failure that cancelled the block.

    What is to end the program, as Ctrl-C does, comes first, whichever task it was raised in.
    """
    leaves = list(_leaves(group))
    ending = [leaf for leaf in leaves if not isinstance(leaf, (Exception, anyio.get_cancelled_exc_class()))]
    if ending:
        return ending[0]
    errors = [leaf for leaf in leaves if isinstance(leaf, Exception)]
    if raised is not None and (isinstance(raised, Exception) or not errors):
        return raised
    return errors[0] if errors else leaves[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each
