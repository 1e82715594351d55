"""What the offline agent hands in as the orchestrator of a task: one workflow by rule, then an answer that cites it."""

from __future__ import annotations

import json
import re
from typing import Any

from callsheet.agents.offline.author import NOTES, script_text
from callsheet.agents.offline.findings import Search
from callsheet.model.values import JsonValue

_RETURNED = re.compile(r"^Workflow \d+ has returned\.", re.MULTILINE)
_QUOTED = re.compile(r"^<(data-\w+)>\n(.*)\n</\1>$", re.MULTILINE | re.DOTALL)
_MOST_CHARS = 4_000

ANSWERED = "No model is behind this answer: what agents answered was put together by rule."


def takes_steps(schema: dict[str, JsonValue]) -> bool:
    """Whether an answer is the next step of a task: a workflow, or the end."""
    properties = schema.get("properties")
    return isinstance(properties, dict) and {"workflow", "done"} <= properties.keys()


def has_data(asked: str) -> bool:
    """Whether it is told what became of a workflow, so that there is nothing to look for."""
    return _QUOTED.search(asked) is not None


def step_value(search: Search, *, asked: str, said: str) -> JsonValue:
    """The next step of a task.

    Args:
        search: For the task's words, over all files.
        asked: What it is asked in this turn.
        said: What it was asked in the first, with the number of agents that a script may have.
    """
    if (quoted := _QUOTED.search(asked)) is None:
        return {"workflow": {"script": script_text(search, said), "why": NOTES}}
    return {"done": _answer(quoted[2], has_returned=_RETURNED.search(asked) is not None)}


def _answer(text: str, *, has_returned: bool) -> JsonValue:
    """The answer, from what the script above returned, or from why it did not."""
    if not has_returned:
        return _done(f"{ANSWERED}\n\nNo workflow has returned.", left_out=[text[:_MOST_CHARS]])
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("found"), list):
        return _done(f"{ANSWERED}\n\n{text[:_MOST_CHARS]}")
    found = [each for each in value["found"] if isinstance(each, dict) and isinstance(each.get("file"), str)]
    points = "\n".join(f"- `{each['file']}`: {each.get('summary', '')}" for each in found)
    evidence: list[JsonValue] = [
        {"claim": str(each.get("summary") or each["file"]), "agents": [f"read {each['file']}"], "where": [each["file"]]}
        for each in found
    ]
    missing = [f"no answer about {file}" for file in value.get("missing") or ()]
    merged = value.get("answer")
    if isinstance(merged, str):
        points = f"{points}\n\n{merged}"
        evidence.append({"claim": "put together", "agents": ["merge"]})
    return _done(f"{ANSWERED}\n\n{points}", evidence=evidence, left_out=missing)


def _done(answer: str, *, evidence: list[JsonValue] | None = None, left_out: list[str] | None = None) -> JsonValue:
    return {"answer": answer, "evidence": evidence or [], "conflicts": [], "left_out": [*(left_out or [])]}
