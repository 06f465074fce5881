"""The pictures can still be made: of the demo and of `top`, with what they are to show in them."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def text_of(path: Path) -> str:
    """What is written in a picture, with plain spaces."""
    texts = xml.etree.ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")
    return " ".join(text.text or "" for text in texts).replace("\xa0", " ")


@pytest.mark.slow
def test_the_pictures_are_made(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "screens.py"), "--quick", "--to", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.svg", "top-wide.svg", "top.svg"]
    assert "All steps showed what they should" in text_of(tmp_path / "demo.svg")
    for name in ("top.svg", "top-wide.svg"):
        shown = text_of(tmp_path / name)
        for word in ("connected", "Requests", "requests", "worker-1", "task.started", "Serving"):
            assert word in shown, name


@pytest.mark.parametrize("name", ["demo", "top", "top-wide"])
def test_those_that_are_kept_are_pictures(name: str) -> None:
    path = SCRIPTS / "pictures" / f"{name}.svg"
    assert xml.etree.ElementTree.parse(path).getroot().tag.endswith("svg")
    assert f"poppo-ipc {name.removesuffix('-wide')}" in text_of(path)
