"""What was altered on the disk is noticed, letter by letter, and nothing else is taken for it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from callsheet.model.records import AgentRow, DeliveredRow, ReusedRow, Row
from callsheet.store.past import read_past
from callsheet.store.reader import read_run
from callsheet.store.record import open_record
from callsheet.store.rows import write_rows
from callsheet.store.schema import MIGRATIONS, migrate
from tests.support.store_rows import AT, RUN_ID, agent_row, delivered_row, run_end_row, run_row
from tests.unit.store.test_spending import record

pytestmark = pytest.mark.contract("R06")

TEXT = "an answer of some length, "


def ended(number: int = 1, **changes: object) -> AgentRow:
    given = {"status": "ok", "timestamp_end": AT, "result": f'"{TEXT * 20}"', "cost_usd": 0, "attempts": 1}
    return agent_row(number, **given | changes)


def whole(path: Path, *rows: Row) -> Path:
    return record(path, run_row(args='{"of": "some length"}'), *rows, run_end_row())


def alter(path: Path, sql: str) -> None:
    """Changes a value behind the record's back, as a flipped bit in a page does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql)


@pytest.mark.parametrize(
    "column",
    ["result = replace(result, 'answer', 'answar')", "key = 'x'", "output_tokens = 1", "files_changed = '[1]'"],
)
def test_an_outcome_that_was_altered_answers_no_more_and_is_said(tmp_path: Path, column: str) -> None:
    path = whole(tmp_path, ended(1), ended(2))
    alter(path, f"UPDATE agent_runs SET {column} WHERE agent_id = 'a0002'")

    past = read_past(path, RUN_ID)
    assert past is not None
    assert [agent.has_answer for agent in past.agents] == [True, False]
    (note,) = past.notes
    assert f"{path} is damaged" in note and "a0002" in note and "asks it anew" in note
    with open_record(path) as reading:
        reading.run(RUN_ID)
        assert reading.damage == note


@pytest.mark.parametrize("column", ["script_text", "args"])
def test_a_script_or_arguments_that_were_altered_are_said(tmp_path: Path, column: str) -> None:
    path = whole(tmp_path)
    alter(path, f"UPDATE runs SET {column} = replace({column}, 'e', 'a')")

    run = read_run(path, RUN_ID)
    assert run is not None and run.is_altered
    with open_record(path) as reading:
        reading.run(RUN_ID)
        assert reading.damage is not None and "--script FILE" in reading.damage


def test_what_was_written_by_ourselves_is_never_taken_for_damage(tmp_path: Path) -> None:
    later: tuple[Row, ...] = (
        delivered_row(1),
        ReusedRow(run_id=RUN_ID, agent_id="a0001", call=7, label="another", phase="P", workflow="w", options="{}"),
        ended(2, result='"half \\ud83d a pair"', cost_usd=0.1 + 0.2, details='{"estimated_usd":0.1}'),
        ended(3, result='"\ud83d"', error="\u2028 and \x00"),
        DeliveredRow(run_id=RUN_ID, agent_id="a0003", delivered_seq=2, delivered_at=1, spent_after=0),
        ended(4, status="failed", result=None, cost_usd=None),
        agent_row(4, cost_usd=0.5),
    )
    path = whole(tmp_path, ended(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        write_rows(connection, [*later, run_row(args='{"of": "some length"}', attempts=2)], escaped=True)
        connection.execute("COMMIT")

    past, run = read_past(path, RUN_ID), read_run(path, RUN_ID)
    assert past is not None and run is not None
    assert (past.notes, run.is_altered) == ((), False)
    assert {agent.agent_id: agent.status for agent in past.agents} == {
        "a0001": "ok", "a0002": "ok", "a0003": "ok", "a0004": "queued",
    }  # fmt: skip


def test_a_record_of_an_older_version_says_nothing_of_it_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "callsheet.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, steps=MIGRATIONS[:5])
        connection.execute(
            "INSERT INTO runs (run_id, seed, status, started_at, started_ms, version, settings, script_text)"
            f" VALUES ('{RUN_ID}', 1, 'running', '{AT}', 1, '1', '{{}}', 'x')"
        )
    with open_record(path) as reading:
        assert reading.run(RUN_ID) is not None
        assert reading.damage is None
    past = read_past(path, RUN_ID)
    assert past is not None and past.notes == ()


def test_wherever_a_bit_of_an_answer_is_flipped_in_the_file_it_does_not_answer(tmp_path: Path) -> None:
    path = whole(tmp_path, *(ended(number) for number in range(1, 6)))
    alter(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data, chance = path.read_bytes(), random.Random(3)
    for _ in range(40):
        at = data.index(TEXT.encode(), chance.randrange(data.index(TEXT.encode()), data.rindex(TEXT.encode())))
        flipped = bytearray(data)
        flipped[at + chance.randrange(len(TEXT))] ^= 1 << chance.randrange(7)
        path.write_bytes(flipped)
        past = read_past(path, RUN_ID)
        assert past is not None and past.notes
        assert sum(agent.has_answer for agent in past.agents) == 4
