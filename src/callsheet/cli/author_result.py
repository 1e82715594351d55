"""What a run that writes a script gives: kept for `callsheet author`, which shows it in a form of its own."""

from __future__ import annotations

from callsheet.cli.report import ResultPrinter
from callsheet.model.run import RunResult


class KeptResult(ResultPrinter):
    """Keeps the result of the run instead of printing it: what it returns is shown in another form."""

    def __init__(self, *, is_quiet: bool) -> None:
        """Makes one that has none yet."""
        super().__init__("text", is_quiet=is_quiet)
        self.result: RunResult | None = None

    def print(self, result: RunResult, *, is_explained: bool = False) -> bool:
        self.result = result
        return super().print(result, is_explained=is_explained)

    def _print_result(self, result: RunResult) -> OSError | None:
        return None
