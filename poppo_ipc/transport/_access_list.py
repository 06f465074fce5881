"""What a Windows access list says, read from its bytes: who gets in. No calls, so it can be tested anywhere.

The layout is that of ACL, ACE_HEADER and SID:
https://learn.microsoft.com/openspecs/windows_protocols/ms-dtyp/20233ed8-a6c6-4097-aafa-dd545ed24428
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Final

__all__ = ["ADMINISTRATORS", "SYSTEM", "strangers"]

SYSTEM: Final = "S-1-5-18"
ADMINISTRATORS: Final = "S-1-5-32-544"
EVERYONE: Final = "S-1-1-0"
#: Who made a thing, and its owner: nobody but the owner, whoever that is.
_OWNERS: Final = frozenset({"S-1-3-0", "S-1-3-4"})

_ACL: Final = struct.Struct("<BxHHxx")  # revision, size, count
_ACE: Final = struct.Struct("<BBH")  # type, flags, size
_MASK_BYTES: Final = 4
# ACCESS_ALLOWED_ACE, and the same with a condition: their SID follows the mask. Those for objects are for directories
# of users, not of files.
_ALLOWING: Final = (0x0, 0x9)
_INHERIT_ONLY: Final = 0x08


def strangers(acl: bytes | None, trusted: Collection[str]) -> list[str]:
    """The SIDs that an access list lets in beside its owner and the `trusted` ones. No list at all lets in everyone.

    Whatever it is that they may do. An entry that is only for what lies in a directory counts for that, not for it.
    Raises ValueError for what is no access list.
    """
    if acl is None:
        return [EVERYONE]
    found = dict.fromkeys(_allowed(acl))
    return [sid for sid in found if sid not in trusted and sid not in _OWNERS]


def _allowed(acl: bytes) -> Iterator[str]:
    try:
        _, _, count = _ACL.unpack_from(acl)
        at = _ACL.size
        for _ in range(count):
            kind, flags, size = _ACE.unpack_from(acl, at)
            if size < _ACE.size + _MASK_BYTES or at + size > len(acl):
                raise ValueError("an entry of an access list is larger than the list")
            if kind in _ALLOWING and not flags & _INHERIT_ONLY:
                yield _sid(acl, at + _ACE.size + _MASK_BYTES)
            at += size
    except struct.error as error:
        raise ValueError("this is no access list") from error


def _sid(data: bytes, at: int) -> str:
    revision, count = data[at], data[at + 1]
    authority = int.from_bytes(data[at + 2 : at + 8], "big")
    parts = struct.unpack_from(f"<{count}I", data, at + 8)
    return "-".join(map(str, ("S", revision, authority, *parts)))
