"""The command line: parse, call app, show events."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `callsheet` command."""
    from callsheet.cli.commands import cli

    cli(prog_name="callsheet")
