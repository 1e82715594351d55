"""The command line: parse, call app, show events."""

from __future__ import annotations

RARELY = (20_000, 25, 100)
"""When to look for garbage that holds itself. A run makes little of it; this process is its own."""

_TO_LOAD = 200_000
"""Objects after which it is looked for before: more than any command loads, all of which is there to stay."""


def main() -> None:
    """Entry point of the `callsheet` command."""
    import gc
    import sys

    gc.set_threshold(_TO_LOAD)
    from callsheet.cli.commands import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))
