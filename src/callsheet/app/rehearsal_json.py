"""The public JSON of a rehearsal: the only place that knows its key names. Described in docs/rehearsal.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from callsheet.app.refused import result_of_error
from callsheet.errors import CallsheetError
from callsheet.model.rehearsal import Breach, PlannedGroup, Range, Reach, Rehearsal, ScriptLine
from callsheet.model.script import Finding
from callsheet.model.values import JsonValue

VERSION = 1
"""Goes up when a key changes its meaning or goes; keys may be added without."""


def rehearsal_json(told: Rehearsal, breaches: Iterable[Breach] = ()) -> dict[str, JsonValue]:
    """The object of `callsheet rehearse --output json`."""
    return {
        "version": VERSION,
        "workflow": told.workflow,
        "description": told.description,
        "script": told.script,
        "status": told.status,
        "error": None if told.error is None else _plain(asdict(told.error)),
        "backend": told.backend,
        "answers": {"from": told.answers_from, "by_source": _plain(told.answers)},
        "agents": {
            "planned": told.agents,
            "exact": told.is_exact,
            "low": told.agents_low,
            "high": told.agents_high,
            "most_at_once": told.most_at_once,
            "max_parallel": told.max_parallel,
        },
        "decisions": _lines(told.decisions),
        "phases": [{"title": phase.title, "agents": phase.agents} for phase in told.phases],
        "groups": [_group(group) for group in told.groups],
        "estimate": {
            "tokens": _range(told.tokens),
            "output_tokens": _range(told.output_tokens),
            "cost_usd": None if told.cost_usd is None else _range(told.cost_usd),
            "cost_known": told.cost_usd is not None,
            "unpriced": list(told.unpriced),
            "duration_s": told.duration_s,
            "fast": {
                "agents": told.fast_agents,
                "agents_share": told.fast_agents / told.agents if told.agents else 0.0,
                "cost_share": told.fast_cost_share,
            },
        },
        "files": [_plain(asdict(each)) for each in told.files],
        "commands": _reach(told.commands),
        "hosts": _reach(told.hosts),
        "violations": [_plain(asdict(each)) for each in told.violations],
        "not_called": _lines(told.not_called),
        "warnings": [_finding(finding) for finding in told.warnings],
        "assumptions": list(told.assumptions),
        "notes": list(told.notes),
        "breaches": [_plain(asdict(breach)) for breach in breaches],
    }


def _group(group: PlannedGroup) -> dict[str, JsonValue]:
    return {
        "phase": group.phase,
        "workflow": group.workflow,
        "agent_type": group.agent_type,
        "model": group.model,
        "backend": group.backend,
        "speed": group.speed,
        "agents": group.agents,
        "tokens": _range(group.tokens),
        "output_tokens": _range(group.output_tokens),
        "cost_usd": None if group.cost_usd is None else _range(group.cost_usd),
        "earlier_calls": group.earlier_calls,
    }


def _range(told: Range) -> dict[str, JsonValue]:
    return {"low": told.low, "likely": told.likely, "high": told.high}


def _reach(told: Reach) -> dict[str, JsonValue]:
    return {
        "otherwise": told.otherwise,
        "rules": [_plain(asdict(rule)) for rule in told.rules],
        "named": [_plain(asdict(use)) for use in told.named],
    }


def _lines(lines: Iterable[ScriptLine]) -> list[JsonValue]:
    return [{"line": each.line, "text": each.text} for each in lines]


def _finding(finding: Finding) -> dict[str, JsonValue]:
    return {
        "code": finding.code,
        "message": finding.message,
        "line": None if finding.place is None else finding.place.line,
        "column": None if finding.place is None else finding.place.column,
    }


def _plain(value: object) -> JsonValue:
    """What `asdict` gives, tuples as lists."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} is no JSON")


def refusal_json(fault: CallsheetError) -> dict[str, JsonValue]:
    """The object of a rehearsal that never began: only `version`, `status` and `error`, as in a run's result."""
    result = result_of_error(fault, run_id="", script="", backend="")
    error = result.error
    return {
        "version": VERSION,
        "workflow": result.workflow,
        "status": result.status,
        "error": None if error is None else _plain(asdict(error)),
    }
