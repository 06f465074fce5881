"""The server, for Trio daemons: embed it in a nursery of your own."""

from poppo_ipc.server._answers import Answers as Answers
from poppo_ipc.server._answers import KeyedRun as KeyedRun
from poppo_ipc.server._answers import Outcome as Outcome
from poppo_ipc.server._auth import AuthAttempt as AuthAttempt
from poppo_ipc.server._auth import Authenticator as Authenticator
from poppo_ipc.server._auth import Token as Token
from poppo_ipc.server._auth import TokenAuth as TokenAuth
from poppo_ipc.server._auth import TokenFileError as TokenFileError
from poppo_ipc.server._auth import generate_token as generate_token
from poppo_ipc.server._auth import read_token_file as read_token_file
from poppo_ipc.server._block import running as running
from poppo_ipc.server._eventlog import EventLog as EventLog
from poppo_ipc.server._fanout import encode_event as encode_event
from poppo_ipc.server._outbox import EventFrame as EventFrame
from poppo_ipc.server._request import answer_json as answer_json
from poppo_ipc.server._request import keyed_run as keyed_run
from poppo_ipc.server._server import OWN_USERS as OWN_USERS
from poppo_ipc.server._server import Observer as Observer
from poppo_ipc.server._server import Publisher as Publisher
from poppo_ipc.server._server import Server as Server
from poppo_ipc.server._statistics import ServerStatistics as ServerStatistics
from poppo_ipc.server._statistics import SessionInfo as SessionInfo
