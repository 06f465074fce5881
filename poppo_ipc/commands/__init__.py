"""What can be asked and told: declarations of commands and events, their types and docs. No behaviour, no async."""

from poppo_ipc.commands._command import CallNext as CallNext
from poppo_ipc.commands._command import Command as Command
from poppo_ipc.commands._command import CommandSpec as CommandSpec
from poppo_ipc.commands._command import EventDeclaration as EventDeclaration
from poppo_ipc.commands._command import Handler as Handler
from poppo_ipc.commands._command import Kind as Kind
from poppo_ipc.commands._command import Middleware as Middleware
from poppo_ipc.commands._command import NoArgs as NoArgs
from poppo_ipc.commands._context import Context as Context
from poppo_ipc.commands._context import Peer as Peer
from poppo_ipc.commands._context import Principal as Principal
from poppo_ipc.commands._context import Session as Session
from poppo_ipc.commands._describe import describe as describe
from poppo_ipc.commands._fields import Arg as Arg
from poppo_ipc.commands._fields import Bound as Bound
from poppo_ipc.commands._misfit import WireMismatch as WireMismatch
from poppo_ipc.commands._model import ArgsModel as ArgsModel
from poppo_ipc.commands._model import WireType as WireType
from poppo_ipc.commands._model import decode_as as decode_as
from poppo_ipc.commands._model import encode_args as encode_args
from poppo_ipc.commands._model import encode_result as encode_result
from poppo_ipc.commands._model import schema as schema
from poppo_ipc.commands._router import Router as Router

__all__ = [
    "Arg",
    "ArgsModel",
    "Bound",
    "CallNext",
    "Command",
    "CommandSpec",
    "Context",
    "EventDeclaration",
    "Handler",
    "Kind",
    "Middleware",
    "NoArgs",
    "Peer",
    "Principal",
    "Router",
    "Session",
    "WireMismatch",
    "WireType",
    "decode_as",
    "describe",
    "encode_args",
    "encode_result",
    "schema",
]
