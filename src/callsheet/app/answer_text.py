"""The answer to a task for reading: Markdown as it is, and what it rests on, with agents by id and label."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from callsheet.authoring.answering import Answer, Conflict, Ended, Witness, answer_of, ids_of
from callsheet.authoring.doing import DO
from callsheet.model.run import RunResult
from callsheet.views.safe_text import one_line, visible

_LABEL_CHARS = 80
_EMPTY = "The orchestrator answered with no word."
_RESUME = "To go on: callsheet resume {run_id}"
_ENDS: dict[Ended, tuple[str, str]] = {
    "over_budget": ("the budget is spent", f"{_RESUME} --budget AMOUNT"),
    "declined": ("a workflow was declined", _RESUME),
    "rounds": ("more workflows were wanted than --rounds allows", "Ask again with a larger one."),
    "failed": ("the orchestrator failed", _RESUME),
}
"""Why there is no answer, and what to do."""


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
