"""`callsheet completion`: what a shell needs to complete commands and names of workflows."""

from __future__ import annotations

import click


@click.command(name="completion", short_help="Prints what a shell needs to complete commands and workflows.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> int:
    """Prints a script for the shell; put it where the shell reads it at its start.

    \b
    bash, in ~/.bashrc:   eval "$(callsheet completion bash)"
    zsh, in ~/.zshrc:     eval "$(callsheet completion zsh)"
    fish:                 callsheet completion fish > ~/.config/fish/completions/callsheet.fish
    """  # noqa: D301 - the backslash is click's sign for lines that stay as they are
    from click.shell_completion import get_completion_class

    from callsheet.cli.reading import printed

    made = get_completion_class(shell)
    assert made is not None
    source = made(context.find_root().command, {}, "callsheet", "_CALLSHEET_COMPLETE").source()
    return printed(source.splitlines())
