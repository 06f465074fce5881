"""Credentials: from fed bytes for every kind of Unix, and who is trusted."""

from __future__ import annotations

import socket
import struct

import pytest

from poppo_ipc.errors import ConnectFailed
from poppo_ipc.transport import OWN_AND_ROOT, Address, PeerCredentials
from poppo_ipc.transport._borders import check_trusted
from poppo_ipc.transport._peer import own_credentials, peer_credentials


class FakeSocket:
    """Answers getsockopt from a table, in no more bytes than asked for."""

    def __init__(self, answers: dict[tuple[int, int], bytes]) -> None:
        self.answers = answers

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return self.answers[level, option][:size]


def ask(platform: str, answers: dict[tuple[int, int], bytes]) -> PeerCredentials:
    return peer_credentials(FakeSocket(answers), platform)  # type: ignore[arg-type]


def xucred(version: int, uid: int, groups: list[int]) -> bytes:
    return struct.pack("=IIhxx", version, uid, len(groups)) + struct.pack("=16I", *groups, *[0] * (16 - len(groups)))


SO_PEERCRED = (socket.SOL_SOCKET, getattr(socket, "SO_PEERCRED", 17))


@pytest.mark.parametrize(
    ("fed", "expected"),
    [
        ((12, 1000, 100), PeerCredentials(uid=1000, gid=100, pid=12)),
        ((0, 1000, 100), PeerCredentials(uid=1000, gid=100)),
        ((12, 2**32 - 1, 2**32 - 1), PeerCredentials(pid=12)),
        ((12, 2**31 + 5, 2**31 + 6), PeerCredentials(uid=2**31 + 5, gid=2**31 + 6, pid=12)),
    ],
)
def test_linux(fed: tuple[int, int, int], expected: PeerCredentials) -> None:
    assert ask("linux", {SO_PEERCRED: struct.pack("=iII", *fed)}) == expected


def test_macos() -> None:
    answers = {(0, 1): xucred(0, 501, [20, 12]), (0, 2): struct.pack("=i", 77)}
    assert ask("darwin", answers) == PeerCredentials(uid=501, gid=20, pid=77)


def test_freebsd() -> None:
    assert ask("freebsd14", {(0, 1): xucred(0, 1001, [1001]) + b"\xff" * 8}) == PeerCredentials(uid=1001, gid=1001)
    assert ask("freebsd14", {(0, 1): xucred(0, 1001, [])}) == PeerCredentials(uid=1001)


def test_an_unknown_layout_is_not_guessed_at() -> None:
    assert ask("freebsd14", {(0, 1): xucred(1, 1001, [1001])}) == PeerCredentials()
    assert ask("freebsd14", {(0, 1): b""}) == PeerCredentials()


def test_an_unknown_platform_tells_nothing() -> None:
    assert ask("plan9", {}) == PeerCredentials()


ADDRESS = Address.parse("npipe:d")


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (own_credentials(), OWN_AND_ROOT),
        (PeerCredentials(uid=4711), {4711}),
        (PeerCredentials(sid="S-1-5-21-1-2-3-1001"), {"S-1-5-21-1-2-3-1001"}),
        (PeerCredentials(uid=4711), None),
        (PeerCredentials(), None),
    ],
)
def test_trusted(peer: PeerCredentials, trusted: set[int] | None) -> None:
    check_trusted(ADDRESS, peer, trusted)


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (PeerCredentials(uid=4711), OWN_AND_ROOT),
        (PeerCredentials(uid=0), {4711}),
        (PeerCredentials(sid="S-1-5-21-1-2-3-1001"), OWN_AND_ROOT),
        (PeerCredentials(sid="S-1-5-18"), {0}),
        (PeerCredentials(), OWN_AND_ROOT),
        (PeerCredentials(uid=0), ()),
    ],
)
def test_not_trusted(peer: PeerCredentials, trusted: set[int]) -> None:
    with pytest.raises(ConnectFailed, match=r"npipe:d is run by .* nothing was sent") as caught:
        check_trusted(ADDRESS, peer, trusted)
    assert not caught.value.retryable
