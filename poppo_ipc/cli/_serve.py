"""`poppo-ipc serve`: the daemon in the foreground."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import field, frozen

from poppo_ipc._groups import sole
from poppo_ipc.cli._detached import let_go
from poppo_ipc.cli._foreground import SIGNALS, notice, run_in_foreground
from poppo_ipc.cli._logfile import LateFile
from poppo_ipc.client import token_from_environment
from poppo_ipc.client._beside import root_directory
from poppo_ipc.daemon import Daemon, DaemonConfig, Notifier, load_config
from poppo_ipc.daemon._garbage import spare_garbage_collector
from poppo_ipc.daemon.monitoring import DaemonLogs, daemon_logging
from poppo_ipc.errors import AddressError, PoppoError
from poppo_ipc.server import generate_token, read_token_file
from poppo_ipc.transport import Address, Listener, activated_sockets, listen, listen_on

__all__ = ["ServeOptions", "StartFailed", "serve"]

logger = logging.getLogger("poppo_ipc.cli")


class StartFailed(PoppoError):
    """The daemon could not start, or could not go on; the message says why in one line."""

    code = "SERVE_FAILED"


@frozen(kw_only=True)
class ServeOptions:
    """Where the settings come from: a file, the environment, and flags by the settings' paths."""

    file: Path | None = None
    flags: Mapping[str, Any] = field(factory=dict)
    environ: Mapping[str, str] = field(factory=lambda: dict(os.environ))

    def load(self) -> DaemonConfig:
        """The settings as they are now. Blocks. Raises ConfigError."""
        environ = dict(self.environ)
        # They exclude one another, so a flag for one takes the place of the other too, wherever that was said.
        if self.flags.get("no_auth"):
            environ.pop("POPPO_TOKEN_FILE", None)
        if self.flags.get("token_file"):
            environ.pop("POPPO_NO_AUTH", None)
        return load_config(self.file, environ, self.flags)


def serve(options: ServeOptions, *, detached: bool = False) -> None:
    """Run the daemon until it is told to end. Raises ConfigError, and StartFailed with what can be done about it.

    `detached`: as `start` runs it, with its stderr let go of once it is ready.
    """
    config = options.load()
    if detached:
        os.chdir(root_directory())
    # What the daemon starts has no business with it.
    os.environ.pop("POPPO_TOKEN", None)
    file = LateFile()
    with daemon_logging(level=config.log_level, stderr=None if detached else sys.stderr, sinks=(file,)) as logs:
        running = _Running(options, config, logs, file, detached)
        try:
            trio.run(running.run)
        except Exception as error:
            found = sole(error)
            if not running.ready and isinstance(found, PoppoError | OSError):
                raise StartFailed(_reason(found)) from error
            logger.critical("The daemon failed", exc_info=found)
            raise StartFailed("the daemon failed; the log says how") from None


class _Running:
    """One run of the daemon."""

    def __init__(
        self, options: ServeOptions, config: DaemonConfig, logs: DaemonLogs, file: LateFile, detached: bool
    ) -> None:
        self.ready = False
        self._detached = detached
        self._options = options
        self._config = config
        self._logs = logs
        self._file = file

    async def run(self) -> None:
        """Until the daemon has stopped."""
        # Before anything is held, so that from here on a signal ends the daemon in order.
        with trio.open_signal_receiver(*SIGNALS) as signals:
            # The address first: whoever holds it is alone with the state directory too.
            listener = await _listener(self._config.socket)
            try:
                await self._serve_on(listener, signals)
            finally:
                with trio.move_on_after(self._config.limits.flush_seconds, shield=True):
                    await listener.aclose()

    async def _serve_on(self, listener: Listener, signals: AsyncIterator[int]) -> None:
        token = await trio.to_thread.run_sync(_token, self._options, self._config)
        if token is None:
            logger.warning("Serving with no token, so whatever runs as this user, or as root, can command the daemon")
        else:
            self._logs.redactor.register(token)
        daemon = Daemon(
            self._config,
            address=listener,
            auth=token,
            config_source=partial(trio.to_thread.run_sync, self._options.load),
            logs=self._logs,
            notifier=Notifier.from_environment(unset=True),
            on_open=self._open_file,
        )
        await run_in_foreground(daemon, signals, reload=daemon.reload, on_ready=self._note_ready)

    async def _open_file(self) -> None:
        await trio.to_thread.run_sync(self._file.open, self._config.state_dir / "logs" / "daemon.log")

    def _note_ready(self) -> None:
        self.ready = True
        if self._detached:
            let_go(self._options, self._config)
        # Here and not in `Daemon`: a program that embeds one has objects of its own.
        spare_garbage_collector()


async def _listener(socket: str | None) -> Listener:
    handed = activated_sockets(unset=True)
    address = None if socket is None else Address.parse(socket)
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


def _token(options: ServeOptions, config: DaemonConfig) -> str | None:
    """The token that clients have to know: of a flag, else of the environment, of the file, or of the state."""
    if config.no_auth:
        return None
    if options.flags.get("token_file") is None:
        from_environment = token_from_environment(options.environ)
        if from_environment is not None:
            return from_environment
    if config.token_file is not None:
        return read_token_file(config.token_file)
    path = config.state_dir / "token"
    if not os.path.lexists(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
