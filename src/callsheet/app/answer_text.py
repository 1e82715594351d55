"""What runs of Callsheet's own workflows came to, for reading: the answer to a task, and a script that was written.

An answer is Markdown as it is, and what it rests on, with agents by id and label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from callsheet.app import compose
from callsheet.authoring.answering import Answer, Conflict, Ended, Witness, answer_of, ids_of
from callsheet.authoring.briefing import AUTHOR
from callsheet.authoring.doing import DO
from callsheet.errors import ScriptRefusedError
from callsheet.model.run import RunResult
from callsheet.views.safe_text import one_line, visible

_LABEL_CHARS = 80
_BACKTICKS = re.compile("`+")
_EMPTY = "The orchestrator answered with no word."
_RESUME = "To go on: callsheet resume {run_id}"
_ENDS: dict[Ended, tuple[str, str]] = {
    "over_budget": ("the budget is spent", f"{_RESUME} --budget AMOUNT"),
    "declined": ("a workflow was declined", _RESUME),
    "rounds": ("more workflows were wanted than --rounds allows", "Ask again with a larger one."),
    "failed": ("the orchestrator failed", _RESUME),
}
"""Why there is no answer, and what to do."""


def told_text(result: RunResult) -> str | None:
    """In Markdown that is plain text too, safe to be shown as text; None for runs of any other workflow."""
    if (answer := answer_in(result)) is not None:
        return "\n".join(answer_lines(answer, result))
    if (written := script_in(result)) is not None:
        return "\n".join(_script_lines(*written))
    return None


def script_in(result: RunResult) -> tuple[str, str] | None:
    """The script that was written in a run, and its author's notes; None for any other run."""
    value = result.result
    if result.workflow != AUTHOR or not isinstance(value, dict) or value.keys() != {"script", "notes"}:
        return None
    script, notes = value["script"], value["notes"]
    return (script, notes) if isinstance(script, str) and isinstance(notes, str) else None


def answer_in(result: RunResult) -> Answer | None:
    """What the run of a task came to; None for any other run."""
    return answer_of(result.result) if result.workflow == DO else None


def answer_lines(answer: Answer, result: RunResult) -> Iterator[str]:
    """All of it, in Markdown that is plain text too.

    Args:
        answer: What the run came to.
        result: The run, for the labels of agents.
    """
    agents = {agent.agent_id: Witness(label=agent.label, status=agent.status) for agent in result.agents}
    if answer.answer is None:
        yield from _unanswered(answer, result.run_id)
        return
    yield visible(answer.answer.strip()) or _EMPTY
    if answer.evidence:
        yield from ("", "## Evidence", "")
    for evidence in answer.evidence:
        yield f"- {_line(evidence.claim)}"
        cited = [*(_agent(name, agents) for name in evidence.agents), *map(_line, evidence.where)]
        if cited:
            yield f"  [{'; '.join(cited)}]"
    if answer.conflicts:
        yield from ("", "## Conflicting findings", "")
    for conflict in answer.conflicts:
        yield from _conflict(conflict, agents)
    if answer.left_out:
        yield from ("", "## Left out", "")
    yield from (f"- {_line(each)}" for each in answer.left_out)


def _script_lines(script: str, notes: str) -> Iterator[str]:
    """What its author says of it, its plan as far as it declares one, and all of its text."""
    if notes.strip():
        yield from (visible(notes.strip()), "")
    try:
        meta = compose.script_reader()(script.encode("utf-8", "surrogatepass"), origin=AUTHOR, path=None).meta
    except ScriptRefusedError:  # one that another backend's agent wrote, which nobody has judged
        yield from ("## The script", "")
    else:
        yield from (f"## {_line(meta.name)}", "", _line(meta.description), "")
        for n, phase in enumerate(meta.phases, 1):
            yield f"{n}. {_line(phase.title)}{f': {_line(phase.detail)}' if phase.detail else ''}"
        yield from ("",) if meta.phases else ()
    fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(script)), default=0))
    yield from (f"{fence}js", visible(script.rstrip()), fence)


def _conflict(conflict: Conflict, agents: Mapping[str, Witness]) -> Iterator[str]:
    yield f"- {_line(conflict.about)}"
    yield from (f"  - {_agent(one.agent, agents)}: {_line(one.what)}" for one in conflict.said)
    taken = "left open" if conflict.taken is None else f"taken: {_agent(conflict.taken, agents)}"
    yield f"  {taken}, since: {_line(conflict.why)}"


def _unanswered(answer: Answer, run_id: str) -> Iterator[str]:
    """Why there is no answer, and what there is instead."""
    why, remedy = _ENDS.get(answer.ended, ("nothing more is known", _RESUME))
    if answer.ended == "failed" and answer.why:
        why = f"{why}: {_line(answer.why).rstrip('.')}"
    yield f"There is no answer: {why}. {remedy.format(run_id=one_line(run_id))}"
    returned = [(n, ran) for n, ran in enumerate(answer.workflows, 1) if ran.status == "returned"]
    if returned:
        yield from ("", "What workflows had returned by then:")
    for n, ran in returned:
        yield from ("", f"## {n}. {_line(ran.why)}", "")
        value = ran.result
        yield visible(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def _agent(cited: str, agents: Mapping[str, Witness]) -> str:
    """An agent by id and label; as it was cited, where it is not known."""
    ids = ids_of(cited, agents)
    if not ids:
        return one_line(cited, _LABEL_CHARS)
    return f"{one_line(ids[0])} {one_line(agents[ids[0]].label, _LABEL_CHARS)}"


def _line(text: str) -> str:
    return one_line(text)
