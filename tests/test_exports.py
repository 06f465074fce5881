"""The public names: one place for each, and lists, lazy tables and imports for type checkers that agree."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

import poppo_ipc

PACKAGES = [
    "poppo_ipc.errors",
    "poppo_ipc.limits",
    "poppo_ipc.protocol",
    "poppo_ipc.commands",
    "poppo_ipc.commands.standard",
    "poppo_ipc.transport",
    "poppo_ipc.server",
    "poppo_ipc.client",
    "poppo_ipc.daemon",
]
LAZY = ["poppo_ipc", "poppo_ipc.transport", "poppo_ipc.client", "poppo_ipc.daemon"]


def imported_for_type_checkers(module: ModuleType) -> dict[str, str]:
    """The names in `if TYPE_CHECKING:`, with the module that each comes from; all as `X as X`."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for block in (node for node in tree.body if isinstance(node, ast.If)):
        assert ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body:
            assert isinstance(node, ast.ImportFrom)
            assert node.module is not None
            for alias in node.names:
                assert alias.name == alias.asname, f"{alias.name} has to be imported as itself"
                found[alias.name] = node.module.removeprefix(f"{module.__name__}.")
    return found


def shown(module: ModuleType) -> list[str]:
    """What a package shows by `from ... import X as X`, in its order."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    return [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    ]


def exported(module: ModuleType) -> list[str]:
    """The public names of a module: its list, or what it shows where it has none."""
    return list(getattr(module, "__all__", None) or shown(module))


@pytest.mark.parametrize("name", LAZY)
def test_list_table_and_imports_of_a_lazy_package_agree(name: str) -> None:
    module = importlib.import_module(name)
    lazy = set(exported(module)) - {"__version__"}
    assert imported_for_type_checkers(module) == module._HOMES
    assert lazy == set(module._HOMES)
    for each, home in module._HOMES.items():
        assert getattr(module, each) is getattr(importlib.import_module(f"{name}.{home}"), each)
    assert lazy <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_what_it_shows_and_has_it(name: str) -> None:
    module = importlib.import_module(name)
    names = exported(module)
    assert names
    assert len(names) == len(set(names))
    assert [each for each in names if not hasattr(module, each)] == []
    assert set(shown(module)) <= set(names)


def test_every_class_and_function_is_exported_from_one_place() -> None:
    places: dict[int, list[str]] = {}
    kept = []  # an id is one object's for as long as that lives
    for name in PACKAGES:
        module = importlib.import_module(name)
        for each in exported(module):
            value = getattr(module, each)
            if inspect.isclass(value) or inspect.isfunction(value):
                kept.append(value)
                places.setdefault(id(value), []).append(f"{name}.{each}")
    assert [where for where in places.values() if len(where) > 1] == []


def test_the_names_of_the_package_are_those_of_its_parts() -> None:
    for each, home in poppo_ipc._HOMES.items():
        part = importlib.import_module(f"poppo_ipc.{home}")
        assert each in exported(part)
    errors = importlib.import_module("poppo_ipc.errors")
    assert {each for each, home in poppo_ipc._HOMES.items() if home == "errors"} == set(errors.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", poppo_ipc.__version__)
