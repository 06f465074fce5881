"""What the synchronous client costs a short-lived program."""

from __future__ import annotations

import subprocess
import sys

from .peer import Peer
from .threads import serving_in_thread

PROGRAM = """
import sys
bare = set(sys.modules)
from poppo_ipc.client import SyncClient
with SyncClient(sys.argv[1], token=None) as client:
    assert client.call("greet", name="x") == "hello"
print(*set(sys.modules) - bare)
"""

#: What of ourselves, and of others, a call needs.
OURS = {"_lazy", "_version", "client", "errors", "protocol", "transport"}
OTHERS = {"attr", "attrs", "msgspec", "typing_extensions"}
#: What of the standard library takes long to load, and has no part in a call.
HEAVY = {
    "argparse", "asyncio", "concurrent", "ctypes", "email", "http", "logging", "multiprocessing", "pathlib", "pickle",
    "random", "sqlite3", "ssl", "subprocess", "tempfile", "unittest", "urllib", "xml",
}  # fmt: skip


def test_one_call_in_a_cold_interpreter(address: str) -> None:
    """It loads what it needs: that is what it costs. How long that takes is the machine's part."""

    async def script(peer: Peer) -> None:
        await peer.settle()
        await peer.respond(await peer.command("greet"), "hello")
        await peer.until_closed()

    with serving_in_thread(address, script):
        command = [sys.executable, "-c", PROGRAM, address]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    assert {name.split(".")[1] for name in loaded if name.startswith("poppo_ipc.")} <= OURS
    assert packages - sys.stdlib_module_names <= OTHERS | {"poppo_ipc"}
    assert not packages & HEAVY


def test_the_modules_that_synchronous_programs_load_name_no_event_loop() -> None:
    program = "import sys, poppo_ipc.client as c; c.SyncClient; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"anyio", "trio", "asyncio", "poppo_ipc.commands", "poppo_ipc.server"} & set(done.stdout.split())
