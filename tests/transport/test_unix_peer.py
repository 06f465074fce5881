"""Credentials from the real kernel, and who is who by uid."""

# ruff: noqa: E402 - the type checker stops at the platform check

from __future__ import annotations

import sys

assert sys.platform != "win32"

import os
import socket

import pytest

from poppo_ipc.transport import OWN_AND_ROOT, PeerCredentials
from poppo_ipc.transport._borders import user_name
from poppo_ipc.transport._peer import peer_credentials


def test_the_real_kernel() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_credentials(one) == PeerCredentials(uid=os.geteuid(), gid=os.getegid(), pid=os.getpid())


def test_own_and_root_is_evaluated_at_each_look(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {os.geteuid(), 0} == set(OWN_AND_ROOT)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert 4711 in OWN_AND_ROOT
    assert 0 in OWN_AND_ROOT
    assert 4712 not in OWN_AND_ROOT
    assert len(OWN_AND_ROOT) == 2


def test_names_of_users() -> None:
    assert user_name(0) == "root (uid 0)"
    assert user_name(2**31 + 7) == f"uid {2**31 + 7}"
