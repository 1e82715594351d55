"""Calls that no agent stands for, in the record: a replay knows from it alone what their scripts got."""

from __future__ import annotations

import hashlib

from callsheet.engine.state import Answered, RunState
from callsheet.engine.text import to_json
from callsheet.model.records import RefusedRow
from callsheet.model.sandbox import AgentCalled, RejectCall, ResolveCall


def note_refusal(state: RunState, called: AgentCalled, number: int) -> None:
    """Records how a call was refused, a moment ago.

    Args:
        state: Of the run; the answer is the last that waits to be delivered.
        called: The call.
        number: Its number in the run.
    """
    last = state.own[-1]
    assert isinstance(last, Answered)
    answer = last.delivery
    error = answer if isinstance(answer, RejectCall) else None
    state.bus.add(
        RefusedRow(
            run_id=state.run_id,
            attempt=state.attempt,
            call=number,
            asked=asked_digest(called),
            name="" if error is None else error.name,
            message="" if error is None else error.message,
            value=answer.value_json if isinstance(answer, ResolveCall) else None,
            spent_after=state.ledger.shown_tokens,
            cost_after=state.ledger.shown_usd,
        )
    )


def asked_digest(called: AgentCalled) -> str:
    """What a call asks as it was written, unchecked."""
    try:
        options = to_json(called.options)
    except (ValueError, RecursionError):
        options = ""
    text = to_json([called.prompt, called.prompt_type, called.options_fault]) + options
    return hashlib.sha256(text.encode()).hexdigest()
