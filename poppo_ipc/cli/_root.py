"""The root of all commands, and the way out: whatever happens below ends here, as an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from poppo_ipc._version import __version__
from poppo_ipc.cli._commands import COMMANDS
from poppo_ipc.cli._connection import connection_options
from poppo_ipc.cli._failures import ExitCode, Failure, failure_of, usage_failure
from poppo_ipc.cli._interrupts import break_interrupts
from poppo_ipc.cli._lazy_group import LazyGroup
from poppo_ipc.cli._safe import safe
from poppo_ipc.cli._stdout import make_stdout_total, nobody_reads

__all__ = ["COMPLETE_VARIABLE", "PROGRAM", "root"]

PROGRAM = "poppo-ipc"
COMPLETE_VARIABLE = "_POPPO_IPC_COMPLETE"

_EPILOG = """\b
Exit codes:
  0    done
  1    the command failed
  2    what was typed makes no sense
  3    no connection to the daemon
  4    the daemon does not take the token
  5    no answer in time
  130  Ctrl-C

The token is never an option: it comes from the file of --token-file, from POPPO_TOKEN, from the file of
POPPO_TOKEN_FILE, or from the file "token" of the daemon's state directory."""


class Root(LazyGroup):
    """The whole program."""

    def run(self, arguments: Sequence[str], *, prog_name: str = PROGRAM) -> int:
        """Run one command; gives the exit code. What went wrong is told on stderr, in one line."""
        try:
            code = self._run(list(arguments), prog_name)
            sys.stdout.flush()
            return code
        except OSError as error:
            if not nobody_reads(error):
                raise
            # What is left in the buffer cannot be written at the end of the program either.
            _discard_output()
            return ExitCode.BROKEN_PIPE

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **__: Any) -> NoReturn:
        """As a program: ends it with the exit code."""
        sys.exit(self.run(sys.argv[1:] if args is None else args, prog_name=prog_name or PROGRAM))

    def _run(self, arguments: list[str], prog_name: str) -> int:
        from poppo_ipc.errors import PoppoError

        make_stdout_total()
        break_interrupts()
        try:
            if COMPLETE_VARIABLE in os.environ:
                self._complete(prog_name)
            with self.make_context(prog_name, arguments) as ctx:
                result = self.invoke(ctx)
                return result if isinstance(result, int) else ExitCode.DONE
        except click.exceptions.Exit as ending:
            return ending.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return ExitCode.USAGE
        except click.UsageError as error:
            return _tell(usage_failure(error))
        except Failure as failure:
            return _tell(failure)
        except (KeyboardInterrupt, click.Abort):
            return ExitCode.INTERRUPTED
        except PoppoError as error:
            return _tell(failure_of(error))
        except click.ClickException as error:
            return _tell(Failure(error.format_message(), code=error.exit_code))
        except OSError as error:
            if nobody_reads(error):
                raise
            where = f"{error.filename}: " if error.filename else ""
            return _tell(Failure(f"{where}{error.strerror or error}", "Put that right, and try again"))
        except Exception as error:
            if os.environ.get("POPPO_DEBUG"):
                raise
            kind = type(error).__name__
            return _tell(
                Failure(
                    f"There is a mistake in this program ({kind}: {error})", "Report it with what POPPO_DEBUG=1 shows"
                )
            )

    def _complete(self, prog_name: str) -> None:
        from click.shell_completion import shell_complete

        instruction = os.environ[COMPLETE_VARIABLE]
        raise click.exceptions.Exit(shell_complete(self, {}, prog_name, COMPLETE_VARIABLE, instruction))


def _tell(failure: Failure) -> int:
    print(f"{PROGRAM}: {safe(failure.format_message())}", file=sys.stderr)
    return failure.exit_code


def _discard_output() -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        sys.stdout = None  # no real file: nothing is flushed at the end


@click.group(
    PROGRAM,
    cls=Root,
    entries=COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@connection_options
def root() -> None:
    """A daemon on a socket (on Windows a named pipe) of this machine, and what talks to it."""
