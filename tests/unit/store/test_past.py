"""What is on record of a run, as it is read to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from callsheet.model.past import PastAgent
from callsheet.model.records import MessageRow, Row, SpendingRow
from callsheet.store.past import read_past
from tests.support.store_rows import RUN_ID, agent_row, run_row
from tests.unit.store.test_spending import record

ASKED = {"role": "user", "content": [{"type": "text", "text": "task"}]}
SAID = {"role": "assistant", "content": [{"type": "text", "text": "so far"}]}


def running(path: Path, *rows: Row) -> PastAgent:
    """An agent that was at work when its host ended, as a resumed run finds it."""
    agent = agent_row(1, status="running", timestamp_start="2026-11-21T08:00:01.000Z")
    past = read_past(record(path, run_row(), agent, *rows), RUN_ID)
    assert past is not None
    return past.agents[0]


def message(n: int, payload: Mapping[str, object]) -> MessageRow:
    return MessageRow(run_id=RUN_ID, agent_id="a0001", n=n, payload=json.dumps(payload), attempt=1)


def paid(n: int, **changes: object) -> SpendingRow:
    given = {"state": "settled", "model": "m", "at": "2026-11-21T08:00:02.000Z"}
    return SpendingRow(run_id=RUN_ID, n=n, agent_id="a0001", attempt=1, **given | changes)  # type: ignore[arg-type]


@pytest.mark.contract("R01")
def test_a_conversation_without_a_reply_is_not_gone_on_with_and_so_its_task_never_stands_in_it_twice(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir()
    assert running(tmp_path, message(1, ASKED)).kept is None
    kept = running(tmp_path / "one", message(1, ASKED), message(2, SAID)).kept
    assert kept is not None and kept.messages == (ASKED, SAID)


@pytest.mark.contract("R01", "R07")
def test_an_agent_without_an_end_has_used_what_was_paid_for_it_and_what_was_reserved_for_it(tmp_path: Path) -> None:
    agent = running(
        tmp_path,
        paid(1, input_tokens=3, output_tokens=10, cost_usd=0.25),
        paid(2, state="reserved", reserved_tokens=900, reserved_usd=1.5),
        paid(3, state="reserved", reserved_tokens=70),
    )
    usage = agent.outcome.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd, usage.estimated_usd) == (3, 910, 1.75, 1.5)
    assert agent.lost == (("m", 70),)
