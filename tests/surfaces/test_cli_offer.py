"""A run that ended early is offered to a person who runs its script again."""

from __future__ import annotations

import pytest

from tests.support.live_run import live_run
from tests.surfaces.command import Command
from tests.surfaces.terminal import Terminal

pytestmark = pytest.mark.anyio

BODY = "return await parallel(['x', 'y'].map(name => () => agent('do ' + name, { label: name })))"
SLOW = {"label": "y", "result": "late", "delay_ms": 60_000}


@pytest.fixture
async def interrupted(command: Command) -> str:
    """A run whose process died with one of its two agents at work; the answers are quick from then on."""
    async with live_run(command, BODY, answers=(SLOW,)) as run:
        started = await run.until("run.started")
        await run.until("agent.finished", label="x")
        run.kill_all()
        await run.ended()
    command.answers()
    return str(started["run_id"])


QUESTION = "Go on with it instead of beginning anew? [y/N]"
WORDS = ("run", "case.js", "--backend", "scripted:answers.json")


def on_terminal(command: Command, *words: str, answer: str | None) -> str:
    """All that a person saw who gave this answer, or none, to the question."""
    with Terminal(command, *WORDS, *words) as terminal:
        if answer is not None:
            terminal.wait_for("1 of its 2 agents have answered", QUESTION)
            terminal.type(answer)
        shown = terminal.end()
    assert terminal.process.returncode == 0, shown
    return " ".join(shown.split())


@pytest.mark.contract("R01")
async def test_who_says_no_begins_anew_and_who_says_yes_goes_on_with_it(command: Command, interrupted: str) -> None:
    shown = on_terminal(command, answer="\n")
    assert f"ended early: callsheet resume {interrupted}" in shown
    assert f"run: {interrupted}" not in shown
    shown = on_terminal(command, answer="y\n")
    assert "1 answered from the record, 1 asked anew" in shown
    assert f"run: {interrupted}" in shown
    assert QUESTION not in on_terminal(command, answer=None)


async def test_nobody_is_asked_for_other_work_or_without_a_terminal(command: Command, interrupted: str) -> None:
    assert QUESTION not in on_terminal(command, "--args", "1", answer=None)
    done = command(*WORDS, "--output", "jsonl")
    assert done.status == 0
    assert any(f"callsheet resume {interrupted}" in note for note in done.events[0]["notes"])
