"""The set-up of logging, to the file, the terminal and the ring; and that all of it is put back."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from poppo_ipc.daemon.monitoring import LogRing, Redactor, daemon_logging
from poppo_ipc.daemon.monitoring._logwriter import WrittenLine
from poppo_ipc.errors import InvalidArgs
from poppo_ipc.transport._private import why_not_private

log = logging.getLogger("poppo_test")


def state() -> list[Any]:
    root = logging.getLogger()
    return [
        list(root.handlers), root.level, logging.getLoggerClass(), structlog.is_configured(), structlog.get_config(),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """No test may leave anything behind."""
    before = state()
    threads = threading.active_count()
    yield
    assert state() == before
    assert threading.active_count() <= threads


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class GatedSink:
    """A disk that hangs until the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.seen: list[dict[str, Any]] = []

    def write(self, line: WrittenLine) -> None:
        self.entered.set()
        assert self.gate.wait(30)
        self.seen.append(line.entry)

    def close(self) -> None:
        pass


def test_a_record_of_logging(tmp_path: Path) -> None:
    with daemon_logging(file=tmp_path / "log") as logs:
        log.info("started %s in %d ms", "x", 5, extra={"session": "s1", "level": "mine"})
        (entry,) = logs.ring.tail(1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("timestamp"))
    assert entry == {
        "level": "info",
        "logger": "poppo_test",
        "message": "started x in 5 ms",
        "session": "s1",
        "level_": "mine",
    }
    assert [line["message"] for line in lines(tmp_path / "log")] == ["started x in 5 ms"]


def test_an_event_of_structlog() -> None:
    with daemon_logging() as logs:
        bound = structlog.get_logger("poppo_test.s").bind(task="t1")
        # Fields that are named like the attributes of a record, which `logging` itself refuses.
        bound.warning("failed", name="n", args=[1], message="m", attempt=2)
        bound.debug("not taken in")
        bound.info("a %s of 100%", "share")
        bound.info("a %s of 100%%", "share")
        bound.info("100% %s")
        first, *others = logs.ring.tail(10)
    assert first["logger"] == "poppo_test.s"
    assert (first["level"], first["message"], first["task"], first["attempt"]) == ("warning", "failed", "t1", 2)
    assert (first["name"], first["args"], first["message_"]) == ("n", [1], "m")
    texts = ["a %s of 100% (ValueError in its arguments)", "a share of 100%", "100% %s"]
    assert [line["message"] for line in others] == texts
    assert [line["level"] for line in others] == ["info"] * 3


def test_context_variables_are_on_every_line() -> None:
    with daemon_logging() as logs, structlog.contextvars.bound_contextvars(request="r1"):
        log.info("one")
        structlog.get_logger().info("two", request="r2")
        assert [line["request"] for line in logs.ring.tail(2)] == ["r1", "r2"]


@pytest.mark.parametrize("kind", ["logging", "structlog", "group"])
def test_a_traceback_is_a_field(kind: str) -> None:
    with daemon_logging(redactor=Redactor(["hunter2"])) as logs:
        try:
            try:
                raise ValueError("bad token=abc, not hunter2")
            except ValueError as error:
                if kind == "group":
                    raise ExceptionGroup("several", [error]) from None
                raise KeyError("outer") from error
        except (KeyError, ExceptionGroup):
            logger: Any = structlog.get_logger() if kind == "structlog" else log
            logger.exception("it failed")
        (entry,) = logs.ring.tail(1)
    assert entry["message"] == "it failed"
    assert "Traceback (most recent call last)" in entry["exception"]
    assert "ValueError: bad token=[redacted], not [redacted]" in entry["exception"]
    assert "exc_info" not in entry
    assert ("several" if kind == "group" else "KeyError: 'outer'") in entry["exception"]


def test_secrets_are_in_none_of_the_places(tmp_path: Path) -> None:
    stderr = io.StringIO()
    with daemon_logging(file=tmp_path / "log", stderr=stderr, redactor=Redactor(["hunter2"])) as logs:
        log.info("with %s", "hunter2", extra={"password": "swordfish"})
        structlog.get_logger().info("hunter2", nested={"token": "swordfish", "list": ["hunter2"]})
        logs.redactor.register("later-secret")
        log.info("later-secret")
        log.info("x", stack_info=True, extra={"hunter2": 1})
        kept = json.dumps(logs.ring.tail(10))
    for place in (kept, (tmp_path / "log").read_text(), stderr.getvalue()):
        assert "[redacted]" in place
        for secret in ("hunter2", "swordfish"):
            assert secret not in place
        assert not re.search(r'"message": ?"later-secret', place)


def test_the_terminal_shows_lines_for_people() -> None:
    stderr = io.StringIO()
    with daemon_logging(stderr=stderr):
        log.warning("careful", extra={"queue": "default"})
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("broken")
    text = stderr.getvalue()
    assert "careful" in text
    assert "queue=default" in text
    assert "ValueError: why" in text
    assert "\x1b" not in text


def test_level_and_set_level() -> None:
    with daemon_logging(level="warning") as logs:
        log.info("no")
        assert logs.level == "warning"
        logs.set_level("DEBUG")
        log.debug("yes")
        with pytest.raises(InvalidArgs, match="level"):
            logs.set_level("loud")
        assert logs.level == "debug"
        assert [line["message"] for line in logs.ring.tail(10)] == ["yes"]


def test_a_level_that_is_none_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgs), daemon_logging(level="loud", file=tmp_path / "log"):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError), daemon_logging(file=tmp_path / "missing" / "log"):
        pass


def test_the_file_is_private_and_turned_over(tmp_path: Path) -> None:
    with daemon_logging(file=tmp_path / "log", file_bytes=2000, file_count=2) as logs:
        for number in range(100):
            log.info("%0100d", number)
        assert logs.flush()
        assert logs.dropped == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    for path in tmp_path.iterdir():
        assert why_not_private(str(path)) is None
        assert path.stat().st_size <= 2000
    assert int(lines(tmp_path / "log")[-1]["message"]) == 99


def test_a_file_that_somebody_reads_loses_no_line(tmp_path: Path) -> None:
    """Windows renames no file that is open: it is turned over when it is free."""
    with daemon_logging(file=tmp_path / "log", file_bytes=1000, file_count=2) as logs:
        log.info("first")
        assert logs.flush()
        with open(tmp_path / "log"):
            for number in range(8):
                log.info("%0100d", number)
            assert logs.flush()
        log.info("last")
        assert logs.flush()
        assert logs.dropped == 0
    files = ("log.2", "log.1", "log")
    found = [line["message"] for name in files if (tmp_path / name).exists() for line in lines(tmp_path / name)]
    assert found[-9:] == [*(f"{number:0100d}" for number in range(8)), "last"]
    assert (tmp_path / "log.1").exists()


def test_a_disk_that_hangs_blocks_nobody_and_what_is_lost_is_told() -> None:
    sink = GatedSink()
    with daemon_logging(sinks=(sink,), queued=10) as logs:
        log.info("first")
        assert sink.entered.wait(30)
        for number in range(25):
            log.info("%d", number)
        assert logs.dropped == 15
        assert not logs.flush(timeout=0.01)
        # The ring misses nothing.
        assert len(logs.ring) == 26
        sink.gate.set()
        assert logs.flush(30)
    assert [entry["message"] for entry in sink.seen if "dropped" not in entry] == ["first", *map(str, range(10))]
    (notice,) = [entry for entry in sink.seen if "dropped" in entry]
    assert notice["dropped"] == 15
    assert notice["level"] == "warning"
    assert logs.ring.tail(1)[0]["message"] == notice["message"]


def test_what_is_queued_is_written_at_the_end_but_not_waited_for_long() -> None:
    slow, stuck = GatedSink(), GatedSink()
    with daemon_logging(sinks=(slow,), close_seconds=30):
        for number in range(100):
            log.info("%d", number)
        slow.gate.set()
    assert len(slow.seen) == 100
    with daemon_logging(sinks=(stuck,), queued=2, close_seconds=0.01):
        log.info("first")
        assert stuck.entered.wait(30)
        for number in range(100):
            log.info("%d", number)
    assert stuck.seen == []
    # When the disk comes back, so does the end of the thread.
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "poppo-log-writer"]
    stuck.gate.set()
    thread.join(30)
    assert not thread.is_alive()


def test_a_sink_that_fails_costs_its_line_only(tmp_path: Path) -> None:
    class Broken:
        def write(self, line: WrittenLine) -> None:
            raise OSError("disk full")

        def close(self) -> None:
            raise OSError("again")

    closed = io.StringIO()
    closed.close()
    with daemon_logging(sinks=(Broken(),), stderr=closed, file=tmp_path / "log") as logs:
        log.info("x")
        assert logs.flush()
        assert logs.dropped == 2
    assert [line["message"] for line in lines(tmp_path / "log")] == ["x"]


def test_arguments_that_do_not_fit_lose_no_line() -> None:
    with daemon_logging() as logs:
        log.info("%d of %d", "a")
        assert logs.ring.tail(1)[0]["message"] == "%d of %d (TypeError in its arguments)"


def test_halves_of_characters_lose_no_line(tmp_path: Path) -> None:
    with daemon_logging(file=tmp_path / "log") as logs:
        log.info(
            "cannot open %s", b"\xff.txt".decode("utf-8", "surrogateescape"), extra={"p\udcff": {"\udcff": "\udcff"}}
        )
        assert logs.flush()
        assert logs.dropped == 0
    assert lines(tmp_path / "log")[0]["message"] == "cannot open \\udcff.txt"


def test_a_record_that_cannot_be_taken_in_is_counted_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with daemon_logging() as logs:
        logging.getLogger("bad\udcff").info("token=abc")
        assert logs.dropped == 1
    assert capsys.readouterr().err == ""


def test_lines_of_many_threads_are_whole(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for count in range(200):
            log.info("%d-%d", number, count)

    with daemon_logging(file=tmp_path / "log") as logs:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert logs.flush(30)
    written = [line["message"] for line in lines(tmp_path / "log")]
    assert sorted(written) == sorted(f"{number}-{count}" for number in range(5) for count in range(200))
    assert written == [line["message"] for line in logs.ring.tail(10_000)]


def test_blocks_nest_and_are_put_back_after_an_exception() -> None:
    mine = logging.NullHandler()
    logging.getLogger().addHandler(mine)
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    configured = structlog.get_config()
    try:
        with pytest.raises(RuntimeError), daemon_logging() as outer:  # noqa: PT012 - raised at the end
            with daemon_logging(ring=LogRing()) as inner:
                log.info("inner")
            log.info("outer")
            assert [line["message"] for line in inner.ring.tail(9)] == ["inner"]
            assert [line["message"] for line in outer.ring.tail(9)] == ["outer"]
            raise RuntimeError
        assert logging.getLogger().handlers[-1] is mine
        assert structlog.get_config() == configured
    finally:
        logging.getLogger().removeHandler(mine)
        structlog.reset_defaults()
