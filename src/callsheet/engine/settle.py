"""From an agent's outcome to what its call gives the script: the table of CONTRACT A17, and nothing else."""

from __future__ import annotations

from callsheet.engine.text import to_json
from callsheet.model.outcome import AgentOutcome, AgentStatus, Ran, Usage
from callsheet.model.public import usage_json
from callsheet.model.sandbox import RejectCall, ResolveCall
from callsheet.model.values import JsonValue


def settlement(
    outcome: AgentOutcome,
    *,
    context: int,
    call: int,
    agent_id: str,
    settle: bool,
    value_json: str,
    is_budget_spent: bool = False,
) -> ResolveCall | RejectCall:
    """What the promise of an accepted call becomes.

    `value_json` is the outcome's value as JSON text, `null` unless it ended `ok`; `is_budget_spent` says that the run's
    budget was spent before the agent could start (CONTRACT G03).
    """
    if settle:
        text = settled(
            outcome.status,
            value_json,
            error=outcome.error,
            usage=outcome.usage,
            agent_id=agent_id,
            ran=outcome.ran,
        )
        return ResolveCall(context=context, call=call, value_json=text)
    match outcome.status:
        case "ok":
            return ResolveCall(context=context, call=call, value_json=value_json)
        case "invalid":
            message = outcome.error or "the agent gave no answer that fits the schema"
            return RejectCall(context=context, call=call, name="SchemaError", message=message)
        case "over_budget" if is_budget_spent:
            return RejectCall(context=context, call=call, name="BudgetExceededError", message=outcome.error or "")
        case "failed" | "skipped" | "cancelled" | "timed_out" | "over_budget" | "conflict":
            return ResolveCall(context=context, call=call, value_json="null")


def settled(
    status: AgentStatus,
    value_json: str,
    *,
    error: str | None,
    usage: Usage,
    agent_id: str | None,
    ran: Ran | None = None,
) -> str:
    """JSON text of what a call with `settle` resolves to (CONTRACT A15), with what a command agent's program did."""
    rest: dict[str, JsonValue] = {"error": error, "usage": usage_json(usage), "agentId": agent_id}
    if ran is not None:
        rest |= {"exitStatus": ran.exit_status, "stdout": ran.stdout, "stderr": ran.stderr}
    return f'{{"status":"{status}","value":{value_json},{to_json(rest)[1:]}'


def is_null_with_log(outcome: AgentOutcome, *, settle: bool, is_budget_spent: bool) -> bool:
    """Whether the script sees only `null`, so that a log line must say which agent and why (CONTRACT A05)."""
    if settle or (outcome.status == "over_budget" and is_budget_spent):
        return False
    return outcome.status not in ("ok", "invalid")
