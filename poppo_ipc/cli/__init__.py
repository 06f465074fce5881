"""The command line: `poppo-ipc`, or `python -m poppo_ipc`. Nothing else of the package imports it."""

from poppo_ipc.cli._main import main as main

__all__ = ["main"]
