"""Where bytes travel: addresses, streams, listeners and who the peer is.

Names are loaded when they are first used, because a plain synchronous program wants `Address` and `connect_blocking`
without paying for an event loop: importing this package imports neither anyio nor trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poppo_ipc._lazy import lazily

if TYPE_CHECKING:
    from ._accept import accept_retrying as accept_retrying
    from ._activation import activated_sockets as activated_sockets
    from ._address import Address as Address
    from ._address import AddressKind as AddressKind
    from ._address import check_path_length as check_path_length
    from ._blocking import connect_blocking as connect_blocking
    from ._contract import Listener as Listener
    from ._contract import Stream as Stream
    from ._kinds import connect as connect
    from ._kinds import listen as listen
    from ._kinds import listen_on as listen_on
    from ._memory import memory_pair as memory_pair
    from ._peer import OWN_AND_ROOT as OWN_AND_ROOT
    from ._peer import PeerCredentials as PeerCredentials

__all__ = [
    "OWN_AND_ROOT",
    "Address",
    "AddressKind",
    "Listener",
    "PeerCredentials",
    "Stream",
    "accept_retrying",
    "activated_sockets",
    "check_path_length",
    "connect",
    "connect_blocking",
    "listen",
    "listen_on",
    "memory_pair",
]

_HOMES = {
    "OWN_AND_ROOT": "_peer",
    "Address": "_address",
    "AddressKind": "_address",
    "Listener": "_contract",
    "PeerCredentials": "_peer",
    "Stream": "_contract",
    "accept_retrying": "_accept",
    "activated_sockets": "_activation",
    "check_path_length": "_address",
    "connect": "_kinds",
    "connect_blocking": "_blocking",
    "listen": "_kinds",
    "listen_on": "_kinds",
    "memory_pair": "_memory",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
