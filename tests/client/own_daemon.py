"""The daemon of a program that brings its own along. Notes each start, and does what TEST_DAEMON says."""

from __future__ import annotations

import os
import socket
import sys

import trio

from poppo_ipc import Router, Server, TokenAuth


def main() -> None:
    with open(os.environ["TEST_STARTS"], "a") as starts:
        starts.write(f"{os.getpid()}\n")
    match os.environ.get("TEST_DAEMON", ""):
        case "fails":
            sys.exit("a line before\nthe disk is made of cheese")
        case "hangs":
            with socket.create_connection(("127.0.0.1", int(os.environ["TEST_GATE"]))) as gate:
                gate.recv(1)
    router = Router()
    router.command("pid", idempotent=True)(pid)
    auth = TokenAuth.from_environment() if os.environ.get("POPPO_TOKEN") else None
    trio.run(Server(router, auth=auth).serve)


async def pid() -> int:
    """This process."""
    return os.getpid()


if __name__ == "__main__":
    main()
