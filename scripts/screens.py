"""Makes SVG pictures of the demo and of `top`, run for real: `sh scripts/screens`.

`demo.svg` is the end of what `poppo-ipc demo` prints in a terminal; `top.svg` and `top-wide.svg` are the screen of
`poppo-ipc top` on a daemon that has much to do, at 80x24 and at 120x40.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import anyio
import pexpect
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from poppo_ipc import SyncClient, connect
from poppo_ipc.cli.top._app import TopApp

PICTURES = Path(__file__).with_name("pictures")
COLUMNS = 100
#: Lines of the demo that a page has room for.
DEMO_LINES = 48
#: Screens of top: name, columns, lines.
SCREENS = (("top", 80, 24), ("top-wide", 120, 40))
#: Seconds that the daemon has work before its picture is taken: about as many as the curves have columns.
SECONDS = 45.0
QUICK_SECONDS = 2.0
PATIENCE = 60
#: Colours that the terminal calls by another name.
NAMES: dict[str, str | None] = {"default": None, "brown": "yellow"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=Path, default=PICTURES, help="the directory for the pictures")
    parser.add_argument("--quick", action="store_true", help="pictures of a daemon that has just begun to work")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.load)
        return
    options.to.mkdir(parents=True, exist_ok=True)
    pictures = {"demo": demo_picture(), **top_pictures(QUICK_SECONDS if options.quick else SECONDS)}
    for name, picture in pictures.items():
        path = options.to / f"{name}.svg"
        path.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n")
        print(path)


# -- the demo -------------------------------------------------------------------------------------------------------


def demo_picture() -> str:
    """What the demo leaves on a terminal."""
    screen = pyte.Screen(COLUMNS, 300)
    stream = pyte.Stream(screen)
    environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "", "COLUMNS": str(COLUMNS)}
    environ.pop("NO_COLOR", None)
    child = pexpect.spawn(
        sys.executable, ["-m", "poppo_ipc", "demo"],
        env=environ, encoding="utf-8", dimensions=(300, COLUMNS), timeout=PATIENCE,
    )  # fmt: skip
    child.expect(pexpect.EOF)
    child.close()
    if child.exitstatus != 0:
        raise SystemExit(f"the demo failed:\n{child.before}")
    assert child.before is not None
    stream.feed(child.before)
    lines = [painted(screen, row) for row in range(screen.lines)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    # The last steps, and none of them in part.
    begin = next(at for at, line in enumerate(lines) if not line.plain.strip() and len(lines) - at <= DEMO_LINES)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    console.print(Text("$ poppo-ipc demo\n...", "bright_black"))
    console.print(Text("\n").join(lines[begin:]))
    return console.export_svg(title="poppo-ipc demo")


def painted(screen: pyte.Screen, row: int) -> Text:
    """A line of a terminal with its colours."""
    line = Text(no_wrap=True)
    cells = [screen.buffer[row][column] for column in range(screen.columns)]
    for (colour, bold), run in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        line.append("".join(cell.data for cell in run), Style(color=named(colour), bold=bold))
    line.rstrip()
    return line


def named(colour: str) -> str | None:
    """A colour of the terminal by the name that rich has for it."""
    is_hex = len(colour) == 6 and set(colour) <= set("0123456789abcdef")
    return f"#{colour}" if is_hex else NAMES.get(colour, colour)


# -- top ------------------------------------------------------------------------------------------------------------


def top_pictures(seconds: float) -> dict[str, str]:
    """The screens of `top`, one after the other on the same daemon."""
    with (
        tempfile.TemporaryDirectory(prefix="poppo-screens-", dir="/tmp") as name,
        daemon(Path(name)) as socket,
        subprocess.Popen([sys.executable, __file__, "--load", str(socket)]) as loading,
    ):
        try:
            return {
                title: anyio.run(top_picture, socket, columns, lines, seconds, backend="asyncio")
                for title, columns, lines in SCREENS
            }
        finally:
            loading.terminate()


async def top_picture(socket: Path, columns: int, lines: int, seconds: float) -> str:
    app = TopApp(lambda: connect(socket, token=None), f"unix:{socket}")
    async with app.run_test(size=(columns, lines)) as pilot:
        until = time.monotonic() + seconds
        with anyio.fail_after(seconds + PATIENCE):
            while time.monotonic() < until or not (app.model.tasks and app.model.events and app.model.rates):
                await app.drawn()
        if app.failure is not None:
            raise app.failure
        await pilot.pause()
        return app.export_screenshot()


@contextmanager
def daemon(place: Path) -> Iterator[Path]:
    """A daemon of its own; gives its socket."""
    command = ["serve", "--socket", str(place / "sock"), "--state-dir", str(place / "state"), "--no-auth"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("POPPO_", "LISTEN_"))}
    with subprocess.Popen(
        [sys.executable, "-m", "poppo_ipc", *command, "--workers", "4"], stderr=subprocess.PIPE, text=True, env=environ
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("ready on"):
                    break
            else:
                raise SystemExit("the daemon did not start")
            yield place / "sock"
        finally:
            process.terminate()
            process.communicate()


def load(socket: str) -> None:
    """Have the daemon work, now more and now less, until this process is ended."""
    chance = random.Random(1)
    with SyncClient(socket, token=None) as client:
        began = time.monotonic()
        number = 0
        while True:
            number += 1
            tide = 0.5 + 0.5 * math.sin((time.monotonic() - began) / 4)
            client.call("daemon.status", idempotent=True)
            if number % 20 == 1:
                script = "exit 3" if chance.random() < 0.03 else f"sleep {chance.uniform(0.3, 3 * tide + 0.5):.2f}"
                client.call("task.submit", {"type": "command", "payload": {"argv": ["sh", "-c", script]}})
            time.sleep(0.004 + 0.016 * tide)


if __name__ == "__main__":
    main()
