"""The public names of the harness: one list, one lazy table and imports for type checkers that agree."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import poppo_ipc.testing


def test_list_table_and_imports_agree() -> None:
    tree = ast.parse(Path(poppo_ipc.testing.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    shown: dict[str, str] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            assert alias.name == alias.asname
            shown[alias.name] = node.module.removeprefix("poppo_ipc.testing.")
    assert shown == poppo_ipc.testing._HOMES
    assert sorted(poppo_ipc.testing.__all__) == sorted(shown)
    for name, home in shown.items():
        module = importlib.import_module(f"poppo_ipc.testing.{home}")
        assert getattr(poppo_ipc.testing, name) is getattr(module, name)
