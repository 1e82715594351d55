"""A conversation on record whose rows are damaged, or were made by somebody else: never a crash."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from callsheet.model.records import MessageRow
from callsheet.store.spoken import read_conversation
from tests.support.store_rows import RUN_ID, agent_row, run_row
from tests.unit.store.test_spending import record

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("damage", "answer", "messages"),
    [
        (("UPDATE agent_runs SET result = ?, checksum = NULL", '"half a te'), '"half a te', 1),
        (("UPDATE agent_runs SET options = ?", DEEP), "done", 1),
        (("UPDATE agent_messages SET payload = ?", DEEP), "done", 0),
        (("UPDATE agent_messages SET payload = ?", '{"role": "us'), "done", 0),
    ],
)
def test_what_cannot_be_read_of_a_turn_is_left_out_of_it(
    tmp_path: Path, damage: tuple[str, str], answer: str, messages: int
) -> None:
    said = MessageRow(run_id=RUN_ID, agent_id="a0001", n=1, payload='{"role": "user", "content": []}')
    path = record(tmp_path, run_row(), agent_row(1, status="ok", result='"done"'), said)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(damage[0], (damage[1],))
    (turn,) = read_conversation(path, RUN_ID, "a0001")
    assert (turn.answer, len(turn.messages)) == (answer, messages)
