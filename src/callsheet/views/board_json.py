"""A board as JSON: what a browser is shown. Whole, or what changed since an event; the same form for both.

A reader puts a patch over what it has: the plain fields are replaced, `phases` and `agents` by their `key` and
`agent_id`, `log` is added to. Where `whole` is true it begins anew.
"""

from __future__ import annotations

from typing import Any

from callsheet.model.events import ApprovalAsked, BudgetWarning
from callsheet.model.public import result_json, script_json, usage_json
from callsheet.model.spending import Budget
from callsheet.model.values import JsonValue
from callsheet.views.board import Board, BoardAgent, BoardLine, BoardPhase, RunLimits

_MOST_FILES = 200
"""So many names of files are said of an agent on a board; its page has all of them."""


def board_json(board: Board, *, since: int = 0) -> dict[str, Any]:
    """The board, or what changed in it.

    Args:
        board: What is shown.
        since: The `seq` of what the reader has; 0 for nothing. Where the run began anew since, or lines of the log are
            gone that the reader has not had, the whole board is given.
    """
    is_cut = board.log_lines > len(board.log) and since < board.log[0].seq
    is_whole = since < board.began_at_seq or is_cut
    after = 0 if is_whole else since
    return {
        "seq": board.seq,
        "whole": is_whole,
        "run_id": board.run_id,
        "attempt": board.attempt,
        "workflow": board.workflow,
        "description": board.description,
        "script": board.script,
        "backend": board.backend,
        "workspace": board.workspace,
        "notes": list(board.notes),
        "status": board.status,
        "reason": board.reason,
        "until": board.until,
        "lost": board.lost,
        "is_over": board.is_over,
        "started_at": board.started_at,
        "ended_at": board.ended_at,
        "states": {state: board.states[state] for state in ("queued", "running", "waiting", "ended")},
        "outcomes": {status: number for status, number in board.outcomes.items() if number},
        "reused": board.reused,
        "tokens": board.tokens,
        "usage": usage_json(board.ended_usage),
        "limits": _limits_json(board.limits, board.max_parallel),
        "warnings": [_warning_json(warning) for warning in board.warnings.values()],
        "questions": [question_json(asked) for asked in board.questions.values()],
        "checkpoint": None if board.checkpoint is None else board.checkpoint.n,
        "log_lines": board.log_lines,
        "log": [_line_json(line) for line in board.log_since(after)],
        "phases": [_phase_json(place, phase, after) for place, phase in enumerate(board.phases.values())
                   if phase.changed_at > after or is_whole],
        "agents": [agent_row_json(agent) for agent in _in_order(board, after, is_whole)],
        "result": None if board.result is None else _result_json(board),
    }  # fmt: skip


def _in_order(board: Board, after: int, is_whole: bool) -> list[BoardAgent]:
    return list(board.agents.values()) if is_whole else [*board.changed_since(after)][::-1]


def agent_row_json(agent: BoardAgent) -> dict[str, JsonValue]:
    """An agent as a line of a list."""
    return {
        "agent_id": agent.agent_id,
        "call": agent.call,
        "label": agent.label,
        "phase": agent.phase,
        "workflow": agent.workflow,
        "phase_key": phase_key(agent.workflow, agent.phase),
        "state": agent.state,
        "status": agent.status,
        "reused": agent.reused,
        "model": agent.model,
        "backend": agent.backend,
        "attempt": agent.attempt,
        "usage": usage_json(agent.usage),
        "doing": agent.doing,
        "until": agent.until,
        "reason": agent.reason,
        "queued_at": agent.queued_at,
        "started_at": agent.started_at,
        "ended_at": agent.ended_at,
        "error": agent.error,
        "preview": agent.preview,
        "tools_called": list(agent.tools_called),
        "files_read": len(agent.files_read),
        "files_changed": list(agent.files_changed[:_MOST_FILES]),
        "branch": agent.branch,
        "messages": [{"by": sent.by, "text": sent.text, "at": sent.at, "taken": sent.taken} for sent in agent.messages],
        "asked_to": agent.asked_to,
    }


def phase_key(workflow: str | None, title: str | None) -> str:
    """One text for both, by which phases are found; unlike for unlike ones."""
    return f"{'' if workflow is None else f'w{len(workflow)}:{workflow}'}/{'' if title is None else f't:{title}'}"


def _phase_json(place: int, phase: BoardPhase, after: int) -> dict[str, JsonValue]:
    return {
        "key": phase_key(phase.workflow, phase.title),
        "place": place,
        "title": phase.title,
        "workflow": phase.workflow,
        "detail": phase.detail,
        "is_entered": phase.is_entered,
        "queued": phase.queued,
        "running": phase.running,
        "waiting": phase.waiting,
        "ended": phase.ended,
        "ended_badly": phase.ended_badly,
        "reused": phase.reused,
        "usage": usage_json(phase.usage),
        "started_at": phase.started_at,
        "ended_at": phase.ended_at,
    }


def question_json(asked: ApprovalAsked) -> dict[str, JsonValue]:
    """A question that waits for a person."""
    return {
        "id": asked.id,
        "kind": asked.kind,
        "tool": asked.tool,
        "input": asked.input,
        "reason": asked.reason,
        "rules": list(asked.rules),
        "agents": asked.agents,
        "agent_ids": list(asked.agent_ids),
        "until": asked.until,
        "more_usd": asked.more_usd,
        "script": script_json(asked.script),
    }


def _line_json(line: BoardLine) -> dict[str, JsonValue]:
    return {
        "seq": line.seq,
        "at": line.at,
        "level": line.level,
        "message": line.message,
        "workflow": line.workflow,
        "by": line.by,
    }


def _warning_json(warning: BudgetWarning) -> dict[str, JsonValue]:
    return {
        "kind": warning.kind,
        "spent": warning.spent,
        "total": warning.total,
        "share": warning.share,
        "phase": warning.phase,
    }


def _budget_json(budget: Budget) -> dict[str, JsonValue]:
    return {"tokens": budget.tokens, "usd": budget.usd}


def _limits_json(limits: RunLimits, max_parallel: int) -> dict[str, JsonValue]:
    return {
        "budget": _budget_json(limits.budget),
        "cost_stop_usd": limits.cost_stop_usd,
        "phase_budgets": {name: _budget_json(budget) for name, budget in limits.phase_budgets.items()},
        "max_parallel": max_parallel or limits.max_parallel,
        "max_agents": limits.max_agents,
        "model": limits.model,
    }


def _result_json(board: Board) -> dict[str, Any]:
    """How the run ended, without what the board says already."""
    if board.result is None:
        return {}
    whole = result_json(board.result)
    for name in ("agents", "logs", "phases"):
        del whole[name]
    return whole
