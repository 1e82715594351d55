"""What a run asks, answered from another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.surfaces.command import Command
from tests.surfaces.following import following
from tests.surfaces.terminal import Terminal
from tests.surfaces.test_cli_asking import NPM, ROOT, RULE, Asking

OTHER = {"input": "src/a.py", "tool": "edit", "reason": "it is protected"}


@pytest.fixture
def asking(command: Command, bytecode: Path) -> Asking:
    made = Asking(command.folder, bytecode=bytecode)
    made.environ["PYTHONPATH"] = str(ROOT)
    return made


def test_a_detached_run_shows_what_it_waits_for_and_is_answered_from_elsewhere(asking: Asking) -> None:
    run_id = asking(*asking.words(NPM, NPM, OTHER), "--detach", "-q").out.strip()
    with following(asking, run_id) as follow:
        asked: set[tuple[str, int]] = set()
        while not {("q0001", 2), ("q0002", 1)} <= asked:
            event = follow.until("approval.asked")
            asked.add((event["id"], event["agents"]))

        shown = asking("answer", run_id)
        assert shown.status == 0
        assert "? q0001 · bash · 2 agents wait" in shown.out
        assert "  │ npm test" in shown.out
        assert f"  callsheet answer {run_id} q0001 yes|no|always|project until 2" in shown.out
        assert f"  callsheet answer {run_id} q0002 yes|no until 2" in shown.out
        as_json = asking("answer", run_id, "--json").json
        assert [(one["id"], one["rules"]) for one in as_json["questions"]] == [("q0001", [RULE]), ("q0002", [])]

        which = asking("answer", run_id, "yes")
        assert which.status == 2
        assert "has 2 open questions: q0001, q0002" in which.err
        wrong = asking("answer", run_id, "q0009", "yes")
        assert wrong.status == 2
        assert "open now: q0001 (bash: npm test), q0002 (edit: src/a.py)" in wrong.err
        assert asking("answer", run_id, "q0001", "maybe").status == 2
        assert asking("answer", run_id, "q0002", "yes", "--say", "x").status == 2

        assert asking("answer", run_id, "q0002", "no", "--say", "not that file").status == 0
        always = asking("answer", run_id, "always")
        assert always.out == f"q0001 of {run_id} is answered: always\n"
        finished = follow.until("run.finished")
    assert finished["result"] == ["run: None", "run: None", "deny: not that file"]
    answered = [event for event in follow.events if event["event"] == "approval.answered"]
    assert {event["by"] for event in answered} == {"a person at the command line"}


def test_following_says_how_a_question_is_answered(asking: Asking) -> None:
    run_id = asking(*asking.words(NPM), "--detach", "-q").out.strip()
    logs = asking.start("logs", run_id, "-f")
    try:
        assert logs.stdout is not None
        told = next(line.decode() for line in iter(logs.stdout.readline, b"") if b"waits for an answer" in line)
        assert told.strip() == f"q0001 waits for an answer: callsheet answer {run_id} q0001 yes|no|always"
        assert asking("answer", "last", "yes").status == 0
        rest = logs.communicate(timeout=120)[0].decode()
    finally:
        logs.kill()
    assert "allowed once q0001 bash npm test · a person at the command line" in rest
    assert "completed" in rest


def test_a_question_at_a_terminal_is_answered_from_elsewhere_and_taken_off_it(asking: Asking) -> None:
    with Terminal(asking, *asking.words(NPM)) as terminal:
        terminal.next("answer: ")
        assert asking("answer", "last", "yes").status == 0
        ended = terminal.end()
    assert "no longer asked" in ended
    assert '"once: None"' in ended


@pytest.mark.parametrize("environ", [{}, {"CI": "true"}])
def test_headless_or_in_ci_nobody_is_waited_for(asking: Asking, environ: dict[str, str]) -> None:
    words = () if environ else ("--headless",)
    run_id = asking(*asking.words(NPM), *words, "--detach", "-q", environ=environ).out.strip()
    with following(asking, run_id) as follow:
        finished = follow.until("run.finished")
    assert finished["result"] == ["unanswered: nobody is there to be asked"]


def test_without_an_answer_it_is_denied_when_the_time_is_up(asking: Asking) -> None:
    run_id = asking(*asking.words(NPM), "--approval-timeout", "1", "--detach", "-q").out.strip()
    with following(asking, run_id) as follow:
        finished = follow.until("run.finished")
    assert finished["result"] == ["unanswered: nobody answered within 1 s"]


def test_a_run_that_asks_nothing_says_so(asking: Asking, command: Command) -> None:
    slow = {"label": "*", "result": "x", "delay_ms": 600_000}
    words = ("run", command.script("return await agent('x')"), "--backend", command.answers(slow), "-d", "-q")
    run_id = command(*words).out.strip()
    try:
        nothing = command("answer", run_id)
        assert (nothing.status, nothing.err) == (0, f"{run_id} asks nothing now.\n")
        refused = command("answer", run_id, "yes")
        assert (refused.status, refused.err) == (2, f"error: {run_id} asks nothing now.\n")
    finally:
        assert command("stop", run_id).status == 0


@pytest.mark.contract("L04")
def test_how_much_more_a_run_may_cost_is_said_from_elsewhere_as_at_the_terminal(asking: Asking) -> None:
    costly = {"cost_usd": 3.0}
    words = [*asking.words(costly, costly, costly, costly), "--cost-stop", "$5", "--max-parallel", "1"]
    run_id = asking(*words, "--detach", "-q").out.strip()
    with following(asking, run_id) as follow:
        follow.until("approval.asked", kind="cost")
        shown = asking("answer", run_id)
        assert f"  callsheet answer {run_id} q0001 yes|no|always|AMOUNT until 2" in shown.out
        refused = asking("answer", run_id, "$0")
        assert refused.status == 2
        assert "'$0' is no answer" in refused.err
        done = asking("answer", run_id, "q0001", "$2")
        assert (done.status, done.out) == (0, f"q0001 of {run_id} is answered: $2.00 more\n")
        follow.until("approval.asked", id="q0002")
        assert "beyond $8.00" in asking("answer", run_id).out
        assert asking("answer", run_id, "7.50").status == 0
        finished = follow.until("run.finished")
    assert finished["status"] == "completed"
    answered = [event for event in follow.events if event["event"] == "approval.answered"]
    assert [(event["verdict"], event["more_usd"]) for event in answered] == [("once", 2.0), ("once", 7.5)]


def test_an_amount_answers_nothing_else(asking: Asking) -> None:
    run_id = asking(*asking.words(NPM), "--detach", "-q").out.strip()
    with following(asking, run_id) as follow:
        follow.until("approval.asked")
        refused = asking("answer", run_id, "5")
        assert refused.status == 2
        assert "q0001 is not answered by it (bash: npm test)" in refused.err
        assert asking("answer", run_id, "no").status == 0
        assert follow.until("run.finished")["result"] == ["deny: None"]
