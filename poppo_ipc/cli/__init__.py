"""The command line: `poppo-ipc`, or `python -m poppo_ipc`. Nothing else of the package imports it.

How a command is added:

1. Write `_NAME.py` with a click command, `command`, whose function takes an `Invocation` first::

       @click.command("name")
       @connected                    # --socket, --token-file, --timeout, --json, and the Invocation
       def command(invocation: Invocation) -> int | None:
           \"\"\"One sentence; it is the help.\"\"\"
           with invocation.client() as client:
               invocation.output.show(client.call("daemon.status", idempotent=True))

   It returns None, or the exit code. What goes wrong is raised, never printed: a `PoppoError` of the client as it is,
   or a `Failure` (`_failures.py`) with one sentence on what happened and one on what to do.
   Output goes through `invocation.output` (`_output.py`), which makes it JSON or text, safe for a terminal.
2. Give it a row in `_commands.py`: where it lives, its sentence for `--help`, and the optional packages that it needs.
   Its module, and what that imports, is then loaded when the command is used, and for nothing else.

Ids and names are completed by `shell_complete=` with what `_complete.py` has.
"""

from poppo_ipc.cli._main import main as main

__all__ = ["main"]
