"""The host is killed while a person is being asked: nothing counts as allowed, and the terminal is as it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.live_run import START_S, gone, sandboxes_of
from tests.support.recorded import Recorded, assert_sound, record_of, recorded, runs_in
from tests.surfaces.command import Command
from tests.surfaces.terminal import Terminal
from tests.surfaces.test_cli_asking import NPM, ROOT, Asking, answers_in

pytestmark = pytest.mark.anyio

OTHER = {"input": "make", "rules": ["Bash(make:*)"]}


def only_run(record: Path) -> Recorded | None:
    """The one run of a record, once it is there."""
    return next((recorded(record, run_id) for run_id in runs_in(record)), None) if record.exists() else None


def until(record: Path, is_so: Callable[[Recorded], bool]) -> None:
    """Waits until this is so of the one run of a record."""
    deadline = time.monotonic() + START_S
    while (found := only_run(record)) is None or not is_so(found):
        assert time.monotonic() < deadline, found


def names(found: Recorded) -> list[str]:
    return [event.event for event in found.events]


@pytest.mark.contract("R01")
async def test_a_host_that_is_killed_at_an_open_question_has_allowed_nothing_and_the_next_run_asks_again(
    asking: Asking,
) -> None:
    record = record_of(asking)
    with Terminal(asking, *asking.words(NPM, NPM, OTHER)) as terminal:
        terminal.next("answer: ")
        until(record, lambda found: names(found).count("approval.asked") >= 3)
        sandboxes = sandboxes_of(terminal.process.pid)
        assert len(sandboxes) == 1
        terminal.type("y")  # half an answer: nobody has hit Enter
        terminal.process.send_signal(signal.SIGKILL)
        await gone(sandboxes, within_s=5)
        terminal.end()

    assert terminal.process.returncode == -signal.SIGKILL
    assert terminal.is_as_before
    assert_sound(record)
    found = only_run(record)
    assert found is not None
    assert found.end is None
    assert found.having("running") == {"agent 1", "agent 2", "agent 3"}
    assert "approval.answered" not in names(found)
    questions = [event.payload for event in found.events if event.payload["event"] == "approval.asked"]
    asked = {question["input"]: question["until"] for question in questions}
    assert asked["npm test"] is not None
    assert asked["make"] is None, "it waited behind the other, and its time did not run"

    with Terminal(asking, *asking.words(NPM, OTHER)) as again:
        assert "npm test" in again.next("answer: ")
        again.type("y\n")
        assert "make" in again.next("answer: ")
        again.type("n\n")
        ended = again.end()
    assert again.process.returncode == 0
    assert answers_in(ended) == ["once: None", "deny: None"]


@pytest.fixture
def asking(command: Command, bytecode: Path) -> Asking:
    """The command with agents that ask, in a git workspace of its own."""
    made = Asking(command.folder, bytecode=bytecode)
    made.environ["PYTHONPATH"] = str(ROOT)
    return made
