"""Arguments and exit codes: 0 for done, 1 for a failure told in one line, 2 for wrong usage."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from poppo_ipc._version import __version__
from poppo_ipc.cli._flags import add_flags, given_flags
from poppo_ipc.daemon._config_model import ConfigError
from poppo_ipc.errors import PoppoError

__all__ = ["main"]

#: What the commands need, and the library itself does without.
_DAEMON = ("h11", "prometheus_client", "psutil", "structlog")
_NEEDS = {"serve": _DAEMON, "demo": (*_DAEMON, "rich")}


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

    file = options.config or os.environ.get("POPPO_CONFIG")
    try:
        serve(ServeOptions(file=Path(file).expanduser() if file else None, flags=given_flags(options)))
    except ConfigError as error:
        for problem in error.problems:
            _fail(str(problem))
        # What was typed is usage; what a file or a variable says is not.
        return 2 if all(problem.source.startswith("--") for problem in error.problems) else 1
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
    _serve_parser(
        commands.add_parser("serve", help="run the daemon in the foreground", description=_SERVE, allow_abbrev=False)
    )
    _demo_parser(commands.add_parser("demo", help="show what it can do, in a few seconds", description=_DEMO))
    return parser


_SERVE = """Run the daemon in the foreground. Each setting is that of its flag, or else of its variable, or else of the
file, or else the default. It says "ready on ADDRESS" on stderr once clients can connect; reads the settings again on
SIGHUP or the command daemon.reload; ends in order on SIGTERM, SIGINT or the command daemon.stop, and at once on a
second signal. Without a token file and --no-auth the token is that of POPPO_TOKEN, or else of the file "token" in the
state directory, which is made where there is none. A socket handed over by a service manager (LISTEN_FDS) is used."""

_DEMO = """Start a daemon in a process of its own, talk to it, kill it, and start it again, in a temporary directory.
Each step checks what it shows; the exit code is 0 if all of them showed what they should."""


def _serve_parser(parser: argparse.ArgumentParser) -> None:
    parser.usage = "poppo-ipc serve [--config FILE] [--SETTING VALUE ...]"
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings (POPPO_CONFIG)")
    add_flags(parser)


def _demo_parser(parser: argparse.ArgumentParser) -> None:
    look = parser.add_mutually_exclusive_group()
    look.add_argument("--plain", action="store_true", help="no colours and no live bar")
    look.add_argument("--json", action="store_true", help="one JSON object a line for each step")
