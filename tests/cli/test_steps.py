"""The runner of steps: what counts as a failure, and what is said of it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import pytest
import trio

from poppo_ipc.cli import _demo
from poppo_ipc.cli._screens import JsonScreen, TextScreen
from poppo_ipc.cli._steps import Screen, Step, expect, expect_error, expect_that, run_steps
from poppo_ipc.errors import Conflict, NotFound


async def good(screen: Screen) -> None:
    screen.show("two", 2, "it is two")
    screen.progress(1, 2)
    screen.progress(2, 2)
    await trio.lowlevel.checkpoint()


async def wrong(screen: Screen) -> None:
    await trio.lowlevel.checkpoint()
    expect("the answer", 41, 42)


async def broken(screen: Screen) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise NotFound("It is not there")


async def endless(screen: Screen) -> None:
    await trio.sleep_forever()


def steps(*runs: object) -> Sequence[Step]:
    return [Step(run.__name__, f"Step {run.__name__}", run) for run in runs]  # type: ignore[arg-type,attr-defined]


async def played(*runs: object) -> tuple[bool, list[dict[str, object]]]:
    stream = io.StringIO()
    ok = await run_steps(steps(*runs), JsonScreen(stream), seconds=5)
    return ok, [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.trio
async def test_steps_that_show_what_they_should() -> None:
    ok, lines = await played(good, good)
    assert ok
    assert [line["number"] for line in lines] == [1, 2]
    assert lines[0].pop("seconds") is not None
    assert lines[0] == {
        "number": 1, "of": 2, "step": "good", "title": "Step good", "ok": True,
        "shown": [{"what": "two", "value": 2}], "progress": {"done": 2, "total": 2},
    }  # fmt: skip


@pytest.mark.trio
@pytest.mark.parametrize(
    ("run", "failed", "expected", "came"),
    [
        (wrong, "the answer", "42", "41"),
        (broken, "Step broken", "no error", "NotFound: It is not there"),
        (endless, "Step endless", "an end within 5 s", "none"),
    ],
)
async def test_a_step_that_fails_says_what_was_expected_and_is_the_last(
    autojump_clock: trio.testing.MockClock, run: object, failed: str, expected: str, came: str
) -> None:
    ok, lines = await played(good, run, good)
    assert not ok
    assert [line["ok"] for line in lines] == [True, False]
    assert {key: lines[1][key] for key in ("failed", "expected", "came")} == {
        "failed": failed, "expected": expected, "came": came
    }  # fmt: skip


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(("run", "code"), [(good, 0), (wrong, 1)])
def test_the_exit_code_of_the_demo_is_that_of_its_steps(
    monkeypatch: pytest.MonkeyPatch, as_json: bool, run: object, code: int
) -> None:
    monkeypatch.setattr(_demo, "demo_steps", lambda place: steps(run))
    stream = io.StringIO()
    assert _demo.demo(plain=True, as_json=as_json, stream=stream) == code
    text = stream.getvalue()
    assert ("41" in text and "42" in text) == bool(code)


def test_an_error_that_was_expected() -> None:
    with expect_error("asking", NotFound) as caught:
        raise NotFound("It is not there")
    assert caught.error.message == "It is not there"
    with pytest.raises(Exception, match="asking: expected NotFound, got no error"), expect_error("asking", NotFound):
        pass
    with pytest.raises(Conflict), expect_error("asking", NotFound):
        raise Conflict("It is there")


def test_what_has_to_fit() -> None:
    expect_that("a number", True, "an even one", 2)
    with pytest.raises(Exception, match="a number: expected an even one, got 3"):
        expect_that("a number", False, "an even one", 3)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.trio
@pytest.mark.parametrize("plain", [True, False])
async def test_colours_and_a_bar_are_for_terminals(monkeypatch: pytest.MonkeyPatch, plain: bool) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    screen = TextScreen(stream, plain=plain)
    assert not await run_steps(steps(good, wrong), screen)
    screen.summary(False, 1.0)
    text = stream.getvalue()
    assert ("\x1b[" in text) is not plain
    assert ("1 of 2" in text) is plain
    for said in ("1/2  Step good", "it is two", "FAILED", "expected  42", "came      41", "A step failed"):
        assert said in text
