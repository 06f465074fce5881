"""The list of what does not run where names what there is, and says why."""

from __future__ import annotations

import ast
from pathlib import Path

import left_out
import pytest

TESTS = Path(__file__).parent
ENTRIES = left_out.ON_WINDOWS | left_out.ON_UNIX


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_names_a_test_that_there_is(name: str) -> None:
    file, _, test = name.partition("::")
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not test or test.partition("[")[0].rpartition("::")[2] in tests


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_says_why(name: str) -> None:
    assert ENTRIES[name].strip()


def test_no_test_is_left_out_everywhere() -> None:
    assert left_out.ON_WINDOWS.keys().isdisjoint(left_out.ON_UNIX)


def test_tests_of_a_file_that_is_left_out_whole_are_not_named_again() -> None:
    for entries in (left_out.ON_WINDOWS, left_out.ON_UNIX):
        assert [name for name in entries if "::" in name and name.partition("::")[0] in entries] == []
