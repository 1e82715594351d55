"""A recorded run in the form of every other result (FORMATS 1), and one of its agents whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from callsheet.app.records import Listed, agent_of
from callsheet.app.source import recorded_origin
from callsheet.errors import NotFoundError
from callsheet.model.events import AgentFinished, RunFinished
from callsheet.model.opening import without_words
from callsheet.model.outcome import AGENT_STATUSES, Usage
from callsheet.model.public import agent_json, result_json
from callsheet.model.recorded import recorded_event, recorded_result
from callsheet.model.run import AgentSummary, LogLine, PhaseSummary, Problem, RunError, RunResult
from callsheet.model.values import JsonValue
from callsheet.store.reader import RunRecord
from callsheet.store.record import CallLine, Record, json_list

_NO_PROBLEM = ("ok", "cancelled", "queued", "running")


def run_of(record: Record, run_id: str) -> RunRecord:
    """The row of a run that is there.

    Raises:
        NotFoundError: It is not (any more).
    """
    found = record.run(run_id)
    if found is None:
        raise NotFoundError(f"The record {record.path} has no run {run_id} any more.", name=run_id)
    return found


def retold(record: Record, run: Listed) -> RunResult:
    """How a run ended, as it said so; of one that has not ended, or could not say it, what is recorded so far.

    Agents that have not ended are `queued` or `running` there.

    Raises:
        NotFoundError: The run is gone.
    """
    row = run_of(record, run.run_id)
    if row.end is not None:
        last = record.last_event(run.run_id, "run.finished")
        result = None if last is None else recorded_result(last.payload)
        if result is not None:
            return result
    return _gathered(record, run, row)


def retold_json(record: Record, run: Listed) -> dict[str, JsonValue]:
    """The same as the public object."""
    return result_json(retold(record, run))


def _gathered(record: Record, run: Listed, row: RunRecord) -> RunResult:
    started = record.last_event(run.run_id, "run.started")
    said = {} if started is None else started.payload
    agents = summaries(record, run.run_id)
    usage, by_model = _usage(agents)
    return RunResult(
        run_id=run.run_id,
        workflow=row.run.workflow,
        script=_text(said.get("script")) or recorded_origin(row.run.script_path, row.run.script_text),
        status=cast(Any, run.status),
        backend=_text(said.get("backend")) or next((agent.backend for agent in agents), ""),
        result=json_column(None if row.end is None else row.end.result),
        error=_error(None if row.end is None else row.end.error),
        logs=tuple(_logs(record, run.run_id)),
        phases=_phases(agents),
        agents=agents,
        problems=tuple(_problems(agents, run.run_id)),
        denials=(),
        usage=usage,
        by_model=by_model,
        duration_ms=run.duration_ms or 0,
    )


def summaries(record: Record, run_id: str) -> tuple[AgentSummary, ...]:
    """The agents of a run in order of their calls, as every surface shows them."""
    ended = ends(record, run_id)
    return tuple(_summary(call, ended.get(call.agent_id)) for call in record.calls(run_id))


def ends(record: Record, run_id: str) -> dict[str, AgentSummary]:
    """How the agents of a run ended, by id, as the events said it; the end of the run knows best of worktrees."""
    found: dict[str, AgentSummary] = {}
    for recorded in record.events(run_id, names=("agent.finished", "run.finished")):
        event = recorded_event(recorded.payload)
        match None if event is None else event.body:
            case AgentFinished(agent=agent):
                found[agent.agent_id] = agent
            case RunFinished(result=result):
                found |= {agent.agent_id: agent for agent in result.agents}
            case _:
                continue
    for agent_id in record.applied(run_id).keys() & found.keys():
        if (tree := found[agent_id].worktree) is not None:
            found[agent_id] = replace(found[agent_id], worktree=replace(tree, merged=True))
    return found


def _summary(call: CallLine, said: AgentSummary | None) -> AgentSummary:
    """An agent from its row, with what only the event of its end says."""
    return AgentSummary(
        agent_id=call.agent_id,
        call=call.call,
        label=call.label,
        phase=call.phase,
        workflow=call.workflow,
        status=cast(Any, call.status),
        reused=said is not None and said.reused,
        model=call.model,
        backend=call.backend,
        attempts=call.attempts,
        usage=Usage(
            input_tokens=call.input_tokens,
            output_tokens=call.output_tokens,
            cache_read_tokens=call.cache_read_tokens,
            cache_write_tokens=call.cache_write_tokens,
            cost_usd=call.cost_usd if call.attempts else 0.0,
            estimated_usd=0.0 if said is None else said.usage.estimated_usd,
        ),
        files_read=json_list(call.files_accessed),
        files_changed=json_list(call.files_changed),
        tools_called=json_list(call.tools_called),
        queued_at=call.timestamp_queued,
        started_at=call.timestamp_start,
        ended_at=call.timestamp_end,
        error=call.error,
        answer_attempts=None if said is None else said.answer_attempts,
        worktree=None if said is None else said.worktree,
    )


def _usage(agents: Sequence[AgentSummary]) -> tuple[Usage, dict[str, Usage]]:
    total, by_model = Usage(), dict[str, Usage]()
    for agent in agents:
        total += agent.usage
        if agent.model is not None:
            by_model[agent.model] = by_model.get(agent.model, Usage()) + agent.usage
    return total, by_model


def _logs(record: Record, run_id: str) -> Iterator[LogLine]:
    for found in record.events(run_id, names=("log",)):
        said = found.payload
        yield LogLine(level=cast(Any, said.get("level", "info")), message=_text(said.get("message")), at=found.at)


def _phases(agents: Sequence[AgentSummary]) -> tuple[PhaseSummary, ...]:
    groups: dict[str | None, int] = {}
    for agent in agents:
        group = agent.phase if agent.workflow is None else f"▸ {agent.workflow}"
        groups[group] = groups.get(group, 0) + 1
    return tuple(PhaseSummary(title=title, agents=number) for title, number in groups.items())


def _problems(agents: Sequence[AgentSummary], run_id: str) -> Iterator[Problem]:
    for agent in agents:
        if agent.status in _NO_PROBLEM or agent.status not in AGENT_STATUSES:
            continue
        yield Problem(
            where="agent",
            cause=cast(Any, agent.status),
            message=agent.error or agent.status,
            agent_id=agent.agent_id,
            label=agent.label,
            next=f"callsheet resume {run_id} --rerun {agent.agent_id}",
        )


def _error(text: str | None) -> RunError | None:
    said = json_column(text)
    if not isinstance(said, dict):
        return None
    line, column = said.get("line"), said.get("column")
    return RunError(
        kind=cast(Any, _text(said.get("kind")) or "internal"),
        message=_text(said.get("message")),
        line=line if isinstance(line, int) else None,
        column=column if isinstance(column, int) else None,
    )


# --- one agent --------------------------------------------------------------------------------------------------------


def agent_whole(record: Record, run_id: str, call: CallLine, *, said: AgentSummary | None) -> dict[str, Any]:
    """Everything of one agent as public JSON: what it was asked, did, answered, used, and its conversation.

    Args:
        record: The record.
        run_id: The run.
        call: The agent.
        said: How it ended, as its event said it; None where it did not.

    Raises:
        NotFoundError: It is gone.
    """
    agent = agent_of(record, run_id, call.agent_id)
    row, delivered = agent.agent, agent.delivered
    return {
        "run_id": run_id,
        **agent_json(_summary(call, said)),
        "mode": row.mode,
        "prompt": row.task_description,
        "options": json_column(row.options),
        "result": json_column(row.result),
        "key": row.key,
        "occurrence": row.occurrence,
        "details": json_column(row.details),
        "delivered_seq": None if delivered is None else delivered.delivered_seq,
        "delivered_at": None if delivered is None else delivered.delivered_at,
        "spent_after": None if delivered is None else delivered.spent_after,
        "cost_after": None if delivered is None else delivered.cost_after,
        "tool_calls": [
            {
                "n": one.n,
                "attempt": one.attempt,
                "tool": one.tool,
                "input": json_column(one.input),
                "state": one.state,
                "detail": one.detail,
                "at": one.at,
            }
            for one in record.tool_calls(run_id, call.agent_id)
        ],
        "messages": [
            {
                "n": one.n,
                "attempt": one.attempt,
                "person": one.person,
                "message": json_column(without_words(one.payload)),
            }
            for one in record.messages(run_id, call.agent_id)
        ],
    }


def json_column(text: str | None) -> JsonValue:
    """The value of a JSON column; where it is damaged the text as it stands."""
    if text is None:
        return None
    try:
        value: JsonValue = json.loads(text)
    except ValueError:
        return text
    return value


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
