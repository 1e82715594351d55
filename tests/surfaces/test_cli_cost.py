"""`callsheet cost`: who spent it, from the record."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.surfaces.command import Command

pytestmark = pytest.mark.contract("G04")

BODY = """
phase('Plan')
await agent('x', { label: 'plan' })
phase('Build')
await parallel([1, 2].map((n) => () => agent('build ' + n, { label: 'build' })))
await agent('x', { label: 'odd', phase: 'Check' })
return 1
"""
ANSWERS = (
    {"label": "plan", "result": "p", "usage": {"input_tokens": 1_000, "output_tokens": 100}},
    {"label": "build", "result": "b", "usage": {"input_tokens": 2_000, "output_tokens": 2_000}},
    {"label": "odd", "result": "o", "usage": {"input_tokens": 10, "output_tokens": 10}},
)


def charge(command: Command, **dollars: float | None) -> str:
    """Writes into the record what payments of labels cost; the scripted backend costs nothing. Gives the run's id."""
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record, record:
        for label, usd in dollars.items():
            agents = "SELECT agent_id FROM agent_runs WHERE label = ?"
            record.execute(f"UPDATE spending SET cost_usd = ? WHERE agent_id IN ({agents})", (usd, label))
        (run_id,) = record.execute("SELECT run_id FROM runs ORDER BY started_ms").fetchone()
    return str(run_id)


def test_one_runs_cost_is_summed_by_phase_and_what_has_no_price_is_said(command: Command) -> None:
    assert command.run(BODY, answers=ANSWERS).status == 0
    run_id = charge(command, plan=0.5, build=2.0, odd=None)
    done = command("cost", "last")
    assert done.status == 0, done.err
    assert [line.split() for line in done.out.splitlines()] == [
        ["phase", "agents", "requests", "in", "out", "cost"],
        ["Build", "2", "2", "4.0k", "4.0k", "$4.00"],
        ["Plan", "1", "1", "1.0k", "100", "$0.50"],
        ["Check", "1", "1", "10", "10", "≥", "$0"],
        ["total", "4", "4", "5.0k", "4.1k", "≥", "$4.50"],
        ["not", "counted:", "1", "request", "whose", "price", "is", "not", "known", "(≥)"],
    ]

    found = command("cost", run_id[:12], "--by", "label", "--json").json
    assert (found["run_id"], found["by"]) == (run_id, "label")
    assert [(group["name"], group["cost_usd"], group["cost_known"]) for group in found["groups"]] == [
        ("build", 4.0, True), ("plan", 0.5, True), ("odd", None, False),
    ]  # fmt: skip
    assert (found["total"]["known_usd"], found["total"]["cost_usd"], found["total"]["agents"]) == (4.5, None, 4)


def test_all_runs_are_summed_by_workflow_model_or_day_and_since_a_time(command: Command) -> None:
    for _ in range(2):
        command.run("return await agent('x', { label: 'plan' })", answers=ANSWERS)
    charge(command, plan=0.5)
    found = command("cost", "--json").json
    assert (found["by"], found["run_id"]) == ("workflow", None)
    assert [(group["name"], group["agents"], group["cost_usd"]) for group in found["groups"]] == [("case", 2, 1.0)]
    (day,) = command("cost", "--by", "day", "--json").json["groups"]
    assert len(day["name"]) == len("2026-11-21")
    assert [group["name"] for group in command("cost", "--by", "model", "--json").json["groups"]] == [None]
    assert command("cost", "--since", "30d", "--json").json["total"]["agents"] == 2
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record, record:
        record.execute("UPDATE spending SET at = '2020-01-01T00:00:00.000Z'")
    assert command("cost", "--since", "30d").out == "nothing was paid\n"


def test_wrong_words_are_said_with_what_there_is(command: Command) -> None:
    missing = command("cost")
    assert missing.status == 1
    assert "there is none yet" in missing.err
    command.run("return await agent('x', { label: 'plan' })", answers=ANSWERS)
    unknown = command("cost", "run_nothing")
    assert unknown.status == 2
    assert "callsheet runs lists them" in unknown.err
    both = command("cost", "last", "--since", "1d")
    assert both.status == 2
    assert "Give a run or --since" in both.err
    assert command("cost", "--since", "soon").status == 2


def test_a_request_that_the_service_did_not_take_is_none_and_a_time_before_all_time_is_ever(command: Command) -> None:
    command.run(BODY, answers=ANSWERS)
    with closing(sqlite3.connect(command.folder / ".callsheet" / "callsheet.db")) as record, record:
        build = "SELECT min(n) FROM spending WHERE agent_id IN (SELECT agent_id FROM agent_runs WHERE label = 'build')"
        record.execute(f"UPDATE spending SET input_tokens = 0, output_tokens = 0, cost_usd = 0.0 WHERE n = ({build})")
    found = command("cost", "last", "--by", "label", "--json").json
    assert [(group["name"], group["agents"], group["payments"]) for group in found["groups"]] == [
        ("build", 2, 1), ("plan", 1, 1), ("odd", 1, 1),
    ]  # fmt: skip
    ever = command("cost", "--since", "99999999d", "--json")
    assert ever.status == 0, ever.err
    assert ever.json["total"]["agents"] == 4


@pytest.mark.contract("A14", "A17", "G03")
def test_priority_decides_who_is_begun_before_a_budget_and_a_resumed_run_with_less_says_what_to_give(
    command: Command,
) -> None:
    body = """
const first = await agent('x', { label: 'first', priority: 9 })
const rest = []
for (const label of ['b', 'c']) rest.push(await agent(label, { label }))
return [first, ...rest, await agent('y', { label: 'last', priority: 9 })]
"""
    each = {"usage": {"input_tokens": 1, "output_tokens": 40}}
    answers = tuple({"label": label, "result": label, **each} for label in ("first", "b", "c", "last"))
    done = command.run(body, "--budget", "119", "--output", "json", answers=answers)
    assert done.status == 4
    assert done.json["result"] == ["first", "b", None, "last"]
    (problem,) = done.json["problems"]
    assert problem["cause"] == "over_budget"
    assert problem["label"] == "c"
    assert problem["message"].startswith(
        "skipped: calls like it took 40 output tokens, 39 of the run's budget are left"
    )
    assert problem["next"].endswith("--rerun a0003 --budget 238")

    less = command("resume", "--budget", "50", "--output", "json")
    (refused,) = less.json["problems"]
    assert refused["message"] == "the run's budget of 50 output tokens is spent (120): raise it with --budget 240"
    more = command("resume", "--budget", "240", "--output", "json")
    assert (more.status, more.json["result"]) == (0, ["first", "b", "c", "last"])
    assert command("cost", "last", "--json").json["total"]["output_tokens"] == 160
