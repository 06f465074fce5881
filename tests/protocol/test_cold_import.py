"""The protocol needs no event loop and no sockets, nor loads them."""

from __future__ import annotations

import subprocess
import sys

FOREIGN = ["trio", "anyio", "socket", "asyncio", "select", "ssl", "subprocess", "sqlite3", "pytest"]


def test_importing_the_protocol_loads_no_async_library_and_no_sockets() -> None:
    program = f"""
import sys
before = set(sys.modules)
import poppo_ipc.protocol
loaded = set(sys.modules) - before
assert "poppo_ipc.protocol" in loaded
print(*sorted(loaded.intersection({FOREIGN!r})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
