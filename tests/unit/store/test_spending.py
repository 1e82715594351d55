from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from callsheet.model.records import Row, SpendingRow
from callsheet.store.record import open_record
from callsheet.store.rows import write_rows
from callsheet.store.schema import MIGRATIONS, migrate
from callsheet.store.spending import Payment, paid_by_phase
from tests.support.store_rows import agent_row, run_row


def record(path: Path, *rows: Row, steps: int = len(MIGRATIONS)) -> Path:
    with closing(sqlite3.connect(path / "callsheet.db", isolation_level=None)) as connection:
        migrate(connection, steps=MIGRATIONS[:steps])
        connection.execute("BEGIN")
        write_rows(connection, rows)
        connection.execute("COMMIT")
    return path / "callsheet.db"


def spent(n: int, agent_id: str = "a0001", **changes: object) -> SpendingRow:
    given = {"output_tokens": 10, "cost_usd": 0.25, "state": "settled", "at": f"2026-11-21T08:00:0{n}.000Z"}
    return SpendingRow(run_id="run_1", n=n, agent_id=agent_id, attempt=1, model="m", **given | changes)  # type: ignore[arg-type]


def read_payments(path: Path, **of: str) -> tuple[Payment, ...]:
    with open_record(path) as record:
        return record.payments(run_id=of.get("run_id"), since=of.get("since"))


@pytest.mark.contract("R01", "R07")
def test_a_request_whose_host_died_counts_as_it_was_reserved_and_is_marked(tmp_path: Path) -> None:
    path = record(
        tmp_path,
        run_row(run_id="run_1"),
        agent_row(1, run_id="run_1", phase="Plan"),
        agent_row(2, run_id="run_1", phase=None),
        spent(1),
        spent(2, state="reserved", output_tokens=0, cost_usd=None, reserved_tokens=900, reserved_usd=1.5),
        spent(3, "a0002", state="reserved", cost_usd=None, reserved_tokens=7, reserved_usd=None),
    )
    one, two, three = read_payments(path, run_id="run_1")
    assert (one.usage.output_tokens, one.usage.cost_usd, one.usage.estimated_usd) == (10, 0.25, 0.0)
    assert (two.usage.output_tokens, two.usage.cost_usd, two.usage.estimated_usd) == (900, 1.5, 1.5)
    assert (three.usage.output_tokens, three.usage.cost_usd) == (7, None)
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        paid, last = paid_by_phase(connection.execute, "run_1")
    assert last == 3
    assert {phase: usage.output_tokens for phase, usage in paid.items()} == {"Plan": 910, None: 7}
    assert [payment.n for payment in read_payments(path, since="2026-11-21T08:00:02.000Z")] == [2, 3]


def test_of_agents_that_are_in_no_payment_their_own_figures_count(tmp_path: Path) -> None:
    path = record(
        tmp_path,
        run_row(run_id="run_1"),
        agent_row(1, run_id="run_1", attempts=1, output_tokens=5, cost_usd=0.5),
        agent_row(2, run_id="run_1", attempts=1, output_tokens=50, cost_usd=9.0),
        agent_row(3, run_id="run_1", attempts=0),
        spent(1, "a0002"),
    )
    assert {payment.agent_id: payment.usage.output_tokens for payment in read_payments(path)} == {
        "a0001": 5, "a0002": 10,
    }  # fmt: skip
