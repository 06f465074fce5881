"""The log of a daemon in the foreground: every record of `logging` on stderr, by structlog."""

from __future__ import annotations

import json
import logging
import os
from typing import TextIO

import structlog

__all__ = ["MaskingFormatter", "log_to"]

_MASK = "[token]"


class MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Formats records, and takes secrets out of whatever comes of them: fields and tracebacks too."""

    _forms: tuple[str, ...] = ()

    def mask(self, secret: str) -> None:
        """Never show this text, as it is or as JSON has it."""
        forms = {*self._forms, secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, of one record."""
        text = super().format(record)
        for form in self._forms:
            text = text.replace(form, _MASK)
        return text


def log_to(stream: TextIO, *, level: str, as_json: bool) -> MaskingFormatter:
    """Send all of `logging` and structlog to `stream` from now on, from `level` up; for people unless `as_json`."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.types.Processor]
    if as_json:
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    else:
        # Not the formatter that rich brings: it shows the values of local variables, of which a token may be one.
        plain = structlog.dev.plain_traceback
        colours = stream.isatty() and not os.environ.get("NO_COLOR")
        renderers = [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]
    formatter = MaskingFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers], foreign_pre_chain=shared
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    return formatter
