"""The protocol with no I/O in it: frames, messages, and who may send what when.

Bytes go in and messages come out; no sockets, no event loop. The server's and the client's sessions are driven by
the two sides of the same `Connection`.
"""

from poppo_ipc.protocol._capabilities import ALL_CAPABILITIES as ALL_CAPABILITIES
from poppo_ipc.protocol._capabilities import CANCEL as CANCEL
from poppo_ipc.protocol._capabilities import CHALLENGE as CHALLENGE
from poppo_ipc.protocol._capabilities import DEADLINE as DEADLINE
from poppo_ipc.protocol._capabilities import IDEMPOTENCY as IDEMPOTENCY
from poppo_ipc.protocol._capabilities import PING as PING
from poppo_ipc.protocol._capabilities import REPLAY as REPLAY
from poppo_ipc.protocol._capabilities import STREAM as STREAM
from poppo_ipc.protocol._capabilities import SUBSCRIBE as SUBSCRIBE
from poppo_ipc.protocol._challenge import NONCE_BYTES as NONCE_BYTES
from poppo_ipc.protocol._challenge import client_proof as client_proof
from poppo_ipc.protocol._challenge import decode_nonce as decode_nonce
from poppo_ipc.protocol._challenge import new_nonce as new_nonce
from poppo_ipc.protocol._challenge import proof_matches as proof_matches
from poppo_ipc.protocol._challenge import server_proof as server_proof
from poppo_ipc.protocol._client_side import ClientConnection as ClientConnection
from poppo_ipc.protocol._client_side import error_body as error_body
from poppo_ipc.protocol._codec import Codec as Codec
from poppo_ipc.protocol._codec import encode as encode
from poppo_ipc.protocol._codec import nesting_depth as nesting_depth
from poppo_ipc.protocol._connection import Connection as Connection
from poppo_ipc.protocol._connection import Received as Received
from poppo_ipc.protocol._connection import Refusal as Refusal
from poppo_ipc.protocol._frames import HEADER_BYTES as HEADER_BYTES
from poppo_ipc.protocol._frames import MAGIC as MAGIC
from poppo_ipc.protocol._frames import FrameDecoder as FrameDecoder
from poppo_ipc.protocol._frames import frame as frame
from poppo_ipc.protocol._messages import MAX_ID_CHARS as MAX_ID_CHARS
from poppo_ipc.protocol._messages import Auth as Auth
from poppo_ipc.protocol._messages import AuthSuccess as AuthSuccess
from poppo_ipc.protocol._messages import Cancel as Cancel
from poppo_ipc.protocol._messages import Command as Command
from poppo_ipc.protocol._messages import Credit as Credit
from poppo_ipc.protocol._messages import ErrorBody as ErrorBody
from poppo_ipc.protocol._messages import ErrorMessage as ErrorMessage
from poppo_ipc.protocol._messages import Event as Event
from poppo_ipc.protocol._messages import Item as Item
from poppo_ipc.protocol._messages import Message as Message
from poppo_ipc.protocol._messages import PeerInfo as PeerInfo
from poppo_ipc.protocol._messages import Ping as Ping
from poppo_ipc.protocol._messages import Pong as Pong
from poppo_ipc.protocol._messages import Response as Response
from poppo_ipc.protocol._messages import Welcome as Welcome
from poppo_ipc.protocol._patterns import PatternIndex as PatternIndex
from poppo_ipc.protocol._patterns import check_pattern as check_pattern
from poppo_ipc.protocol._patterns import matches as matches
from poppo_ipc.protocol._server_side import ServerConnection as ServerConnection
from poppo_ipc.protocol._states import NEEDS_CAPABILITY as NEEDS_CAPABILITY
from poppo_ipc.protocol._states import TRANSITIONS as TRANSITIONS
from poppo_ipc.protocol._states import Role as Role
from poppo_ipc.protocol._states import State as State
from poppo_ipc.protocol._version_rule import PROTOCOL_VERSION as PROTOCOL_VERSION
from poppo_ipc.protocol._version_rule import compatible as compatible
from poppo_ipc.protocol._version_rule import mismatch_text as mismatch_text
