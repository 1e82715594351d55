"""The answer to a task, with its evidence: read, and held to the agents that it cites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue

Ended = Literal["answered", "over_budget", "declined", "rounds", "failed"]
"""Why nothing more was done: it is answered, the budget is spent, a person declined a workflow without a word, no more
workflows were to be run and there was no answer, the orchestrator failed."""

ENDS: tuple[Ended, ...] = ("answered", "over_budget", "declined", "rounds", "failed")

_MOST_LISTED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A claim, and what it rests on: agents by id, places in the workspace."""

    claim: str
    agents: tuple[str, ...] = ()
    where: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one agent says about something."""

    agent: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Agents contradict each other.

    Attributes:
        taken: The agent whose finding the answer goes by; None where it stays open.
    """

    about: str
    said: tuple[Statement, ...]
    taken: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A workflow that was run for the task.

    Attributes:
        name: Of a saved one; None for one that was written for it.
        why: What it was for.
        status: `returned` or `failed`.
        result: What it returned, where nothing else says it.
    """

    name: str | None
    why: str
    status: str
    result: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a task.

    Attributes:
        answer: Markdown; None where there is none, and `ended` and `why` say for what reason.
    """

    answer: str | None
    ended: Ended
    evidence: tuple[Evidence, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    left_out: tuple[str, ...] = ()
    why: str | None = None
    workflows: tuple[Ran, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """An agent that can be cited, or not.

    Attributes:
        status: How it ended; None while it is at work.
    """

    label: str
    status: str | None


def answer_of(value: JsonValue) -> Answer | None:
    """What the run of a task returned; None where that is something else."""
    if not isinstance(value, dict) or value.get("ended") not in ENDS:
        return None
    ended = next(each for each in ENDS if each == value["ended"])
    text = value.get("answer")
    return Answer(
        answer=text if isinstance(text, str) else None,
        ended=ended,
        evidence=tuple(
            Evidence(claim=_text(each, "claim"), agents=_texts(each, "agents"), where=_texts(each, "where"))
            for each in _objects(value, "evidence")
        ),
        conflicts=tuple(
            Conflict(
                about=_text(each, "about"),
                said=tuple(
                    Statement(agent=_text(one, "agent"), what=_text(one, "what")) for one in _objects(each, "said")
                ),
                taken=_text(each, "taken") or None,
                why=_text(each, "why"),
            )
            for each in _objects(value, "conflicts")
        ),
        left_out=_texts(value, "left_out"),
        why=_text(value, "why") or None,
        workflows=tuple(
            Ran(
                name=_text(each, "name") or None,
                why=_text(each, "why"),
                status=_text(each, "status"),
                result=each.get("result"),
            )
            for each in _objects(value, "workflows")
        ),
    )


def ids_of(cited: str, witnesses: Mapping[str, Witness]) -> tuple[str, ...]:
    """The agents that a citation may mean: the one of that id, else those of that label, those that ended `ok` first.

    Args:
        cited: An id, or a label.
        witnesses: The agents of the run, by id.
    """
    if cited in witnesses:
        return (cited,)
    named = [name for name, witness in witnesses.items() if witness.label == cited]
    well = [name for name in named if witnesses[name].status == "ok"]
    return tuple(well or named)


def faults_of(answer: Answer, witnesses: Mapping[str, Witness]) -> Iterator[str]:
    """What is wrong with an answer, for its author: whether what it says is true, nobody can tell from here.

    Args:
        answer: The answer.
        witnesses: The agents of the run by id, but for the orchestrator itself.
    """
    if not (answer.answer or "").strip():
        yield "`answer` is empty: it is all that the person who asked gets to read first"
    yield from _strangers(answer, witnesses)
    for n, evidence in enumerate(answer.evidence, 1):
        if not evidence.agents and not any(place.strip() for place in evidence.where):
            yield f"evidence {n} ({_cut(evidence.claim)}) names no agent and no place: say in `where` where you read it"
    found = [name for name, witness in witnesses.items() if witness.status == "ok"]
    if found and not any(evidence.agents for evidence in answer.evidence):
        yield "no evidence names an agent, and agents have found something: cite those that the answer rests on"
    for n, conflict in enumerate(answer.conflicts, 1):
        said = [statement.agent for statement in conflict.said]
        sides = {ids for agent in said if (ids := ids_of(agent, witnesses))}
        what = f"conflict {n} ({_cut(conflict.about)})"
        if len(sides) < 2:
            yield f"{what} names {len(sides)} of the agents: a conflict is between two or more that say unlike things"
        if conflict.taken is not None and ids_of(conflict.taken, witnesses) not in sides:
            yield (
                f"{what}: `taken` is {_cut(conflict.taken)!r}, and it said nothing there. Give one of "
                f"{', '.join(map(_cut, dict.fromkeys(said)))}, or null where it stays open"
            )


def _strangers(answer: Answer, witnesses: Mapping[str, Witness]) -> Iterator[str]:
    """Cited agents that cannot be."""
    cited = [agent for evidence in answer.evidence for agent in evidence.agents]
    cited += [statement.agent for conflict in answer.conflicts for statement in conflict.said]
    unknown = False
    for agent in dict.fromkeys(cited):
        ids = ids_of(agent, witnesses)
        if not ids:
            unknown = True
            yield f"{_cut(agent)!r} is cited and is no agent of a workflow of this run"
        elif len(ids) > 1:
            yield f"{_cut(agent)!r} is the label of {', '.join(ids[:_MOST_LISTED])}: cite by id which of them you mean"
        elif (witness := witnesses[ids[0]]).status != "ok":
            how = "has not ended" if witness.status is None else f"ended {witness.status}"
            yield f"{ids[0]} ({_cut(witness.label)}) is cited and {how}: it has found nothing that can be cited"
    if unknown:
        yield _listed(witnesses)


def _listed(witnesses: Mapping[str, Witness]) -> str:
    found = [f"{name} ({_cut(witness.label)})" for name, witness in witnesses.items() if witness.status == "ok"]
    if not found:
        return "no agent can be cited: none of a workflow has ended ok. What you read yourself has no agents; say where"
    more = "" if len(found) <= _MOST_LISTED else f" and {len(found) - _MOST_LISTED} more"
    return f"cite by id. There are {', '.join(found[:_MOST_LISTED])}{more}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"


# --- JSON that was held to a schema, perhaps by another version -------------------------------------------------------


def _objects(value: dict[str, JsonValue], name: str) -> list[dict[str, JsonValue]]:
    found = value.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _texts(value: dict[str, JsonValue], name: str) -> tuple[str, ...]:
    found = value.get(name)
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()


def _text(value: dict[str, JsonValue], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""
