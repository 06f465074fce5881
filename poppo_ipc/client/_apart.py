"""A process that has nothing of ours but a place to write to, and that can be ended with all that it has started."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from poppo_ipc.client._apart_windows import Apart as Apart
else:
    from poppo_ipc.client._apart_unix import Apart as Apart

__all__ = ["Apart"]
