"""What a host can read: the authoring guide, the dialect's types, and runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import mcp_types as types

from callsheet.app.beginning import dialect_types
from callsheet.authoring import guide_text
from callsheet.errors import NotFoundError
from callsheet.mcp_server.wording import json_text
from callsheet.views.safe_text import one_line, visible

if TYPE_CHECKING:
    from callsheet.app.workflow_tools import WorkflowTools

SCHEME = "callsheet://"
_RUNS = f"{SCHEME}runs"
_RUN = re.compile(r"callsheet://runs/(run_[A-Za-z0-9_]{1,100})(?:/(result|script))?")
_JSON, _MARKDOWN, _JAVASCRIPT = "application/json", "text/markdown", "text/javascript"
_LISTED = 20

GUIDE = types.Resource(
    name="guide",
    title="How to write workflows",
    uri=f"{SCHEME}guide",
    mime_type=_MARKDOWN,
    description="The dialect, patterns, verification, budgets, and mistakes: read it before you write a script.",
)
TYPES = types.Resource(
    name="workflow.d.ts",
    title="What a script can use",
    uri=f"{SCHEME}workflow.d.ts",
    mime_type="text/plain",
    description="The types of everything that a workflow script can use.",
)
RUNS = types.Resource(
    name="runs",
    title="Workflows and runs",
    uri=_RUNS,
    mime_type=_JSON,
    description="Saved workflows, the newest runs, and what limits hold.",
)
TEMPLATES = [
    types.ResourceTemplate(
        name="run", uri_template=f"{_RUNS}/{{runId}}", mime_type=_JSON, description="How a run stands."
    ),
    types.ResourceTemplate(
        name="result",
        uri_template=f"{_RUNS}/{{runId}}/result",
        mime_type=_JSON,
        description="A run's whole result, with every agent.",
    ),
    types.ResourceTemplate(
        name="script",
        uri_template=f"{_RUNS}/{{runId}}/script",
        mime_type=_JAVASCRIPT,
        description="The script that a run ran, as recorded.",
    ),
]


async def listed(tools: WorkflowTools) -> list[types.Resource]:
    """What there is to read: guide, types, and the newest runs."""
    said = await tools.call("workflow_list", {"runs": _LISTED})
    runs = [
        types.Resource(
            name=one_line(f"{run['workflow']} {run['runId']}", 200),
            uri=f"{_RUNS}/{run['runId']}",
            mime_type=_JSON,
            description=f"{run['status']}, started {run['startedAt']}",
        )
        for run in said["runs"]
    ]
    return [GUIDE, TYPES, RUNS, *runs]


async def read(tools: WorkflowTools, uri: str) -> types.TextResourceContents:
    """What a URI names.

    Raises:
        NotFoundError: Nothing.
        StoreError: The record cannot be read.
    """
    if uri == GUIDE.uri:
        return _text(uri, guide_text(), _MARKDOWN)
    if uri == TYPES.uri:
        return _text(uri, dialect_types(), "text/plain")
    if uri == _RUNS:
        return _text(uri, json_text(await tools.call("workflow_list", {"runs": _LISTED})), _JSON)
    match = _RUN.fullmatch(uri)
    if match is None:
        raise NotFoundError(
            f"There is no resource {one_line(uri, 120)}. There are {GUIDE.uri}, {TYPES.uri}, {_RUNS}, and "
            f"{_RUNS}/RUN with /result and /script.",
            name=uri,
        )
    run_id, part = match.groups()
    if part == "script":
        return _text(uri, visible(await tools.script_text(run_id)), _JAVASCRIPT)
    if part == "result":
        return _text(uri, json_text(await tools.whole_result(run_id)), _JSON)
    return _text(uri, json_text(await tools.call("workflow_status", {"runId": run_id})), _JSON)


def _text(uri: str, text: str, kind: str) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, text=text, mime_type=kind)
