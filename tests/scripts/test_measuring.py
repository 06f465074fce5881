"""The scripts that measure the daemon run; how fast it is says nobody here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.mark.parametrize("script", ["bench_submit.py", "bench_tasks.py"])
def test_it_runs(script: str) -> None:
    command = [sys.executable, str(SCRIPTS / script), "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)
    assert figures
    assert all(value is not None for value in figures.values())
