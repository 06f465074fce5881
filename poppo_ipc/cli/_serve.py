"""`poppo-ipc serve`: the daemon in the foreground."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio
from attrs import frozen

from poppo_ipc.cli._foreground import ENDING, notice, run_in_foreground
from poppo_ipc.cli._logs import MaskingFormatter, log_to
from poppo_ipc.client import token_from_environment
from poppo_ipc.daemon._basic import basic_router
from poppo_ipc.errors import AddressError, PoppoError
from poppo_ipc.server import Server, generate_token, read_token_file
from poppo_ipc.transport import Address, Listener, activated_sockets, listen, listen_on

__all__ = ["ServeOptions", "StartFailed", "serve"]

logger = logging.getLogger("poppo_ipc.cli")


class StartFailed(PoppoError):
    """The daemon could not start, or could not go on; the message says why in one line."""

    code = "START_FAILED"


@frozen(kw_only=True)
class ServeOptions:
    """What was asked for on the command line."""

    address: Address | None
    token_file: Path | None
    no_auth: bool
    state_dir: Path
    log_level: str
    log_json: bool


def serve(options: ServeOptions) -> None:
    """Run the daemon until it is told to end. Raises StartFailed, with what a person can do about it."""
    stderr = sys.stderr
    formatter = log_to(stderr, level=options.log_level, as_json=options.log_json or not stderr.isatty())
    try:
        trio.run(_run, options, formatter)
    except StartFailed:
        raise
    except Exception as error:
        logger.critical("The daemon failed", exc_info=error)
        raise StartFailed("the daemon failed; the log says how") from None


async def _run(options: ServeOptions, formatter: MaskingFormatter) -> None:
    # Before anything is held, so that from here on a signal ends the daemon in order.
    with trio.open_signal_receiver(*ENDING) as signals:
        try:
            # The address first: whoever holds it is alone with the state directory too.
            listener = await _listener(options.address)
        except (PoppoError, OSError) as error:
            raise StartFailed(_reason(error)) from error
        await _serve_on(listener, options, formatter, signals)


async def _serve_on(
    listener: Listener, options: ServeOptions, formatter: MaskingFormatter, signals: AsyncIterator[int]
) -> None:
    try:
        token = _token(options)
    except (PoppoError, OSError) as error:
        await listener.aclose()
        raise StartFailed(_reason(error)) from error
    if token is None:
        logger.warning("Serving without a token: whatever runs as this user, or as root, can command the daemon")
    else:
        formatter.mask(token)
    router = basic_router(lambda: server.stop_soon(reason="daemon.stop"), log_level=options.log_level)
    server = Server(router, address=listener, auth=token)
    await run_in_foreground(server, signals)


async def _listener(address: Address | None) -> Listener:
    handed = activated_sockets(unset=True)
    if not handed:
        return await listen(Address.default() if address is None else address)
    if len(handed) > 1:
        raise AddressError(f"The service manager handed over {len(handed)} sockets; configure one for this daemon")
    listener = listen_on(handed[0])
    if address is not None and address != listener.address:
        await listener.aclose()
        raise AddressError(
            f"The service manager handed over {listener.address}, but --socket says {address}; leave one of them out"
        )
    return listener


def _token(options: ServeOptions) -> str | None:
    environ = dict(os.environ)
    # What the daemon starts has no business with it.
    os.environ.pop("POPPO_TOKEN", None)
    if options.no_auth:
        return None
    if options.token_file is not None:
        return read_token_file(options.token_file)
    from_environment = token_from_environment(environ)
    if from_environment is not None:
        return from_environment
    path = options.state_dir / "token"
    if not os.path.lexists(path):
        try:
            generate_token(path)
        except FileExistsError:
            pass  # made in the meantime; it is read below like any other
        else:
            notice(f"made a token in {path}; clients get it by POPPO_TOKEN_FILE={path}")
    return read_token_file(path)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
