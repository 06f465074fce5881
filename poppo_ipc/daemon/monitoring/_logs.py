"""The daemon's log: every record of `logging` and structlog, made one kind of entry, kept, written and shown."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Final, TextIO

import structlog

from poppo_ipc.daemon.monitoring._logring import LogRing, level_name
from poppo_ipc.daemon.monitoring._logring import parse_level as parse_level
from poppo_ipc.daemon.monitoring._logwriter import FileSink, LogWriter, Sink, TerminalSink, WrittenLine
from poppo_ipc.daemon.monitoring._redact import Redactor

__all__ = ["DaemonLogs", "daemon_logging"]

_FILE_BYTES: Final = 10 * 1024 * 1024
_FILES: Final = 5
# What a disk that stalls for a few seconds leaves waiting on a busy daemon: some 5 MiB.
_QUEUED: Final = 10_000
_CLOSE_SECONDS: Final = 2.0
_EXCEPTION_CHARACTERS: Final = 64 * 1024
#: The attribute of a record that holds the fields which structlog was given.
_FIELDS: Final = "poppo_fields"
_OWN: Final = ("timestamp", "level", "logger", "message", "exception", "stack")
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", _FIELDS}
#: What both kinds of logger take under the same name.
_SAID_ALIKE: Final = ("exc_info", "stack_info", "stacklevel")
_LOGGER: Final = "poppo_ipc.daemon.logs"


class DaemonLogs:
    """A daemon's log while it is set up; made by `daemon_logging`."""

    def __init__(self, ring: LogRing, redactor: Redactor, sinks: list[Sink], queued: int) -> None:
        self.ring = ring
        """The last entries."""
        self.redactor = redactor
        """Masks secrets; `register` more of them at any time."""
        self._lost = 0
        self._writer = LogWriter(sinks, queued, self._dropped_line)
        self.handler: logging.Handler = _Intake(self)
        """Takes the records in."""

    @property
    def dropped(self) -> int:
        """Lines that are missing in the file or on the terminal, as those were too slow or failed, or everywhere."""
        return self._writer.dropped + self._lost

    def set_level(self, level: str) -> None:
        """Take in only records of this level and above from now on. Raises InvalidArgs for a name that is none."""
        logging.getLogger().setLevel(parse_level(level))

    @property
    def level(self) -> str:
        """The level as it is."""
        return level_name(logging.getLogger().level)

    def flush(self, timeout: float = _CLOSE_SECONDS) -> bool:
        """Wait until what was logged so far is written; whether it is. Blocks: not for the event loop's thread."""
        return self._writer.flush(timeout)

    def close(self, timeout: float) -> None:
        """Write what is left, for at most `timeout` seconds."""
        self.ring.end_following()
        self._writer.close(timeout)

    def take(self, record: logging.LogRecord) -> None:
        """Keep a record and queue it for writing."""
        entry = make_entry(record, self.redactor)
        line = self.ring.append(record.levelno, entry)
        self._writer.offer(WrittenLine(entry, line))

    def lose(self) -> None:
        """A record could not be made an entry."""
        self._lost += 1

    def _dropped_line(self, dropped: int) -> WrittenLine:
        record = logging.makeLogRecord(
            {
                "name": _LOGGER,
                "levelno": logging.WARNING,
                "msg": f"{dropped} log lines were not written: the disk or the terminal is too slow",
                "dropped": dropped,
            }
        )
        entry = make_entry(record, self.redactor)
        return WrittenLine(entry, self.ring.append(record.levelno, entry))


class _Intake(logging.Handler):
    def __init__(self, logs: DaemonLogs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._logs.take(record)
        except Exception:
            # The standard answer prints the record as it is, with whatever it holds.
            self._logs.lose()


def make_entry(record: logging.LogRecord, redactor: Redactor) -> dict[str, Any]:
    """A record as an entry without secrets: plain values, fields of its own beside the standard ones.

    A field that has the name of a standard one gets an underscore behind it.
    """
    entry: dict[str, Any] = {
        "timestamp": _timestamp(record.created),
        "level": level_name(record.levelno),
        "logger": record.name,
        "message": redactor.text(_message(record)),
    }
    fields = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
    fields = {**structlog.contextvars.get_contextvars(), **fields, **getattr(record, _FIELDS, {})}
    for name, value in redactor.fields(fields).items():
        entry[f"{name}_" if name in _OWN else name] = value
    exception = _exception(record)
    if exception:
        entry["exception"] = redactor.text(exception, _EXCEPTION_CHARACTERS)
    if record.stack_info:
        entry["stack"] = redactor.text(record.stack_info, _EXCEPTION_CHARACTERS)
    return entry


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:
        # Arguments that do not fit the text: the text is still worth having.
        return f"{record.msg} ({type(error).__name__} in its arguments)"


def _exception(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[1] is not None:
        return "".join(traceback.format_exception(record.exc_info[1])).rstrip()
    return record.exc_text or ""


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def daemon_logging(
    *,
    level: str = "info",
    file: str | os.PathLike[str] | None = None,
    stderr: TextIO | IO[str] | None = None,
    ring: LogRing | None = None,
    redactor: Redactor | None = None,
    sinks: tuple[Sink, ...] = (),
    file_bytes: int = _FILE_BYTES,
    file_count: int = _FILES,
    queued: int = _QUEUED,
    close_seconds: float = _CLOSE_SECONDS,
) -> Iterator[DaemonLogs]:
    """Make the process's logging the daemon's, inside the block; all that it changes is put back at its end.

    The root logger's handlers are replaced, its level is set, and structlog hands its events to `logging`. There is
    one root logger in a process, so blocks nest, and do not overlap.

    Args:
        level: what is taken in.
        file: the file of JSON lines; None for none.
        stderr: where lines for people go, as `sys.stderr`; None for nowhere.
        ring, redactor: to be used in place of new ones.
        sinks: further places.
        file_bytes, file_count: bytes of one file, and how many full ones are kept.
        queued: lines that may wait to be written; more are dropped and counted.
        close_seconds: time for writing what is left at the end, for which the thread is blocked.

    Raises InvalidArgs for a level that is none, and OSError where the file cannot be written; nothing is changed then.
    """
    number = parse_level(level)
    places: list[Sink] = [*sinks]
    if file is not None:
        places.append(FileSink(file, file_bytes, file_count))
    if stderr is not None:
        places.append(TerminalSink(stderr))
    logs = DaemonLogs(ring or LogRing(), redactor or Redactor(), places, queued)
    root = logging.getLogger()
    handlers, root_level = list(root.handlers), root.level
    was_configured, configuration = structlog.is_configured(), structlog.get_config()
    root.handlers[:] = [logs.handler]
    root.setLevel(number)
    _configure_structlog()
    try:
        yield logs
    finally:
        root.setLevel(root_level)
        # What others have added in the meantime stays.
        root.handlers[:] = [*handlers, *(handler for handler in root.handlers if handler is not logs.handler)]
        if was_configured:
            structlog.configure(**configuration)
        else:
            structlog.reset_defaults()
        logs.close(close_seconds)


def _configure_structlog() -> None:
    logger_class = logging.getLoggerClass()
    factory = structlog.stdlib.LoggerFactory()
    # It makes all new loggers of the process look for their callers, which nothing here shows.
    logging.setLoggerClass(logger_class)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, _to_logging],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        logger_factory=factory,
        # A logger that is kept would go on by this configuration after it has been put back.
        cache_logger_on_first_use=False,
    )


def _to_logging(
    logger: Any, method: str, event_dict: MutableMapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments for the standard logger: fields in one attribute, as they may be named like a record's own."""
    fields = dict(event_dict)
    said: dict[str, Any] = {name: fields.pop(name) for name in _SAID_ALIKE if name in fields}
    # Put into the text by `logging` like all others: arguments that do not fit are no reason to raise.
    args = fields.pop("positional_args", ())
    return (str(fields.pop("event", "")), *args), {**said, "extra": {_FIELDS: fields}}
