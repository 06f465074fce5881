"""The scripted server in a thread of its own, for clients that have no event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio

from .peer import serving


@contextmanager
def serving_in_thread(address: str, *scripts: Any, **options: Any) -> Iterator[None]:
    """`serving`, while the block runs. Raises what goes wrong in a script, before what goes wrong in the block."""
    listening, over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    async def main() -> None:
        async with serving(*scripts, address=address, **options):
            listening.set()
            await anyio.to_thread.run_sync(over.wait)

    def run() -> None:
        try:
            anyio.run(main, backend="trio")  # asyncio has no server on named pipes
        except BaseException as error:
            errors.append(error)
        finally:
            listening.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert listening.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join(20)
        assert not thread.is_alive()
        if errors:
            raise errors[0]
