"""A saved workflow, as `callsheet show NAME` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.cli.findings import finding_lines
from callsheet.cli.reading import json_line, printed
from callsheet.cli.status import FAILED
from callsheet.cli.streams import say
from callsheet.errors import ScriptRefusedError

if TYPE_CHECKING:
    from callsheet.library.workflows import Listed
    from callsheet.model.script import Script


def show_workflow(name: str, workspace: Path | None, *, as_json: bool) -> int:
    """Prints what a workflow is for, its phases and its script, or why it cannot be run; the exit status.

    Raises:
        NotFoundError: There is none of that name.
    """
    from callsheet.app.listing import public_of, workflow_file, workflow_named
    from callsheet.app.plan import Surroundings

    around = Surroundings()
    start, home, environ = around.start, around.home, around.environ
    try:
        script, listed = workflow_named(name, start=start, home=home, environ=environ, workspace=workspace)
    except ScriptRefusedError as refused:
        file = workflow_file(name, start=start, home=home, environ=environ, workspace=workspace)
        for finding in refused.findings:
            say(*finding_lines(finding, file))
        return FAILED
    if as_json:
        return printed([json_line(public_of(listed) | {"meta": script.meta.value, "text": script.text})], is_json=True)
    return printed(list(_lines(script, listed)))


def _lines(script: Script, listed: Listed) -> Iterator[str]:
    from callsheet.views.safe_text import one_line, visible

    yield f"{one_line(listed.name)}: {one_line(listed.description)}"
    if listed.when_to_use:
        yield f"when to use it: {one_line(listed.when_to_use)}"
    yield f"from: {one_line(listed.path)} ({listed.source})"
    for phase in script.meta.phases:
        detail = f": {one_line(phase.detail)}" if phase.detail else ""
        model = f" ({one_line(phase.model)})" if phase.model else ""
        yield f"phase {one_line(phase.title)}{model}{detail}"
    yield ""
    yield from visible(script.text).splitlines()
