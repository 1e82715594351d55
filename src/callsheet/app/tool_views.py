"""What the workflow tools answer: short enough to be read by a model, and never less than it says it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.alias_generators import to_camel

from callsheet.app.records import RUNNING, Listed, run_json
from callsheet.errors import (
    CallsheetError,
    ControlLostError,
    ControlRefusedError,
    InsideRunError,
    LeaseHeldError,
    NotFoundError,
    NotStartedError,
    OverBudgetError,
    SandboxError,
    ScriptRefusedError,
    StoreError,
    TrustRefusedError,
    UsageError,
)
from callsheet.model.events import ApprovalAsked
from callsheet.model.script import Finding
from callsheet.views.board import Board, BoardAgent
from callsheet.views.board_json import question_json

MOST_RESULT_CHARS = 60_000
"""A result whose JSON is longer is not in the answer: only its beginning, and where the whole of it is."""
_PREVIEW_CHARS = 8_000
_MOST = 20
_LINES = 20
_LINE_CHARS = 500

Json = dict[str, Any]


def camel(row: Mapping[str, Any]) -> Json:
    """A row of ours with keys as the tools' inputs have them; what it holds stays as it is."""
    return {to_camel(name): value for name, value in row.items()}


def run_row(run: Listed) -> Json:
    """A run in a list."""
    row = run_json(run)
    usage = row.pop("usage")
    assert isinstance(usage, dict)
    return camel(row) | {"use": camel(usage)}


# --- findings and refusals --------------------------------------------------------------------------------------------


def finding_json(finding: Finding) -> Json:
    """A finding: where, what is wrong, and what to do."""
    place = finding.place
    return {
        "severity": finding.severity,
        "code": finding.code,
        "line": None if place is None else place.line,
        "column": None if place is None else place.column,
        "message": finding.message,
        "sourceLine": finding.source_line,
    }


def refusal_json(fault: CallsheetError) -> Json:
    """Why a call was refused, in a form that a model can act on."""
    error: Json = {"kind": _kind(fault), "message": fault.message, "next": _remedy(fault)}
    match fault:
        case ScriptRefusedError():
            error["findings"] = [finding_json(each) for each in fault.findings]
        case NotFoundError():
            error["near"] = list(fault.near)
        case NotStartedError():
            error |= {"line": fault.line, "column": fault.column}
        case _:
            pass
    return {"error": error}


def _kind(fault: CallsheetError) -> str:
    match fault:
        case ScriptRefusedError():
            return "script_refused"
        case NotFoundError():
            return "not_found"
        case TrustRefusedError():
            return "not_approved"
        case LeaseHeldError():
            return "workspace_in_use"
        case OverBudgetError():
            return "over_budget"
        case ControlRefusedError():
            return "cannot_be_done"
        case ControlLostError():
            return "run_not_reached"
        case InsideRunError():
            return "inside_a_run"
        case UsageError():
            return "usage"
        case StoreError():
            return "record"
        case SandboxError():
            return "sandbox"
        case NotStartedError():
            return "not_started"
        case _:
            return "failed"


_REMEDIES = {
    "script_refused": "Mend what the findings say, and call workflow again with the whole script.",
    "not_found": "workflow_list has the workflows and runs that there are.",
    "not_approved": "A person must decide this: tell them the message. Nothing was started.",
    "workspace_in_use": "Wait for the other run's end (workflow_result), or stop it; nothing was started.",
    "inside_a_run": "Do the work with the tools that you have. Nothing was started, and calling again changes nothing.",
    "usage": "Call again with what the message says.",
    "not_started": "Nothing was started. Where another run uses the workspace, wait for its end (workflow_result) or "
    "stop it. Where the message names a flag of the command line, a person must set it.",
}


def _remedy(fault: CallsheetError) -> str | None:
    return _REMEDIES.get(_kind(fault))


# --- how a run stands -------------------------------------------------------------------------------------------------


def status_json(board: Board, run: Listed) -> Json:
    """How a run stands, as its record has it."""
    agents = list(board.agents.values())
    at_work = [agent for agent in agents if agent.state in ("running", "waiting")]
    failed = [agent for agent in agents if agent.ended_badly]
    cost = board.ended_usage.cost_usd
    limits = board.limits
    return {
        "runId": run.run_id,
        "workflow": board.workflow or run.line.workflow,
        "status": board.status if run.status == RUNNING else run.status,
        "isOver": run.status != RUNNING,
        "reason": board.reason,
        "until": board.until,
        "startedAt": board.started_at,
        "endedAt": board.ended_at,
        "attempt": board.attempt,
        "agents": {state: board.states[state] for state in ("queued", "running", "waiting", "ended")}
        | {"outcomes": {status: number for status, number in board.outcomes.items() if number}, "reused": board.reused},
        "phases": [
            {"title": phase.title, "workflow": phase.workflow, "agents": phase.agents, "ended": phase.ended}
            | ({"endedBadly": phase.ended_badly} if phase.ended_badly else {})
            for phase in list(board.phases.values())[-_MOST:]
        ],
        "atWork": _cut([_agent_json(agent) for agent in at_work]),
        "failed": _cut([_agent_json(agent) for agent in failed[::-1]]),
        "use": {"outputTokens": board.tokens, "costUsd": cost, "costKnown": cost is not None},
        "limits": {
            "budgetTokens": limits.budget.tokens,
            "budgetUsd": limits.budget.usd,
            "maxAgents": limits.max_agents,
            "maxParallel": limits.max_parallel,
        },
        "questions": [_question_json(asked) for asked in board.questions.values()],
        "log": [_clip(line.message) for line in list(board.log)[-_LINES:]],
        "logLines": board.log_lines,
        "next": next_step(run.status, run.run_id, has_questions=bool(board.questions)),
    }


def _question_json(asked: ApprovalAsked) -> Json:
    """A question; of a script not its text, which is for the person who answers."""
    said = question_json(asked)
    if asked.script is not None:
        said["script"] = {"name": asked.script.name, "description": asked.script.description}
    return camel(said)


def begun_json(run_id: str, workflow: str) -> Json:
    """A run that has only just started: nothing of it is on record yet."""
    return {
        "runId": run_id,
        "workflow": workflow,
        "status": RUNNING,
        "isOver": False,
        "next": next_step(RUNNING, run_id),
    }


def _agent_json(agent: BoardAgent) -> Json:
    said = {
        "agentId": agent.agent_id,
        "label": agent.label,
        "phase": agent.phase,
        "status": agent.status or agent.state,
        "doing": agent.doing,
        "error": None if agent.error is None else _clip(agent.error),
    }
    return {name: value for name, value in said.items() if value is not None}


def _cut(rows: Sequence[Json]) -> list[Json]:
    """The first of them; a last line says how many more there are."""
    more = len(rows) - _MOST
    return [*rows[:_MOST], *([{"more": more}] if more > 0 else [])]


def _clip(text: str) -> str:
    return text if len(text) <= _LINE_CHARS else f"{text[:_LINE_CHARS]}… ({len(text):,} characters)"


_STARTED = (
    "It goes on by itself. workflow_result with waitSeconds waits for its end; workflow_stop ends it. To change the "
    "script, edit scriptPath and call workflow with it and resumeFromRunId: what has answered is not asked again."
)
_WARNED = (
    "Look at the warnings first: where one is a mistake, workflow_stop, mend the file at scriptPath, and call workflow "
    "with it and resumeFromRunId. "
)


def started_next(*, has_warnings: bool) -> str:
    """What to do next with a run that was just started."""
    return f"{_WARNED if has_warnings else ''}{_STARTED}"


def next_step(status: str, run_id: str, *, has_questions: bool = False) -> str:
    """What to do next with a run that stands so."""
    if has_questions and status == RUNNING:
        return (
            "A person's answer is waited for: tell them what is asked. They answer with `callsheet answer`, or on "
            f"the dashboard (callsheet watch {run_id}); unanswered it is denied in time, or the run ends."
        )
    match status:
        case "running":
            return "workflow_result with waitSeconds waits for its end."
        case "completed":
            return "workflow_result has its result."
        case "degraded":
            return (
                "It returned a result, but something went wrong: workflow_result says what. What failed runs again "
                "with resumeFromRunId, what answered is not asked again."
            )
        case "over_budget":
            return "Its budget is spent. With a larger budget it goes on: workflow with resumeFromRunId and budget."
        case "failed":
            return "workflow_result has the error. Mend the script and go on: workflow with resumeFromRunId and script."
        case _:
            return "It goes on from its record: workflow with resumeFromRunId."


# --- what it came to --------------------------------------------------------------------------------------------------


def outcome_json(whole: Json, *, run: Listed) -> Json:
    """What a run came to, of its public result (FORMATS 1)."""
    agents = whole["agents"]
    statuses: dict[str, int] = {}
    for agent in agents:
        statuses[agent["status"]] = statuses.get(agent["status"], 0) + 1
    said: Json = {
        "runId": run.run_id,
        "workflow": whole["workflow"],
        "scriptPath": run.line.script_path,
        "status": whole["status"],
        "isOver": whole["status"] != RUNNING,
        "error": whole["error"],
        "problems": _cut([camel(row) for row in whole["problems"]]),
        "denials": _cut([camel(row) for row in whole["denials"]]),
        "agents": {"total": len(agents), "outcomes": statuses},
        "use": camel({name: value for name, value in whole["usage"].items() if name not in ("by_model", "agents")}),
        "durationMs": whole["duration_ms"],
        "worktree": None if whole["worktree"] is None else camel(whole["worktree"]),
        "changes": None if whole["changes"] is None else _cut([camel(row) for row in whole["changes"]]),
        "resumed": None if whole["resumed"] is None else {key: whole["resumed"][key] for key in ("reused", "live")},
        "log": [_clip(line["message"]) for line in whole["logs"][-_LINES:]],
        "logLines": len(whole["logs"]),
        "next": _after(whole, run),
    }
    return said | _result(whole["result"], run.run_id)


def _after(whole: Json, run: Listed) -> str | None:
    """What to do next with a run of which this is the result."""
    status = whole["status"]
    if status == "completed":
        return None
    is_spent = any(problem["cause"] == "over_budget" for problem in whole["problems"])
    return next_step("over_budget" if is_spent and status != RUNNING else status, run.run_id)


def _result(value: Any, run_id: str) -> Json:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_RESULT_CHARS:
        return {"result": value}
    return {
        "result": None,
        "resultPreview": text[:_PREVIEW_CHARS],
        "resultNote": f"The result has {len(text):,} characters of JSON; these are the first {_PREVIEW_CHARS:,}. The "
        f"whole: resource callsheet://runs/{run_id}/result, or callsheet show {run_id} --json.",
    }
