"""Events of an invented run, for what shows them."""

from __future__ import annotations

from callsheet.model.approval import Verdict
from callsheet.model.events import (
    AgentControlled,
    AgentFinished,
    AgentProgress,
    AgentQueued,
    AgentStarted,
    AgentWaiting,
    ApprovalAnswered,
    ApprovalAsked,
    BudgetWarning,
    ControlAction,
    Event,
    EventBody,
    Log,
    PhaseStarted,
    RunStarted,
    RunStatusChanged,
)
from callsheet.model.outcome import AgentStatus, Usage
from callsheet.model.run import AgentSummary
from callsheet.model.sandbox import Confinement, LogLevel
from callsheet.model.script import DeclaredPhase

HOSTILE = "\x1b[2J\x1b]0;owned\x07 [bold]x[/bold] \u202egnp.exe\n::error::forged"


def events(*bodies: EventBody) -> list[Event]:
    """Some events, numbered from 1, all at one time."""
    return [
        Event(run_id="run_X", seq=seq, at="2026-01-01T00:00:00.000Z", body=body) for seq, body in enumerate(bodies, 1)
    ]


def started(**given: object) -> RunStarted:
    plain: dict[str, object] = {
        "workflow": "review",
        "description": "reviews",
        "script": "review.js",
        "backend": "scripted",
        "workspace": "/w",
        "phases": (DeclaredPhase(title="Find"), DeclaredPhase(title="Fix")),
        "confinement": Confinement(system_calls=True, detail=""),
        "max_parallel": 4,
    }
    return RunStarted(**(plain | given))  # type: ignore[arg-type]


def queued(
    number: int, label: str | None = None, *, phase: str | None = "Find", workflow: str | None = None
) -> AgentQueued:
    return AgentQueued(
        agent_id=f"a{number:04}", call=number, label=label or f"label {number}", phase=phase, workflow=workflow
    )


def begun(number: int) -> AgentStarted:
    return AgentStarted(agent_id=f"a{number:04}", model="m", backend="scripted")


def progress(number: int, tool: str | None, summary: str | None, tokens: int = 10) -> AgentProgress:
    return AgentProgress(agent_id=f"a{number:04}", tool=tool, tool_summary=summary, tokens=tokens)


def waiting(
    number: int, why: str = "rate limit", until: str | None = "2026-01-01T00:01:00Z", reason: str | None = None
) -> AgentWaiting:
    return AgentWaiting(agent_id=f"a{number:04}", why=why, until=until, reason=reason)


def ended(
    number: int,
    status: AgentStatus = "ok",
    label: str | None = None,
    *,
    phase: str | None = "Find",
    error: str = "why",
    cost: float | None = 0.01,
    reused: bool = False,
    workflow: str | None = None,
    output_tokens: int = 50,
) -> AgentFinished:
    summary = AgentSummary(
        agent_id=f"a{number:04}",
        call=number,
        label=label or f"label {number}",
        phase=phase,
        workflow=workflow,
        status=status,
        reused=reused,
        model="m",
        backend="scripted",
        attempts=1,
        usage=Usage(input_tokens=100, output_tokens=output_tokens, cost_usd=cost),
        files_read=(),
        files_changed=(),
        tools_called=(),
        queued_at="2026-01-01T00:00:00.000Z",
        started_at="2026-01-01T00:00:01.000Z",
        ended_at="2026-01-01T00:00:03.000Z",
        error=None if status == "ok" else error,
    )
    return AgentFinished(agent=summary, result_preview=None)


def asked(number: int, *agents: int, tool: str = "bash", tool_input: str = "npm test") -> ApprovalAsked:
    return ApprovalAsked(
        id=f"q{number:04}",
        tool=tool,
        input=tool_input,
        reason="no rule",
        rules=("Bash(npm test:*)",),
        agents=len(agents),
        agent_ids=tuple(f"a{agent:04}" for agent in agents),
        until="2026-01-01T00:10:00.000Z",
    )


def answered(number: int, verdict: Verdict = "once", *, agents: int = 1, by: str = "a person") -> ApprovalAnswered:
    return ApprovalAnswered(id=f"q{number:04}", verdict=verdict, by=by, agents=agents)


def controlled(number: int, action: ControlAction, *, by: str = "ada", text: str | None = None) -> AgentControlled:
    return AgentControlled(agent_id=f"a{number:04}", action=action, by=by, text=text)


def log(message: str, level: LogLevel = "info") -> Log:
    return Log(level=level, message=message)


def phase(title: str, workflow: str | None = None) -> PhaseStarted:
    return PhaseStarted(title=title, workflow=workflow)


def status(word: str, reason: str | None = None) -> RunStatusChanged:
    return RunStatusChanged(status=word, reason=reason)


def budget(kind: str, spent: float, total: float) -> BudgetWarning:
    return BudgetWarning(kind=kind, spent=spent, total=total, share=0.5)
