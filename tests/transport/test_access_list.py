"""Windows access lists, read from bytes as Windows lays them out."""

from __future__ import annotations

import struct

import pytest

from poppo_ipc.transport._access_list import ADMINISTRATORS, SYSTEM, strangers

ME = "S-1-5-21-1-2-3-1001"
EVERYONE = "S-1-1-0"
TRUSTED = {ME, SYSTEM, ADMINISTRATORS}

# As GetSecurityInfo gave it for a file of (A;;FA;;;SY)(A;;FA;;;S-1-5-21-0-0-0-1000)(A;;0x1200a9;;;WD).
RECORDED = bytes.fromhex(
    "0200540003000000"
    "00001400ff011f00010100000000000512000000"
    "00002400ff011f00010500000000000515000000000000000000000000000000e8030000"
    "00001400a9001200010100000000000100000000"
)


def sid(text: str) -> bytes:
    _, revision, authority, *parts = text.split("-")
    numbers = [int(part) for part in parts]
    return (
        bytes([int(revision), len(numbers)])
        + int(authority).to_bytes(6, "big")
        + struct.pack(f"<{len(numbers)}I", *numbers)
    )


def entry(who: str, kind: int = 0, flags: int = 0) -> bytes:
    body = struct.pack("<I", 0x1F01FF) + sid(who)
    return struct.pack("<BBH", kind, flags, 4 + len(body)) + body


def acl(*entries: bytes) -> bytes:
    data = b"".join(entries)
    return struct.pack("<BxHHxx", 2, 8 + len(data), len(entries)) + data


def test_a_recorded_list_is_understood() -> None:
    assert strangers(RECORDED, {SYSTEM, "S-1-5-21-0-0-0-1000"}) == [EVERYONE]
    assert strangers(RECORDED, {EVERYONE}) == [SYSTEM, "S-1-5-21-0-0-0-1000"]


def test_the_owner_and_who_stands_above_are_no_strangers() -> None:
    assert strangers(acl(entry(ME), entry(SYSTEM), entry(ADMINISTRATORS), entry("S-1-3-4")), TRUSTED) == []
    assert strangers(acl(), TRUSTED) == []


def test_others_are_named_once() -> None:
    users = "S-1-5-32-545"
    assert strangers(acl(entry(ME), entry(users), entry(EVERYONE), entry(users)), TRUSTED) == [users, EVERYONE]
    assert strangers(acl(entry(users, kind=9)), TRUSTED) == [users]


def test_who_is_denied_or_comes_later_is_not_let_in() -> None:
    assert strangers(acl(entry(EVERYONE, kind=1), entry(EVERYONE, flags=0x0B), entry(ME)), TRUSTED) == []


def test_no_list_lets_everyone_in() -> None:
    assert strangers(None, TRUSTED) == [EVERYONE]


@pytest.mark.parametrize("data", [b"", RECORDED[:8], RECORDED[:-4], RECORDED[:12] + b"\1\0"])
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="access list"):
        strangers(data, TRUSTED)
