"""The daemon's state on disk: one SQLite database, written by one thread, with its events and kept answers."""

from poppo_ipc.daemon.store._answers import StoredAnswers as StoredAnswers
from poppo_ipc.daemon.store._answers import error_json as error_json
from poppo_ipc.daemon.store._database import StoreCorrupt as StoreCorrupt
from poppo_ipc.daemon.store._database import StoreError as StoreError
from poppo_ipc.daemon.store._database import StoreTooNew as StoreTooNew
from poppo_ipc.daemon.store._database import open_database as open_database
from poppo_ipc.daemon.store._events import StoredEvents as StoredEvents
from poppo_ipc.daemon.store._failures import StoreUnavailable as StoreUnavailable
from poppo_ipc.daemon.store._lock import StoreLocked as StoreLocked
from poppo_ipc.daemon.store._store import Store as Store
from poppo_ipc.daemon.store._store import open_store as open_store
from poppo_ipc.daemon.store._transaction import KeptAnswer as KeptAnswer
from poppo_ipc.daemon.store._transaction import Row as Row
from poppo_ipc.daemon.store._transaction import StoredEvent as StoredEvent
from poppo_ipc.daemon.store._transaction import Transaction as Transaction
