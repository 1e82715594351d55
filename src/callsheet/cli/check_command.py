"""`callsheet check`: what is wrong with scripts, for people, programs and pull requests (CONTRACT C01)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from callsheet.cli.boundary import guarded
from callsheet.cli.findings import finding_lines
from callsheet.cli.github import annotation
from callsheet.cli.jsonl import json_text
from callsheet.cli.status import COMPLETED, FAILED
from callsheet.cli.streams import quietly, say
from callsheet.errors import UsageError
from callsheet.model.script import Finding
from callsheet.model.values import JsonValue
from callsheet.views.figures import count
from callsheet.views.safe_text import defused, under_github

if TYPE_CHECKING:
    from callsheet.app.check import CheckedFile

Form = Literal["text", "json", "github"]


def check_files(files: Sequence[str], *, form: Form, portable: bool) -> int:
    """Checks, prints what was found on standard output, and gives the exit status: 1 where there are errors."""
    return guarded(lambda: _check_files(files, form=form, portable=portable))


def _check_files(files: Sequence[str], *, form: Form, portable: bool) -> int:
    import anyio

    from callsheet.app import check

    named = tuple(_file_of(word) for word in files) or _saved()

    async def checked() -> tuple[CheckedFile, ...]:
        return await check.check_files(named, portable=portable)

    found = anyio.run(checked)
    fault = quietly(sys.stdout, _lines(found, form))
    if fault is not None:
        say(f"error: the findings could not be written: {fault.strerror}.")
    return FAILED if fault is not None or any(file.errors for file in found) else COMPLETED


def _saved() -> tuple[str, ...]:
    """The files of the saved workflows that people can mend: the workspace's and the user's own."""
    from callsheet.app.listing import as_written, workflows_here
    from callsheet.app.plan import Surroundings

    around = Surroundings()
    shelf = workflows_here(start=around.start, home=around.home, environ=around.environ)
    own = tuple(each.path for each in shelf.workflows if each.source in ("project", "user"))
    if not own:
        raise UsageError(
            f"there is no saved workflow to check (looked in {', '.join(shelf.folders)}). Name a file, or make a "
            "workflow: callsheet new NAME."
        )
    return tuple(as_written(path, start=around.start, root=shelf.root) for path in own)


def _file_of(word: str) -> str:
    """The file that a word means: itself, or that of the saved workflow of this name.

    Raises:
        NotFoundError: It is no path, and nothing has this name.
    """
    from callsheet.app.listing import workflow_file
    from callsheet.app.plan import Surroundings
    from callsheet.app.source import names_saved

    around = Surroundings()
    name = names_saved(word, around.start)
    if name is None:
        return word
    return workflow_file(name, start=around.start, home=around.home, environ=around.environ)


def _lines(found: Sequence[CheckedFile], form: Form) -> list[str]:
    match form:
        case "text":
            return [defused(line) for line in _text(found)] if under_github() else list(_text(found))
        case "json":
            return [json_text(_json(found))]
        case "github":
            return [_annotation(file.path, finding) for file in found for finding in file.findings]


def _text(found: Sequence[CheckedFile]) -> Iterator[str]:
    for file in found:
        for finding in file.findings:
            yield from finding_lines(finding, file.path)
    errors = sum(file.errors for file in found)
    warnings = sum(file.warnings for file in found)
    yield f"{count(len(found), 'file')}: {count(errors, 'error')}, {count(warnings, 'warning')}"


def _json(found: Sequence[CheckedFile]) -> JsonValue:
    return {
        "files": [
            {
                "path": file.path,
                "workflow": file.workflow,
                "findings": [
                    {
                        "severity": finding.severity,
                        "code": finding.code,
                        "contract": finding.contract,
                        "message": finding.message,
                        "line": finding.place.line if finding.place is not None else None,
                        "column": finding.place.column if finding.place is not None else None,
                    }
                    for finding in file.findings
                ],
            }
            for file in found
        ],
        "errors": sum(file.errors for file in found),
        "warnings": sum(file.warnings for file in found),
    }


def _annotation(path: str, finding: Finding) -> str:
    """A workflow command that puts a finding on its line of a pull request."""
    place = finding.place
    return annotation(
        finding.severity,
        finding.message,
        title=finding.code,
        file=path,
        line=place.line if place is not None else None,
        column=place.column if place is not None else None,
    )
