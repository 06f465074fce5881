"""The settings of a project: merged as RFC 7396 has it, and within bounds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.daemon.projects import merge_config
from poppo_ipc.daemon.projects._config import check_config, weight_of
from poppo_ipc.errors import InvalidArgs

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({}, {"a": None}, {}),
        ({"a": {"x": 1, "y": {"z": 2}}}, {"a": {"y": {"z": None, "w": 3}}}, {"a": {"x": 1, "y": {"w": 3}}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": "text"}, {"a": "text"}),
        ({"a": "text"}, {"a": {"x": 1, "y": None}}, {"a": {"x": 1}}),
        ({"a": [None]}, {"b": [{"c": None}]}, {"a": [None], "b": [{"c": None}]}),
    ],
)
def test_merging(before: dict[str, Any], changes: dict[str, Any], after: dict[str, Any]) -> None:
    copy = msgspec.json.decode(msgspec.json.encode([before, changes]))
    assert merge_config(before, changes) == after
    assert [before, changes] == copy


def has_null(config: Any) -> bool:
    return config is None or (isinstance(config, dict) and any(map(has_null, config.values())))


@given(before=objects, changes=objects)
def test_merging_any(before: dict[str, Any], changes: dict[str, Any]) -> None:
    before = merge_config({}, before)
    after = merge_config(before, changes)
    assert not has_null(after)
    assert merge_config(after, changes) == after
    for key in before.keys() - changes.keys():
        assert after[key] == before[key]
    for key, value in changes.items():
        if value is None:
            assert key not in after
        elif not isinstance(value, dict):
            assert after[key] == value


@pytest.mark.parametrize("weight", [0, -1, 101, 1.0, True, "2", [], {}])
def test_a_weight_that_is_none_is_refused(weight: Any) -> None:
    with pytest.raises(InvalidArgs) as caught:
        check_config({"weight": weight})
    assert caught.value.details == {"field": "config.weight", "problem": "expected an integer from 1 to 100"}


def test_bounds() -> None:
    for weight in (1, 100):
        check_config({"weight": weight})
        assert weight_of({"weight": weight}) == weight
    assert weight_of({}) == 1
    largest = {"a": "x" * (64 * 1024 - len('{"a":""}'))}
    check_config(largest)
    with pytest.raises(InvalidArgs, match="has 65537 bytes of JSON; at most 65536 are kept"):
        check_config({"a": largest["a"] + "x"})
