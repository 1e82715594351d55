"""The command line: parse, call app, show events."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `callsheet` command."""
    import sys

    from callsheet.cli.commands import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))
