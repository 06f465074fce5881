"""Arguments and exit codes: 0 for done, 1 for a failure told in one line, 2 for wrong usage."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from poppo_ipc._version import __version__
from poppo_ipc.errors import AddressError, PoppoError
from poppo_ipc.transport import Address

__all__ = ["main"]

#: What the commands show themselves with, which the library itself does without.
_NEEDS = {"serve": ("structlog",), "demo": ("rich",)}
_STATE_DIR = "~/.poppobuilder"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. Raises SystemExit for wrong usage, and where only help was asked for."""
    options = _parser().parse_args(arguments)
    missing = [name for name in _NEEDS[options.command] if find_spec(name) is None]
    if missing:
        return _fail(f"{options.command} needs {' and '.join(missing)}; run: pip install 'poppo-ipc[cli]'")
    try:
        return _serve(options) if options.command == "serve" else _demo(options)
    except KeyboardInterrupt:
        return 130  # before the command could see to it: what a shell calls the end by SIGINT


def _serve(options: argparse.Namespace) -> int:
    from poppo_ipc.cli._serve import ServeOptions, serve

    try:
        serve(
            ServeOptions(
                address=options.socket,
                token_file=options.token_file,
                no_auth=options.no_auth,
                state_dir=Path(options.state_dir).expanduser().absolute(),
                log_level=options.log_level,
                log_json=options.log_json,
            )
        )
    except PoppoError as error:
        return _fail(error.message)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from poppo_ipc.cli._demo import demo

    return demo(plain=options.plain, as_json=options.json)


def _fail(text: str) -> int:
    print(f"poppo-ipc: {' '.join(text.split())}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="poppo-ipc", description="A daemon on a socket of this machine, and what talks to it."
    )
    parser.add_argument("--version", action="version", version=f"poppo-ipc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _serve_parser(commands.add_parser("serve", help="run the daemon in the foreground", description=_SERVE))
    _demo_parser(commands.add_parser("demo", help="show what it can do, in a few seconds", description=_DEMO))
    return parser


_SERVE = """Run the daemon in the foreground. It says "ready on ADDRESS" on stderr once clients can connect, ends in
order on SIGTERM, SIGINT or the command daemon.stop, and at once on a second signal. Without --token-file and --no-auth
the token is that of POPPO_TOKEN or of the file that POPPO_TOKEN_FILE names, or else of the file "token" in the state
directory, which is made where there is none. A socket handed over by a service manager (LISTEN_FDS) is used."""

_DEMO = """Start a daemon in a process of its own, talk to it, kill it, and start it again, in a temporary directory.
Each step checks what it shows; the exit code is 0 if all of them showed what they should."""


def _serve_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--socket", type=_address, metavar="PATH", help="where to listen (POPPO_SOCKET, or ~/.poppobuilder/daemon.sock)"
    )
    access = parser.add_mutually_exclusive_group()
    access.add_argument("--token-file", type=_path, metavar="FILE", help="the file with the token of clients")
    access.add_argument("--no-auth", action="store_true", help="take clients of this user without a token")
    parser.add_argument(
        "--state-dir",
        default=os.environ.get("POPPO_STATE_DIR") or _STATE_DIR,
        metavar="DIR",
        help=f"what the daemon keeps (POPPO_STATE_DIR, or {_STATE_DIR})",
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.add_argument("--log-json", action="store_true", help="log in JSON lines, as it does outside a terminal")


def _demo_parser(parser: argparse.ArgumentParser) -> None:
    look = parser.add_mutually_exclusive_group()
    look.add_argument("--plain", action="store_true", help="no colours and no live bar")
    look.add_argument("--json", action="store_true", help="one JSON object a line for each step")


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(error.message) from None


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a file name cannot be empty")
    return Path(text)
