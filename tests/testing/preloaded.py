"""What tests import that run pytest within their process.

Such a run forgets the modules that it is the first to import, and others would then import them a second time: so they
are imported before.
"""

from __future__ import annotations

from poppo_ipc import testing
from poppo_ipc.daemon import Daemon

PRELOADED = [Daemon, *(getattr(testing, name) for name in testing.__all__)]
