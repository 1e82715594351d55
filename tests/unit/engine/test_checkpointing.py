"""When checkpoints of the workspace are taken, and what a run does where they cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.errors import CheckpointError
from callsheet.model.events import CheckpointTaken
from callsheet.model.records import CheckpointRow
from callsheet.ports import CheckpointTaker
from tests.support.fake_session import Js
from tests.unit.engine.stage import SECRET, play, settings

pytestmark = pytest.mark.anyio


class Taker(CheckpointTaker):
    """Takes as many as it is told to, then no more."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.asked = 0

    async def take(self) -> CheckpointTaken:
        self.asked += 1
        if self.asked > self.most:
            raise CheckpointError("the disk is full")
        return CheckpointTaken(n=self.asked - 1, commit_id=f"c{self.asked}", left_out=((f"{SECRET}.bin", "too large"),))


async def five(js: Js) -> Any:
    return [await js.agent("x", label=f"a{number}") for number in range(5)]


async def test_one_is_taken_before_the_first_agent_one_after_so_many_and_one_at_the_end() -> None:
    played = await play(five, checkpoints=Taker(), run_settings=settings(checkpoint_interval=2))
    names = [name for name in played.stage.sink.names() if name in ("checkpoint.taken", "agent.started")]
    assert names[0] == "checkpoint.taken"
    taken = played.stage.sink.bodies(CheckpointTaken)
    assert [body.n for body in taken] == list(range(len(taken)))  # type: ignore[union-attr]
    assert 3 <= len(taken) <= 4  # two that fall due while one is being taken are one
    rows = [row for row in played.stage.store.rows if isinstance(row, CheckpointRow)]
    assert [(row.n, row.commit_id) for row in rows] == [(n, f"c{n + 1}") for n in range(len(taken))]
    assert taken[0].left_out == (("‹secret›.bin", "too large"),)  # type: ignore[union-attr]
    assert played.result.status == "completed"


async def test_where_one_fails_it_is_said_once_and_the_run_goes_on_without() -> None:
    taker = Taker(most=1)
    played = await play(five, checkpoints=taker, run_settings=settings(checkpoint_interval=1))
    assert taker.asked == 2
    assert played.lines.count("no more checkpoints are taken: the disk is full") == 1
    assert played.result.status == "completed"


async def test_none_is_taken_where_nobody_asks_for_them() -> None:
    taker = Taker()
    played = await play(five, checkpoints=taker)
    assert taker.asked == 0
    assert "checkpoint.taken" not in played.stage.sink.names()
