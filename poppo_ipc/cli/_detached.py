"""The daemon's side of `start`: what it does once it is ready, so that whoever started it can go."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from poppo_ipc.cli._started import Started
from poppo_ipc.client._output import LAST_BYTE
from poppo_ipc.daemon import DaemonConfig
from poppo_ipc.transport import Address

if TYPE_CHECKING:
    from poppo_ipc.cli._serve import ServeOptions

__all__ = ["let_go"]

logger = logging.getLogger("poppo_ipc.cli")

_MOST_BYTES: Final = 1024 * 1024
_STDOUT: Final = 1
_STDERR: Final = 2


def let_go(options: ServeOptions, config: DaemonConfig) -> None:
    """Keep the settings for `restart`, and give stdout and stderr to a file of the daemon's own.

    Until then they were a pipe to whoever started it, who now reads its end. The file takes what is no log, such as
    the last words of an interpreter that crashes.
    """
    try:
        Started.of(options).write(Address.default() if config.socket is None else Address.parse(config.socket))
    except OSError as error:
        logger.warning("The settings could not be kept for a restart: %s", error.strerror)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        file = os.open(config.state_dir / "logs" / "stderr.log", flags, 0o600)
        if os.fstat(file).st_size > _MOST_BYTES:
            os.ftruncate(file, 0)
    except OSError as error:
        logger.warning("There is no file for stderr: %s", error.strerror)
        file = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError):  # whoever started it may have gone
        os.write(_STDERR, LAST_BYTE)
    for number in (_STDOUT, _STDERR):
        os.dup2(file, number)
    os.close(file)
