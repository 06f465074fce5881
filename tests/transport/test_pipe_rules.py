"""What can be said of named pipes without Windows."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poppo_ipc.transport._pipe_rules import FIRST_WAIT, LONGEST_WAIT, busy_waits, descriptor_text, lock_name


def test_the_descriptor_is_protected_and_names_two_users_after_the_network_is_denied() -> None:
    assert descriptor_text("S-1-5-21-1-2-3-1001") == (
        "O:S-1-5-21-1-2-3-1001D:P(D;;GA;;;NU)(A;;GA;;;S-1-5-21-1-2-3-1001)(A;;GA;;;SY)"
    )


@given(st.integers())
def test_waits_grow_to_their_bound_and_each_is_left_to_chance(seed: int) -> None:
    waits = list(itertools.islice(busy_waits(random.Random(seed)), 20))
    bound = FIRST_WAIT
    for wait in waits:
        assert bound / 2 <= wait <= bound
        bound = min(bound * 2, LONGEST_WAIT)
    assert bound == LONGEST_WAIT
    assert waits != list(itertools.islice(busy_waits(random.Random(seed + 1)), 20))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("poppobuilder-daemon", "pipe-poppobuilder-daemon"),
        ("Con", "pipe-con"),
        ("a:b", "pipe-a%3a.b"),
        ("..", "pipe-%2e.%2e."),
        ("a%3a.b", "pipe-a%25.3a%2e.b"),
        ("a" * 100, "pipe-" + "a" * 100),
        ("A" * 101, "pipe-" + "a" * 60 + "-05336125f4345c8a031970a15f43e3f1"),
    ],
)
def test_names_of_lock_files(name: str, file: str) -> None:
    assert lock_name(name) == file


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_pipes_share_no_lock_file(one: str, other: str) -> None:
    assert (lock_name(one) == lock_name(other)) is (one.lower() == other.lower())
    assert len(lock_name(one)) <= 105
    assert not set(lock_name(one)) & set('<>:"/\\|?*\0')
