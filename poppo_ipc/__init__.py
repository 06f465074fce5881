"""poppo_ipc: a Trio-based daemon kit. Every public name that most programs need, in one place.

Names are loaded when they are first used (PEP 562): a command-line tool that imports `SyncClient` pays for no event
loop, and a daemon that imports `Server` gets what it names. The whole of each part is in its package:
`poppo_ipc.server`, `client`, `commands` (`commands.standard` has the standard ones), `transport`, `protocol`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poppo_ipc._lazy import lazily
from poppo_ipc._version import __version__ as __version__

if TYPE_CHECKING:
    from poppo_ipc.client import Backoff as Backoff
    from poppo_ipc.client import Client as Client
    from poppo_ipc.client import ClientState as ClientState
    from poppo_ipc.client import DaemonStartFailed as DaemonStartFailed
    from poppo_ipc.client import Event as Event
    from poppo_ipc.client import Gap as Gap
    from poppo_ipc.client import GapReason as GapReason
    from poppo_ipc.client import Options as Options
    from poppo_ipc.client import Position as Position
    from poppo_ipc.client import ServerInfo as ServerInfo
    from poppo_ipc.client import StateChange as StateChange
    from poppo_ipc.client import SyncClient as SyncClient
    from poppo_ipc.client import connect as connect
    from poppo_ipc.client import connect_or_start as connect_or_start
    from poppo_ipc.client import sync_connect_or_start as sync_connect_or_start
    from poppo_ipc.client import token_from_environment as token_from_environment
    from poppo_ipc.commands import Arg as Arg
    from poppo_ipc.commands import CommandSpec as CommandSpec
    from poppo_ipc.commands import Context as Context
    from poppo_ipc.commands import EventDeclaration as EventDeclaration
    from poppo_ipc.commands import NoArgs as NoArgs
    from poppo_ipc.commands import Principal as Principal
    from poppo_ipc.commands import Router as Router
    from poppo_ipc.errors import AddressError as AddressError
    from poppo_ipc.errors import AddressInUse as AddressInUse
    from poppo_ipc.errors import AuthenticationError as AuthenticationError
    from poppo_ipc.errors import AuthFailed as AuthFailed
    from poppo_ipc.errors import AuthRequired as AuthRequired
    from poppo_ipc.errors import BadFrame as BadFrame
    from poppo_ipc.errors import BadMessage as BadMessage
    from poppo_ipc.errors import Busy as Busy
    from poppo_ipc.errors import CallTimeout as CallTimeout
    from poppo_ipc.errors import CommandCancelled as CommandCancelled
    from poppo_ipc.errors import CommandError as CommandError
    from poppo_ipc.errors import Conflict as Conflict
    from poppo_ipc.errors import ConnectFailed as ConnectFailed
    from poppo_ipc.errors import ConnectionClosed as ConnectionClosed
    from poppo_ipc.errors import ConnectionLost as ConnectionLost
    from poppo_ipc.errors import DeclarationError as DeclarationError
    from poppo_ipc.errors import DuplicateId as DuplicateId
    from poppo_ipc.errors import Forbidden as Forbidden
    from poppo_ipc.errors import FrameTooLarge as FrameTooLarge
    from poppo_ipc.errors import InternalError as InternalError
    from poppo_ipc.errors import InvalidArgs as InvalidArgs
    from poppo_ipc.errors import LocalProtocolError as LocalProtocolError
    from poppo_ipc.errors import NotFound as NotFound
    from poppo_ipc.errors import OutcomeUnknown as OutcomeUnknown
    from poppo_ipc.errors import PoppoError as PoppoError
    from poppo_ipc.errors import ProtocolError as ProtocolError
    from poppo_ipc.errors import RemoteProtocolError as RemoteProtocolError
    from poppo_ipc.errors import ResultTooLarge as ResultTooLarge
    from poppo_ipc.errors import ShuttingDown as ShuttingDown
    from poppo_ipc.errors import TransportUnsupported as TransportUnsupported
    from poppo_ipc.errors import Unavailable as Unavailable
    from poppo_ipc.errors import UnknownCommand as UnknownCommand
    from poppo_ipc.errors import VersionMismatch as VersionMismatch
    from poppo_ipc.limits import Limits as Limits
    from poppo_ipc.limits import Overflow as Overflow
    from poppo_ipc.server import OWN_USERS as OWN_USERS
    from poppo_ipc.server import AuthAttempt as AuthAttempt
    from poppo_ipc.server import Authenticator as Authenticator
    from poppo_ipc.server import Server as Server
    from poppo_ipc.server import ServerStatistics as ServerStatistics
    from poppo_ipc.server import SessionInfo as SessionInfo
    from poppo_ipc.server import Token as Token
    from poppo_ipc.server import TokenAuth as TokenAuth
    from poppo_ipc.server import TokenFileError as TokenFileError
    from poppo_ipc.server import generate_token as generate_token
    from poppo_ipc.server import read_token_file as read_token_file
    from poppo_ipc.server import running as running
    from poppo_ipc.transport import Address as Address
    from poppo_ipc.transport import AddressKind as AddressKind
    from poppo_ipc.transport import PeerCredentials as PeerCredentials
    from poppo_ipc.transport import activated_sockets as activated_sockets
    from poppo_ipc.transport import listen_on as listen_on

_HOMES = {
    "OWN_USERS": "server",
    "Address": "transport",
    "AddressError": "errors",
    "AddressInUse": "errors",
    "AddressKind": "transport",
    "Arg": "commands",
    "AuthAttempt": "server",
    "AuthFailed": "errors",
    "AuthRequired": "errors",
    "AuthenticationError": "errors",
    "Authenticator": "server",
    "Backoff": "client",
    "BadFrame": "errors",
    "BadMessage": "errors",
    "Busy": "errors",
    "CallTimeout": "errors",
    "Client": "client",
    "ClientState": "client",
    "CommandCancelled": "errors",
    "CommandError": "errors",
    "CommandSpec": "commands",
    "Conflict": "errors",
    "ConnectFailed": "errors",
    "ConnectionClosed": "errors",
    "ConnectionLost": "errors",
    "Context": "commands",
    "DaemonStartFailed": "client",
    "DeclarationError": "errors",
    "DuplicateId": "errors",
    "Event": "client",
    "EventDeclaration": "commands",
    "Forbidden": "errors",
    "FrameTooLarge": "errors",
    "Gap": "client",
    "GapReason": "client",
    "InternalError": "errors",
    "InvalidArgs": "errors",
    "Limits": "limits",
    "LocalProtocolError": "errors",
    "NoArgs": "commands",
    "NotFound": "errors",
    "Options": "client",
    "OutcomeUnknown": "errors",
    "Overflow": "limits",
    "PeerCredentials": "transport",
    "PoppoError": "errors",
    "Position": "client",
    "Principal": "commands",
    "ProtocolError": "errors",
    "RemoteProtocolError": "errors",
    "ResultTooLarge": "errors",
    "Router": "commands",
    "Server": "server",
    "ServerInfo": "client",
    "ServerStatistics": "server",
    "SessionInfo": "server",
    "ShuttingDown": "errors",
    "StateChange": "client",
    "SyncClient": "client",
    "Token": "server",
    "TokenAuth": "server",
    "TokenFileError": "server",
    "TransportUnsupported": "errors",
    "Unavailable": "errors",
    "UnknownCommand": "errors",
    "VersionMismatch": "errors",
    "activated_sockets": "transport",
    "connect": "client",
    "connect_or_start": "client",
    "generate_token": "server",
    "listen_on": "transport",
    "read_token_file": "server",
    "running": "server",
    "sync_connect_or_start": "client",
    "token_from_environment": "client",
}

__all__ = [
    "OWN_USERS",
    "Address",
    "AddressError",
    "AddressInUse",
    "AddressKind",
    "Arg",
    "AuthAttempt",
    "AuthFailed",
    "AuthRequired",
    "AuthenticationError",
    "Authenticator",
    "Backoff",
    "BadFrame",
    "BadMessage",
    "Busy",
    "CallTimeout",
    "Client",
    "ClientState",
    "CommandCancelled",
    "CommandError",
    "CommandSpec",
    "Conflict",
    "ConnectFailed",
    "ConnectionClosed",
    "ConnectionLost",
    "Context",
    "DaemonStartFailed",
    "DeclarationError",
    "DuplicateId",
    "Event",
    "EventDeclaration",
    "Forbidden",
    "FrameTooLarge",
    "Gap",
    "GapReason",
    "InternalError",
    "InvalidArgs",
    "Limits",
    "LocalProtocolError",
    "NoArgs",
    "NotFound",
    "Options",
    "OutcomeUnknown",
    "Overflow",
    "PeerCredentials",
    "PoppoError",
    "Position",
    "Principal",
    "ProtocolError",
    "RemoteProtocolError",
    "ResultTooLarge",
    "Router",
    "Server",
    "ServerInfo",
    "ServerStatistics",
    "SessionInfo",
    "ShuttingDown",
    "StateChange",
    "SyncClient",
    "Token",
    "TokenAuth",
    "TokenFileError",
    "TransportUnsupported",
    "Unavailable",
    "UnknownCommand",
    "VersionMismatch",
    "activated_sockets",
    "connect",
    "connect_or_start",
    "generate_token",
    "listen_on",
    "read_token_file",
    "running",
    "sync_connect_or_start",
    "token_from_environment",
    "__version__",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
