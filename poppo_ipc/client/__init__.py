"""Clients of a daemon: `connect` for event loops (Trio and asyncio), `SyncClient` for programs without one.

Names are loaded when they are first used: importing `SyncClient` imports neither anyio nor trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poppo_ipc._lazy import lazily

if TYPE_CHECKING:
    from poppo_ipc.client._backoff import Backoff as Backoff
    from poppo_ipc.client._call import PipelinedCall as PipelinedCall
    from poppo_ipc.client._client import Client as Client
    from poppo_ipc.client._connect import connect as connect
    from poppo_ipc.client._events import ClientState as ClientState
    from poppo_ipc.client._events import Event as Event
    from poppo_ipc.client._events import Gap as Gap
    from poppo_ipc.client._events import GapReason as GapReason
    from poppo_ipc.client._events import Position as Position
    from poppo_ipc.client._events import StateChange as StateChange
    from poppo_ipc.client._launch import DaemonStartFailed as DaemonStartFailed
    from poppo_ipc.client._options import DEFAULT as DEFAULT
    from poppo_ipc.client._options import Options as Options
    from poppo_ipc.client._or_start import connect_or_start as connect_or_start
    from poppo_ipc.client._pipeline import Pipeline as Pipeline
    from poppo_ipc.client._session import ServerInfo as ServerInfo
    from poppo_ipc.client._session import Session as Session
    from poppo_ipc.client._streams import EventStream as EventStream
    from poppo_ipc.client._streams import ItemStream as ItemStream
    from poppo_ipc.client._streams import StateStream as StateStream
    from poppo_ipc.client._sync import SyncClient as SyncClient
    from poppo_ipc.client._sync_or_start import sync_connect_or_start as sync_connect_or_start
    from poppo_ipc.client._sync_streams import SyncEvents as SyncEvents
    from poppo_ipc.client._sync_streams import SyncItems as SyncItems
    from poppo_ipc.client._token import token_from_environment as token_from_environment

_HOMES = {
    "DEFAULT": "_options",
    "Backoff": "_backoff",
    "Client": "_client",
    "ClientState": "_events",
    "DaemonStartFailed": "_launch",
    "Event": "_events",
    "EventStream": "_streams",
    "Gap": "_events",
    "GapReason": "_events",
    "ItemStream": "_streams",
    "Options": "_options",
    "Pipeline": "_pipeline",
    "PipelinedCall": "_call",
    "Position": "_events",
    "ServerInfo": "_session",
    "Session": "_session",
    "StateChange": "_events",
    "StateStream": "_streams",
    "SyncClient": "_sync",
    "SyncEvents": "_sync_streams",
    "SyncItems": "_sync_streams",
    "connect": "_connect",
    "connect_or_start": "_or_start",
    "sync_connect_or_start": "_sync_or_start",
    "token_from_environment": "_token",
}

__all__ = [
    "DEFAULT",
    "Backoff",
    "Client",
    "ClientState",
    "DaemonStartFailed",
    "Event",
    "EventStream",
    "Gap",
    "GapReason",
    "ItemStream",
    "Options",
    "Pipeline",
    "PipelinedCall",
    "Position",
    "ServerInfo",
    "Session",
    "StateChange",
    "StateStream",
    "SyncClient",
    "SyncEvents",
    "SyncItems",
    "connect",
    "connect_or_start",
    "sync_connect_or_start",
    "token_from_environment",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
