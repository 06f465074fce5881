"""Health checks, the command, and the checks that every daemon has."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from poppo_ipc.daemon.monitoring import HealthChecks, LoopLag, disk_space_check, health_router, loop_lag_check
from poppo_ipc.errors import DeclarationError

from .conftest import call

pytestmark = pytest.mark.anyio


async def ask(health: HealthChecks) -> dict[str, Any]:
    result = await call(health_router(health), "health.check")
    assert isinstance(result, dict)
    return result


async def test_all_is_well(clock: MockClock) -> None:
    health = HealthChecks()
    for name in ("config", "queue", "workers", "api", "ipc", "database"):
        health.add(name, lambda: True)
    result = await ask(health)
    assert result["status"] == "healthy"
    assert result["checks"] == dict.fromkeys(("config", "queue", "workers", "api", "ipc", "database"), True)
    assert result["absent"] == []
    assert result["timestamp"].endswith("Z")


async def test_a_part_that_is_not_there_is_false_and_harmless(clock: MockClock) -> None:
    health = HealthChecks()
    health.add("ipc", lambda: True)
    result = await ask(health)
    assert result["status"] == "healthy"
    assert result["checks"] == {"config": False, "queue": False, "workers": False, "api": False, "ipc": True}
    assert result["absent"] == ["config", "queue", "workers", "api"]


@pytest.mark.parametrize(
    ("critical", "other", "status"),
    [(True, True, "healthy"), (True, False, "degraded"), (False, True, "unhealthy"), (False, False, "unhealthy")],
)
async def test_status(clock: MockClock, critical: bool, other: bool, status: str) -> None:
    health = HealthChecks()
    health.add("queue", lambda: critical)
    health.add("redis", lambda: other, critical=False)
    assert (await ask(health))["status"] == status


async def test_what_a_check_may_give(clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    health = HealthChecks()

    @health.check("async")
    async def asynchronous() -> bool:
        await trio.sleep(0.1)
        return True

    @health.check("text")
    def text() -> tuple[bool, str]:
        return False, "there is a reason"

    @health.check("raises")
    async def raises() -> bool:
        raise OSError("/secret/path")

    @health.check("truthy")
    def truthy() -> Any:
        return 1

    result = await ask(health)
    assert {name: result["checks"][name] for name in health.names} == {
        "async": True, "text": False, "raises": False, "truthy": True,
    }  # fmt: skip
    assert result["checks"]["truthy"] is True
    assert result["details"]["text"]["text"] == "there is a reason"
    assert result["details"]["raises"]["text"] == "failed with OSError; see the log"
    assert result["details"]["async"]["ms"] == 100
    assert "/secret/path" in caplog.text


async def test_side_by_side_each_with_its_own_time(clock: MockClock) -> None:
    health = HealthChecks()

    async def slow() -> bool:
        await trio.sleep(1.5)
        return True

    async def hangs() -> bool:
        await trio.sleep_forever()
        return True

    health.add("a", slow)
    health.add("b", slow)
    health.add("c", hangs)
    health.check("d", critical=False, timeout=0.5)(slow)
    began = trio.current_time()
    report = await health.report()
    assert trio.current_time() - began == pytest.approx(2.0)
    assert {name: result.ok for name, result in report.checks.items()} == {"a": True, "b": True, "c": False, "d": False}
    assert report.checks["c"].text == "took more than 2 s"
    assert report.checks["d"].seconds == pytest.approx(0.5)


async def test_an_answer_holds_for_a_second_and_is_shared(clock: MockClock) -> None:
    health, runs = HealthChecks(), 0

    @health.check("slow")
    async def slow() -> bool:
        nonlocal runs
        runs += 1
        await trio.sleep(1.9)
        return True

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(health.report)
    assert runs == 1
    await trio.sleep(0.9)
    await health.report()
    assert runs == 1
    await trio.sleep(0.2)
    await health.report()
    assert runs == 2


async def test_whoever_asks_may_go_away(clock: MockClock) -> None:
    health, runs = HealthChecks(), 0

    @health.check("slow")
    async def slow() -> bool:
        nonlocal runs
        runs += 1
        await trio.sleep(1)
        return True

    async with trio.open_nursery() as nursery:

        async def impatient() -> None:
            with trio.move_on_after(0.5):
                await health.report()

        nursery.start_soon(impatient)
        await trio.sleep(0.1)
        assert (await health.report()).status == "healthy"
    assert runs == 2


async def test_changes_are_logged_once(clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    health, well = HealthChecks(), False
    health.add("redis", lambda: (well, "no answer"))
    for _ in range(3):
        await health.report()
        await trio.sleep(1)
    well = True
    await health.report()
    assert [record.getMessage() for record in caplog.records] == [
        "Health: redis is not well: no answer",
        "Health: redis is well again",
    ]


def test_wrong_declarations() -> None:
    health = HealthChecks()
    health.add("a", lambda: True)
    with pytest.raises(DeclarationError, match="twice"):
        health.add("a", lambda: True)
    with pytest.raises(DeclarationError, match="timeout"):
        health.add("b", lambda: True, timeout=0)
    assert health.names == ("a",)


async def test_event_loop_lag(clock: MockClock) -> None:
    lag = LoopLag()
    check = loop_lag_check(lag, 0.5)
    assert check() == (False, "the event loop is not measured")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.run)
        await trio.sleep(1.1)
        assert check()[0]
        clock.jump(2)
        ok, text = check()
        nursery.cancel_scope.cancel()
    assert not ok
    assert "1600 ms late; 500 ms are allowed" in text


async def test_disk_space(tmp_path: Path) -> None:
    ok, text = await disk_space_check(tmp_path, percent=0, size=1)()
    assert ok
    assert "MiB" in text
    assert not (await disk_space_check(tmp_path, percent=100, size=1)())[0]
    assert not (await disk_space_check(tmp_path, percent=0, size=2**62)())[0]
    health = HealthChecks()
    health.add("disk", disk_space_check(tmp_path / "missing"))
    assert (await health.report()).checks["disk"].text == "failed with FileNotFoundError; see the log"
