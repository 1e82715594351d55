"""The table of what a call gives: every outcome, plain and with `settle`."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from callsheet.engine.settle import is_null_with_log, settlement
from callsheet.model.outcome import AGENT_STATUSES, AgentOutcome, AgentStatus, Usage
from callsheet.model.sandbox import RejectCall, ResolveCall

pytestmark = pytest.mark.contract("A17")


def given(status: AgentStatus, *, settle: bool, is_budget_spent: bool = False) -> ResolveCall | RejectCall:
    outcome = AgentOutcome(status=status, value="v", error=None if status == "ok" else "why")
    return settlement(
        outcome,
        context=0,
        call=4,
        agent_id="a0002",
        settle=settle,
        value_json='"v"' if status == "ok" else "null",
        is_budget_spent=is_budget_spent,
    )


def test_the_table_has_every_status() -> None:
    assert set(get_args(AgentStatus)) == set(AGENT_STATUSES)


def test_ok_gives_the_value() -> None:
    assert given("ok", settle=False) == ResolveCall(context=0, call=4, value_json='"v"')


@pytest.mark.parametrize("status", ["failed", "timed_out", "skipped", "cancelled", "over_budget", "conflict"])
@pytest.mark.contract("A05")
def test_what_an_agent_did_not_manage_is_null_and_said_in_the_log(status: AgentStatus) -> None:
    assert given(status, settle=False) == ResolveCall(context=0, call=4, value_json="null")
    assert is_null_with_log(AgentOutcome(status=status), settle=False, is_budget_spent=False)
    assert not is_null_with_log(AgentOutcome(status=status), settle=True, is_budget_spent=False)


@pytest.mark.contract("A03")
def test_an_answer_that_never_fitted_rejects_with_a_schema_error() -> None:
    assert given("invalid", settle=False) == RejectCall(context=0, call=4, name="SchemaError", message="why")
    assert not is_null_with_log(AgentOutcome(status="invalid"), settle=False, is_budget_spent=False)


@pytest.mark.contract("G03")
def test_a_spent_budget_of_the_run_rejects_and_one_of_the_agents_own_does_not() -> None:
    spent = given("over_budget", settle=False, is_budget_spent=True)
    assert spent == RejectCall(context=0, call=4, name="BudgetExceededError", message="why")
    assert not is_null_with_log(AgentOutcome(status="over_budget"), settle=False, is_budget_spent=True)


@pytest.mark.parametrize("status", AGENT_STATUSES)
@pytest.mark.contract("A15")
def test_settle_always_resolves_to_the_whole_story(status: AgentStatus) -> None:
    delivery = given(status, settle=True, is_budget_spent=True)
    assert isinstance(delivery, ResolveCall)
    told = json.loads(delivery.value_json)
    assert list(told) == ["status", "value", "error", "usage", "agentId"]
    assert told["status"] == status
    assert told["value"] == ("v" if status == "ok" else None)
    assert told["error"] == (None if status == "ok" else "why")
    assert told["agentId"] == "a0002"
    assert set(told["usage"]) == {
        "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd",
    }  # fmt: skip


@pytest.mark.contract("A15")
def test_a_cost_that_is_not_known_is_null_in_a_settled_value() -> None:
    outcome = AgentOutcome(status="ok", value=1, usage=Usage(cost_usd=None))
    delivery = settlement(outcome, context=0, call=1, agent_id="a0001", settle=True, value_json="1")
    assert isinstance(delivery, ResolveCall)
    assert json.loads(delivery.value_json)["usage"]["cost_usd"] is None
