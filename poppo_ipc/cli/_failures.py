"""What goes wrong, as a sentence on what it is, a sentence on what to do, and an exit code.

This file is the one place that knows the exit codes.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import click

from poppo_ipc.cli._suggest import did_you_mean

if TYPE_CHECKING:
    from poppo_ipc.errors import PoppoError

__all__ = ["HOW_TO_START", "ExitCode", "Failure", "failure_of", "sentence", "usage_failure"]

#: What to do where no daemon answers.
HOW_TO_START: Final = "Start it with poppo-ipc start, or name the socket of one that runs with --socket or POPPO_SOCKET"
_DOCTOR: Final = "Run poppo-ipc doctor to see where it hangs"


class ExitCode(enum.IntEnum):
    """How the program ends."""

    DONE = 0
    FAILED = 1
    """The command failed."""
    USAGE = 2
    """What was typed makes no sense."""
    NOT_CONNECTED = 3
    """There is no connection to the daemon, or it broke."""
    NOT_AUTHENTICATED = 4
    """The daemon does not take the token, or there is none that could be read."""
    TIMED_OUT = 5
    """There was no answer in time."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """Nobody reads the output any more: what a shell calls the end by SIGPIPE."""


class Failure(click.ClickException):
    """The end of the program: what went wrong, what to do about it, and the exit code."""

    def __init__(self, what: str, todo: str = "", code: int = ExitCode.FAILED, *, by_doctor: bool = False) -> None:
        super().__init__(what)
        self.todo = todo
        self.by_doctor = by_doctor
        """Whether what to do is to run the doctor, which itself has to say something else."""
        self.exit_code = code  # type: ignore[misc]  # a class variable there, and each has its own here

    def format_message(self) -> str:
        """One line for stderr."""
        if not self.todo:
            return " ".join(self.message.split())
        return f"{sentence(self.message)} {sentence(self.todo)}"


def sentence(text: str) -> str:
    """One line of text, with an end to it."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def usage_failure(error: click.UsageError) -> Failure:
    """What was typed makes no sense, and where it is told what would."""
    path = error.ctx.command_path if error.ctx is not None else "poppo-ipc"
    what, hint = error.format_message(), ""
    if isinstance(error, click.NoSuchOption):
        known = [name for param in error.ctx.command.params for name in param.opts] if error.ctx else []
        what, hint = f"There is no option {error.option_name}", did_you_mean(error.option_name, known)
    return Failure(what, f"{hint}See {path} --help", ExitCode.USAGE)


def failure_of(error: PoppoError, doing: str = "") -> Failure:
    """What an error of the client means to a person. `doing` names the command, where the error does not."""
    from poppo_ipc import errors

    message = error.message
    match error:
        case errors.AuthenticationError(token_file=str()):
            return Failure(error.what, "Name the daemon's token file with --token-file", ExitCode.NOT_AUTHENTICATED)
        case errors.AuthenticationError() | errors.AuthRequired() | errors.AuthFailed():
            return Failure(
                message,
                "Set POPPO_TOKEN, or name the daemon's token file with --token-file or POPPO_TOKEN_FILE",
                ExitCode.NOT_AUTHENTICATED,
            )
        case errors.CallTimeout():
            return Failure(
                message, "Look at what it has done, or give it longer with --timeout SECONDS", ExitCode.TIMED_OUT
            )
        case errors.UnknownCommand():
            near = (error.details or {}).get("suggestions") or []
            hint = f"Did you mean {' or '.join(map(str, near[:3]))}? " if near else ""
            return Failure(message, f"{hint}See poppo-ipc commands", ExitCode.USAGE)
        case errors.InvalidArgs():
            return Failure(message, f"See poppo-ipc call {doing or 'COMMAND'} --help", ExitCode.USAGE)
        case errors.CommandError():
            if error.code == "UNAVAILABLE" and (error.details or {}).get("reason"):
                # Its disk takes nothing more; the message says what to do itself.
                return Failure(sentence(message))
            return Failure(message, _remedy(error))
        case errors.ConnectFailed(reason=errors.ConnectFailed.Reason.ABSENT):
            return Failure(error.what, HOW_TO_START, ExitCode.NOT_CONNECTED)
        case errors.ConnectFailed() | errors.AddressError():
            todo = error.remedy or _DOCTOR
            code = ExitCode.USAGE if isinstance(error, errors.AddressError) else ExitCode.NOT_CONNECTED
            return Failure(error.what, todo[:1].upper() + todo[1:], code, by_doctor=not error.remedy)
        case errors.ConnectionLost() | errors.ConnectionClosed():
            todo = f"Ask again; if that does not help: {_DOCTOR[0].lower()}{_DOCTOR[1:]}"
            return Failure(error.what, todo, ExitCode.NOT_CONNECTED, by_doctor=True)
        case errors.OutcomeUnknown():
            return Failure(message, "See whether it is done before you ask again")
        case errors.ProtocolError():
            return Failure(message, "Run poppo-ipc doctor to compare the versions", ExitCode.NOT_CONNECTED)
    return Failure(message)


def _remedy(error: PoppoError) -> str:
    return {
        "FORBIDDEN": "Use a token with a wider scope",
        "NOT_FOUND": "List what there is, and use the id of that",
        "CONFLICT": "Look at its state with the status command, and ask again when that is another",
        "UNAVAILABLE": "Use a daemon that has this component",
        "BUSY": "Ask again when something has finished",
        "SHUTTING_DOWN": "Ask again when it is up",
        "CANCELLED": "Ask again if that was not meant",
        "INTERNAL": _reference(error),
        "RESULT_TOO_LARGE": "The command did run; ask for less at once",
    }.get(error.code, f"The daemon's code for it is {error.code}; its log (poppo-ipc logs) may say more")


def _reference(error: PoppoError) -> str:
    details = getattr(error, "details", None) or {}
    if "ref" not in details:
        return "Look at the daemon's log (poppo-ipc logs)"
    return f"Look for {details['ref']} in the daemon's log (poppo-ipc logs)"
