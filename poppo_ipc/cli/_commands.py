"""What commands there are, without loading any of them."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["COMMANDS", "Entry"]

_DAEMON: Final = ("h11", "prometheus_client", "psutil", "structlog")


class Entry(NamedTuple):
    """A command: where it is, and what `--help` says of it."""

    module: str
    """The module of this package that holds it."""

    section: str
    """The heading that it stands under."""

    summary: str
    """One sentence, the same as the beginning of its own help."""

    needs: tuple[str, ...] = ()
    """Packages that it needs and the library does without."""

    extra: str = "cli"
    """The extra of the project that brings them."""

    attribute: str = "command"
    """Its name in the module."""


#: In the order in which `--help` shows them.
COMMANDS: Final[dict[str, Entry]] = {
    "serve": Entry("_serve_command", "The daemon", "Run the daemon in the foreground.", _DAEMON),
    "start": Entry("_start", "The daemon", "Start the daemon in the background.", _DAEMON),
    "stop": Entry("_groups.daemon", "The daemon", "Stop the daemon in order.", attribute="stop"),
    "restart": Entry("_restart", "The daemon", "Stop the daemon in order, and start it again.", _DAEMON),
    "reload": Entry("_groups.daemon", "The daemon", "Let the daemon read its settings again.", attribute="reload"),
    "status": Entry("_groups.daemon", "The daemon", "Show everything at a glance.", attribute="status"),
    "health": Entry("_groups.observe", "The daemon", "Check that all is well.", attribute="health"),
    "metrics": Entry("_groups.observe", "The daemon", "Show measurements.", attribute="metrics"),
    "logs": Entry("_groups.observe", "The daemon", "Show the log, and follow it.", attribute="logs"),
    "events": Entry("_events", "The daemon", "Show what happens in the daemon, as it happens."),
    "top": Entry("_top", "The daemon", "Watch and steer the daemon in a full-screen view.", ("textual",)),
    "projects": Entry("_groups.projects", "Its work", "List, add, change and remove projects."),
    "tasks": Entry("_groups.tasks", "Its work", "Submit, run, list, follow and cancel tasks."),
    "queue": Entry("_groups.queue", "Its work", "Show, pause, resume and clear queues."),
    "workers": Entry("_groups.workers", "Its work", "Show, scale and restart the workers."),
    "call": Entry("_call", "Anything else", "Ask the daemon to run any of its commands."),
    "commands": Entry("_commands_command", "Anything else", "List what the daemon can be asked."),
    "describe": Entry("_describe", "Anything else", "Write a description of the daemon, for people or programs."),
    "doctor": Entry("_doctor", "Help", "Find out why the daemon cannot be reached."),
    "conformance": Entry("_conformance", "Help", "Check whether a server or a client keeps the wire contract."),
    "bench": Entry("_bench", "Help", "Measure how fast the daemon answers."),
    "service": Entry("_service", "Help", "Write the files by which a service manager runs the daemon.", _DAEMON),
    "token": Entry("_tokens", "Help", "Make or show the token."),
    "completion": Entry("_completion", "Help", "Print the completion script for a shell."),
    "demo": Entry("_demo_command", "Help", "Show what it can do, in a few seconds.", (*_DAEMON, "rich")),
}
