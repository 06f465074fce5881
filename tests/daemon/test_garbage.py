"""The daemon program's garbage collector."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In processes of their own: it is a setting of the whole process.
_SPARED = """
import gc
from poppo_ipc.daemon._garbage import spare_garbage_collector
kept = [[] for _ in range(10_000)]
spare_garbage_collector()
assert gc.isenabled()
print(gc.get_freeze_count() > len(kept), gc.get_threshold()[0] >= 20_000)
"""
_EMBEDDED = """
import gc, sys, trio
from poppo_ipc.daemon import Daemon, DaemonConfig

async def main():
    before = (gc.get_threshold(), gc.get_freeze_count())
    daemon = Daemon(DaemonConfig(state_dir=sys.argv[1], socket=sys.argv[2], workers=0, no_auth=True))
    async with trio.open_nursery() as nursery:
        await nursery.start(daemon.serve)
        daemon.stop_soon()
    print((gc.get_threshold(), gc.get_freeze_count()) == before)

trio.run(main)
"""


def _run(program: str, *args: str) -> str:
    command = [sys.executable, "-c", program, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_it_looks_more_seldom_and_not_at_what_is_there_already() -> None:
    assert _run(_SPARED) == "True True"


def test_a_program_that_embeds_a_daemon_keeps_its_own(tmp_path: Path, address: str) -> None:
    assert _run(_EMBEDDED, str(tmp_path / "state"), address) == "True"
