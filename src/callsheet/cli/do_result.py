"""The end of `callsheet do`: printed as that of every run, and kept for what the command does after it."""

from __future__ import annotations

from callsheet.cli.report import Output, ResultPrinter
from callsheet.model.run import RunResult


class TaskPrinter(ResultPrinter):
    """Prints the result of the run, and keeps it.

    Attributes:
        result: How the run ended; None before, and where it never began.
    """

    def __init__(self, output: Output, *, is_quiet: bool) -> None:
        """Makes one that has none yet."""
        super().__init__(output, is_quiet=is_quiet)
        self.result: RunResult | None = None

    def print(self, result: RunResult, *, is_explained: bool = False) -> bool:
        self.result = result
        return super().print(result, is_explained=is_explained)
