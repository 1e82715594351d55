"""What a user's command is told when there is more to tell than it has time for."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from callsheet.app import notifying
from callsheet.app.notifying import Notifier, telling
from callsheet.model.approval import ScriptShown
from callsheet.model.events import ApprovalAnswered, Event, EventBody, RunFinished
from callsheet.model.public import script_json
from tests.support.deadline import within
from tests.surfaces.events import asked
from tests.surfaces.results import result

pytestmark = pytest.mark.anyio

QUESTIONS = 30


class Told:
    """A command that waits until it is let go and then writes down what it is told; and what was said of it."""

    def __init__(self, folder: Path) -> None:
        self.gate = folder / "gate"
        self.log = folder / "told"
        self.log.touch()
        os.mkfifo(self.gate)
        self.said: list[str] = []
        self._seq = 0
        self.notifier = Notifier(
            f"sh -c 'cat {self.gate} > /dev/null; echo $CALLSHEET_REASON $CALLSHEET_STATUS >> {self.log}'",
            run_id="run_X",
            workspace=folder,
            folder=folder,
            environ={"PATH": os.environ["PATH"]},
            say=self.said.append,
            trust=lambda _: contextlib.nullcontext(),
        )

    def tell(self, body: EventBody) -> None:
        self._seq += 1
        self.notifier.on_event(Event(run_id="run_X", seq=self._seq, at="2026-11-21T08:00:00.000Z", body=body))

    def ask(self, number: int) -> None:
        """A question that is answered at once."""
        question = asked(number, 1)
        self.tell(question)
        self.tell(ApprovalAnswered(id=question.id, verdict="once", by="a person", agents=1))

    async def let_go(self) -> None:
        """Lets the command that waits go on, to its end: one that has not let go of the gate would take the next."""
        before = len(self.lines())
        await anyio.Path(self.gate).write_text("")
        while len(self.lines()) == before:
            await anyio.lowlevel.checkpoint()

    def lines(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines()


async def test_the_end_is_told_however_many_questions_came_before_it(tmp_path: Path) -> None:
    told = Told(tmp_path)
    with within(20):
        async with telling(told.notifier):
            told.ask(0)
            for number in range(1, QUESTIONS):
                told.ask(number)
                await anyio.lowlevel.checkpoint()
            told.tell(RunFinished(result=result()))
            await told.let_go()
            await told.let_go()

    assert told.lines() == ["waiting waiting", "finished completed"]
    assert told.said == []


async def test_of_a_script_its_name_is_told_and_the_command_gets_all_that_is_shown_of_it(tmp_path: Path) -> None:
    script = ScriptShown(name="find-bugs", description="looks", plan=("agents    2",), text="x", sha256="ab")
    log = tmp_path / "said"
    notifier = Notifier(
        f"sh -c 'cat >> {log}'",
        run_id="run_X",
        workspace=tmp_path,
        folder=tmp_path,
        environ={"PATH": os.environ["PATH"]},
        say=lambda _: None,
        trust=lambda _: contextlib.nullcontext(),
    )
    body = replace(asked(1, 0), kind="script", script=script)
    with within(20):
        async with telling(notifier):
            notifier.on_event(Event(run_id="run_X", seq=1, at="2026-11-21T08:00:00.000Z", body=body))
    said = json.loads(log.read_text(encoding="utf-8"))
    assert "waits for an answer: run the script find-bugs? (callsheet answer run_X" in said["text"]
    assert said["question"]["script"] == script_json(script)


async def test_an_end_that_there_was_no_time_to_tell_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifying, "LAST_S", 0.2)
    told = Told(tmp_path)
    with within(20):
        async with telling(told.notifier):
            told.ask(0)
            await anyio.lowlevel.checkpoint()
            told.tell(RunFinished(result=result()))

    assert told.lines() == []
    (line,) = told.said
    assert "the end of the run could not be told in time" in line
