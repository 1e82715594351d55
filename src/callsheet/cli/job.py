"""What a CI job is told of a run besides its log: a page with how it ended, and annotations where its script stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from callsheet.cli.github import Level, annotation, folded
from callsheet.cli.status import exit_status
from callsheet.cli.streams import quietly, say
from callsheet.cli.summary import allow_lines, error_text
from callsheet.errors import CallsheetError, ScriptRefusedError, UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.run import Problem, RunResult
from callsheet.model.script import MAX_SCRIPT_BYTES, Script
from callsheet.views.figures import count
from callsheet.views.safe_text import one_line, under_github

if TYPE_CHECKING:
    from callsheet.app.plan import Plan, RunOrder

NOWHERE = "none"

_ENDED_WELL = ("completed",)
_TOLD_DENIALS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What of a run a CI job is told, and how.

    Attributes:
        summary: The file that the page is added to; None for no page.
        annotations: Whether annotations are printed on standard error.
    """

    summary: Path | None = None
    annotations: bool = False

    @classmethod
    def by_flags(cls, flags: Mapping[str, object], environ: Mapping[str, str]) -> Told:
        """What the flags of `callsheet run` say; where they say nothing, what the runner offers.

        A detached run outlives the step that started it, and does by itself neither.
        """
        here = under_github(environ) and not flags["detach"]
        said = flags["step_summary"]
        summary = said if isinstance(said, str) else environ.get("GITHUB_STEP_SUMMARY", "") if here else ""
        how = flags["annotations"]
        return cls(
            summary=None if summary in ("", NOWHERE) else Path(summary),
            annotations=here if how == "auto" else how == "github",
        )


class JobReport:
    """Tells a CI job of one run, as far as that is wanted."""

    def __init__(self, told: Told, *, fail_on: Literal["degraded", "failed"]) -> None:
        self._told = told
        self._fail_on: Literal["degraded", "failed"] = fail_on
        self._file: str | None = None

    def begins(self, plan: Plan, script: Script) -> None:
        """Finds where the script stands in the repository, for annotations beside its lines."""
        if self._told.annotations and script.path is not None:
            path = Path(script.path)
            copied = plan.site.project.folder
            if plan.site.project.commit is not None and path.is_relative_to(copied):
                path = plan.workspace.root / path.relative_to(copied)
            self._file = in_repository(path) if _is_as_it_ran(path, script) else None

    def refused(self, fault: CallsheetError, result: RunResult, order: RunOrder | None) -> None:
        """Tells of a run that never began."""
        if self._told.annotations:
            quietly(sys.stderr, list(_refusal(fault, result, order)))
        self._write(result, resume=None)

    def ended(self, result: RunResult) -> None:
        """Tells how a run ended."""
        if self._told.annotations:
            is_well = exit_status(result, fail_on=self._fail_on) == 0
            quietly(sys.stderr, run_annotations(result, file=self._file, level="warning" if is_well else "error"))
        resume = None if result.status in _ENDED_WELL else f"callsheet resume {result.run_id}"
        self._write(result, resume=resume)

    def _write(self, result: RunResult, *, resume: str | None) -> None:
        if self._told.summary is None:
            return
        from callsheet.cli.step_summary import LIMIT_BYTES, step_summary

        try:
            with self._told.summary.open("ab") as file:
                room = LIMIT_BYTES - file.tell() - 1
                file.write(f"\n{step_summary(result, resume=resume, limit_bytes=room)}".encode())
        except OSError as fault:
            where = one_line(str(self._told.summary))
            say(f"warning: the step summary could not be written to {where}: {fault.strerror}.")


def run_annotations(result: RunResult, *, file: str | None, level: Level) -> list[str]:
    """A run's error and problems, each at its line of the script, and what agents were not allowed to do.

    Args:
        result: How it ended.
        file: The script's path in the repository; None where its lines are not those of the repository's file.
        level: Of problems; an error of the run itself is an error.
    """
    lines = []
    if result.error is not None:
        error = result.error
        title = f"{result.status}: {result.workflow or result.script}"
        message = error.message if file is not None else error_text(result)
        lines.append(annotation("error", message, title=title, file=file, line=error.line, column=error.column))
    lines += folded([_of_problem(each, file, level) for each in result.problems], level=level, noun="problem")
    return [*lines, *_of_denials(result)]


def _of_problem(problem: Problem, file: str | None, level: Level) -> str:
    who = " ".join(part for part in (problem.agent_id, problem.label) if part) or problem.where
    place = "" if file is not None or problem.line is None else f" (line {problem.line} of the script)"
    again = "" if problem.next is None else f"\nTo run it again: {problem.next}"
    times = f" ×{problem.count}" if problem.count > 1 else ""
    return annotation(
        level,
        f"{problem.message}{place}{again}",
        title=f"{problem.cause}{times}: {who}",
        file=file,
        line=problem.line,
    )


def _of_denials(result: RunResult) -> Iterator[str]:
    if not result.denials:
        return
    told = [
        f"{denial.tool} {one_line(denial.input, 120)} ({one_line(denial.rule, 120)})"
        for denial in result.denials[:_TOLD_DENIALS]
    ]
    if (more := len(result.denials) - _TOLD_DENIALS) > 0:
        told.append(f"… {more:,} more")
    told += [line.text for line in allow_lines(result.denials)]
    yield annotation("notice", "\n".join(told), title=f"{count(len(result.denials), 'thing')} denied to agents")


def _refusal(fault: CallsheetError, result: RunResult, order: RunOrder | None) -> Iterator[str]:
    """A refused script's errors at their lines; any other error by itself."""
    if not isinstance(fault, ScriptRefusedError):
        yield annotation("error", fault.message, title="callsheet: the run did not begin")
        return
    file = None if order is None else _file_of(order)
    lines = []
    for finding in fault.findings:
        place = finding.place
        where = f"{result.script}:{place}: " if file is None and place is not None else ""
        line, column = (place.line, place.column) if place is not None else (None, None)
        text = f"{where}{finding.message}"
        lines.append(annotation("error", text, title=finding.code, file=file, line=line, column=column))
    yield from folded(lines, level="error", noun="error")


def _file_of(order: RunOrder) -> str | None:
    """The file of the script that an order names, where it is one of the working tree."""
    from callsheet.app.source import expanded, is_path

    if not order.is_named or order.permissions.config_from is not None:
        return None
    if is_path(order.script):
        return in_repository(expanded(order.script))
    from callsheet.app.listing import workflows_here
    from callsheet.app.plan import Surroundings

    around = Surroundings()
    try:
        shelf = workflows_here(start=around.start, home=around.home, environ=around.environ, workspace=order.workspace)
    except UsageError:
        return None
    files = [Path(listed.path) for listed in shelf.workflows if order.script in (listed.name, Path(listed.path).stem)]
    return in_repository(files[0]) if files else None


def in_repository(path: Path) -> str | None:
    """A file's path as annotations name it, from the checkout's root; None where it lies elsewhere."""
    root = Path(os.path.realpath(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()))
    file = Path(os.path.realpath(path))
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else None


def _is_as_it_ran(path: Path, script: Script) -> bool:
    """Whether a file's lines are those of the script; a git ref's may be other than the working tree's."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_SCRIPT_BYTES + 1).decode("utf-8", "replace").removeprefix("\ufeff") == script.text
    except OSError:
        return False
