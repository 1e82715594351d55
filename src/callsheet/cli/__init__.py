"""The command line: parse, call app, show events."""

from __future__ import annotations

RARELY = (20_000, 25, 100)
"""When to look for garbage that holds itself. A command makes little of it; this process is its own."""


def main() -> None:
    """Entry point of the `callsheet` command."""
    import gc
    import sys

    gc.set_threshold(*RARELY)
    from callsheet.cli.commands import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))
