"""A saved workflow, as `callsheet show NAME` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.cli.reading import json_line, printed

if TYPE_CHECKING:
    from callsheet.library.workflows import Listed
    from callsheet.model.script import Script


def show_workflow(name: str, workspace: Path | None, *, as_json: bool) -> int:
    """Prints what a workflow is for, its phases and its script; the exit status.

    Raises:
        NotFoundError: There is none of that name.
        ScriptRefusedError: It cannot be run.
    """
    from callsheet.app.listing import public_of, workflow_named
    from callsheet.app.plan import Surroundings

    around = Surroundings()
    script, listed = workflow_named(
        name, start=around.start, home=around.home, environ=around.environ, workspace=workspace
    )
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
