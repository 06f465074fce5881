"""A group whose commands are loaded when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

import click
from click.shell_completion import CompletionItem

from poppo_ipc.cli._commands import Entry
from poppo_ipc.cli._failures import ExitCode, Failure
from poppo_ipc.cli._suggest import did_you_mean

__all__ = ["LazyGroup", "SuggestingGroup"]


class SuggestingGroup(click.Group):
    """A group that says what may have been meant by a name that is not there."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names. Raises Failure where there is none."""
        if not ctx.resilient_parsing and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            hint = did_you_mean(args[0], self.list_commands(ctx))
            raise Failure(f"There is no command {args[0]!r}", f"{hint}See {ctx.command_path} --help", ExitCode.USAGE)
        return super().resolve_command(ctx, args)


class LazyGroup(SuggestingGroup):
    """Commands by the rows that say where they are; help and completion read the rows alone."""

    def __init__(self, *args: object, entries: Mapping[str, Entry], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # those of click.Group
        self._entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the rows."""
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, loaded; one that only says what is missing, where a package is."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        missing = [name for name in entry.needs if find_spec(name) is None]
        if missing:
            return _absent(cmd_name, entry, missing)
        command = getattr(import_module(f"poppo_ipc.cli.{entry.module}"), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The rows, under their headings."""
        width = max(map(len, self._entries), default=0)
        for section in dict.fromkeys(entry.section for entry in self._entries.values()):
            with formatter.section(section):
                rows = [(name.ljust(width), e.summary) for name, e in self._entries.items() if e.section == section]
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names that begin like this, or the options."""
        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self._entries.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def _absent(name: str, entry: Entry, missing: list[str]) -> click.Command:
    def tell() -> None:
        needed = " and ".join(missing)
        raise Failure(f"{name} needs {needed}; run: pip install 'poppo-ipc[{entry.extra}]'")

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=tell, help=entry.summary, context_settings=settings)
