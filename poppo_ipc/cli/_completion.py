"""`poppo-ipc completion SHELL`."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash: echo 'eval "$(poppo-ipc completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(poppo-ipc completion zsh)"' >> ~/.zshrc
    fish: poppo-ipc completion fish > ~/.config/fish/completions/poppo-ipc.fish
    """
    from click.shell_completion import get_completion_class

    from poppo_ipc.cli._root import COMPLETE_VARIABLE, PROGRAM, root

    found = get_completion_class(shell)
    assert found is not None
    maker = found(root, {}, PROGRAM, COMPLETE_VARIABLE)
    # Not `source()`: for bash that runs the bash that is found first, only to see how old it is.
    click.echo(maker.source_template % maker.source_vars())
