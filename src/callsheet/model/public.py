"""The public JSON of results and events (FORMATS 1 and 3): the only place that knows its key names."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from callsheet.model.approval import ScriptShown
from callsheet.model.confinement import CommandsHeld
from callsheet.model.events import AgentFinished, ApprovalAsked, Event, RunFinished, RunStarted
from callsheet.model.outcome import Usage
from callsheet.model.past import ResumeReport
from callsheet.model.run import AgentSummary, Problem, RunResult
from callsheet.model.values import JsonValue


def usage_json(usage: Usage) -> dict[str, JsonValue]:
    """The usage of one agent. A cost that is not known is null, never 0."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cost_usd": usage.cost_usd,
    }


def agent_json(agent: AgentSummary) -> dict[str, JsonValue]:
    """One entry of `agents`."""
    return {
        "agent_id": agent.agent_id,
        "call": agent.call,
        "label": agent.label,
        "phase": agent.phase,
        "workflow": agent.workflow,
        "status": agent.status,
        "reused": agent.reused,
        "model": agent.model,
        "backend": agent.backend,
        "attempts": agent.attempts,
        "answer_attempts": agent.answer_attempts,
        "usage": usage_json(agent.usage),
        "files_read": list(agent.files_read),
        "files_changed": list(agent.files_changed),
        "tools_called": list(agent.tools_called),
        "queued_at": agent.queued_at,
        "started_at": agent.started_at,
        "ended_at": agent.ended_at,
        "error": agent.error,
        "worktree": None if agent.worktree is None else _plain(agent.worktree),
    }


def _problem_json(problem: Problem) -> dict[str, JsonValue]:
    return {
        "where": problem.where,
        "line": problem.line,
        "agent_id": problem.agent_id,
        "label": problem.label,
        "cause": problem.cause,
        "message": problem.message,
        "next": problem.next,
        "count": problem.count,
    }


def result_json(run: RunResult) -> dict[str, JsonValue]:
    """The object of `--output json`, of `run.finished`, and of every other surface (CONTRACT O04)."""
    return {
        "run_id": run.run_id,
        "workflow": run.workflow,
        "script": run.script,
        "status": run.status,
        "backend": run.backend,
        "result": run.result,
        "error": None
        if run.error is None
        else {
            "kind": run.error.kind,
            "message": run.error.message,
            "line": run.error.line,
            "column": run.error.column,
        },
        "logs": [{"level": line.level, "message": line.message, "at": line.at} for line in run.logs],
        "phases": [{"title": phase.title, "agents": phase.agents} for phase in run.phases],
        "agents": [agent_json(agent) for agent in run.agents],
        "problems": [_problem_json(problem) for problem in run.problems],
        "denials": [
            {
                "tool": denial.tool,
                "input": denial.input,
                "rule": denial.rule,
                "agents": denial.agents,
                "would_allow": list(denial.would_allow),
            }
            for denial in run.denials
        ],
        "usage": {
            "agents": len(run.agents),
            **usage_json(run.usage),
            "cost_known": run.usage.cost_usd is not None,
            "estimated_usd": run.usage.estimated_usd,
            "by_model": {model: usage_json(usage) for model, usage in run.by_model.items()},
        },
        "duration_ms": run.duration_ms,
        "worktree": None if run.worktree is None else _plain(run.worktree),
        "resumed": None if run.resumed is None else _resumed_json(run.resumed),
        "changes": None if run.changes is None else [_plain(change) for change in run.changes],
    }


def _resumed_json(report: ResumeReport) -> dict[str, JsonValue]:
    return {
        "attempt": report.attempt,
        "reused": report.reused,
        "live": report.live,
        "gone": list(report.gone),
        "differs": list(report.differs),
        "calls": [_plain(call) | {"changed": list(call.changed)} for call in report.calls],
    }


def event_json(event: Event) -> dict[str, JsonValue]:
    """One event as one object: the envelope, then the fields of its body under their own names."""
    head: dict[str, JsonValue] = {"event": event.name, "run_id": event.run_id, "seq": event.seq, "at": event.at}
    body = event.body
    match body:
        case RunFinished():
            return head | result_json(body.result)
        case AgentFinished():
            head |= agent_json(body.agent)
            head["result_preview"] = body.result_preview
            return head
        case RunStarted():
            rest = _plain(body)
            rest["phases"] = [
                {"title": phase.title, "detail": phase.detail, "model": phase.model} for phase in body.phases
            ]
            rest["confinement"] = {
                "system_calls": body.confinement.system_calls,
                "detail": body.confinement.detail,
            }
            rest["notes"] = list(body.notes)
            rest["commands"] = _commands_json(body.commands)
            return head | rest
        case ApprovalAsked():
            lists: dict[str, JsonValue] = {"rules": list(body.rules), "agent_ids": list(body.agent_ids)}
            return head | _plain(body) | lists | {"script": script_json(body.script)}
        case _:
            return head | _plain(body)


def script_json(script: ScriptShown | None) -> JsonValue:
    """A script that a person is asked about (FORMATS 3); null of a question about something else."""
    return None if script is None else _plain(script) | {"plan": list(script.plan)}


def _commands_json(held: CommandsHeld | None) -> JsonValue:
    if held is None:
        return None
    return {
        "name": held.name,
        "unconfined": held.unconfined,
        "held": {row.area: row.held for row in held.coverage},
    }


def _plain(body: Any) -> dict[str, JsonValue]:
    return {name: getattr(body, name) for name in _names(body.__class__)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
