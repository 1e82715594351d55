"""Who is asked about a tool call, with what words, and what follows from the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.names import ToolName
from callsheet.model.approval import Answer, Question
from callsheet.model.call import Scope
from callsheet.model.reports import ToolCalled
from callsheet.permissions.modes import Mode
from tests.support.agents import RecordingReporter
from tests.support.workbench import READ_ONLY, Bench, settings

pytestmark = pytest.mark.anyio

ONCE, RUN = Answer(verdict="once"), Answer(verdict="run")
INPUTS: dict[ToolName, dict[str, str]] = {
    "read": {},
    "write": {"content": "x"},
    "edit": {"old_string": "outside", "new_string": "x"},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside" / "a.txt"
    path.parent.mkdir()
    path.write_text("outside needle", encoding="utf-8")
    return path


def bench_of(root: Path, *answers: Answer, options: dict[str, Any] | None = None, **flags: Any) -> Bench:
    bounds = Bounds(settings=settings(root, **flags), home=root.parent / "home")
    return Bench(root, bounds=bounds, reporter=RecordingReporter(*answers), **(options or {}))


@pytest.mark.parametrize("name", INPUTS)
async def test_a_path_outside_is_denied_where_nobody_answers(root: Path, outside: Path, name: ToolName) -> None:
    bench = bench_of(root)
    told = await bench.refusal(name, file_path=str(outside), **INPUTS[name])
    assert "outside the workspace" in told
    assert "Nobody allowed it" in told
    (call,) = bench.reporter.of(ToolCalled)
    assert (call.state, call.rule) == ("denied", "outside the workspace")
    assert call.would_allow
    assert bench.text("../outside/a.txt") == "outside needle"


async def test_a_path_outside_that_a_person_allows_is_read_and_named_in_full(root: Path, outside: Path) -> None:
    bench = bench_of(root, ONCE, ONCE)
    assert await bench("read", file_path=str(outside)) == "outside needle"
    await bench("edit", file_path=str(outside), old_string="outside", new_string="x")
    assert bench.bench.files_read == bench.bench.files_changed == {str(outside)}
    assert "outside" in await bench.refusal("read", file_path=str(outside)), "once is once"


async def test_a_search_outside_that_a_person_allows_shows_what_is_there(root: Path, outside: Path) -> None:
    bench = bench_of(root, ONCE, ONCE)
    assert "outside needle" in await bench("grep", pattern="needle", path=str(outside.parent))
    assert str(outside) in await bench("glob", pattern="*", path=str(outside.parent))


async def test_an_added_folder_is_worked_in_as_the_workspace_is(root: Path, outside: Path) -> None:
    bench = bench_of(root, folders=(outside.parent,))
    assert await bench("read", file_path=str(outside)) == "outside needle"
    await bench("write", file_path=str(outside.parent / "new.txt"), content="x")
    assert "needle" in await bench("grep", pattern="needle", path=str(outside.parent))
    assert bench.reporter.questions == []


@pytest.mark.parametrize("options", [{"scope": Scope(write=("src/**",))}, {"kind": READ_ONLY}], ids=["scope", "type"])
async def test_an_added_folder_widens_no_agent_that_is_narrowed(
    root: Path, outside: Path, options: dict[str, Any]
) -> None:
    bench = bench_of(root, ONCE, options=options, folders=(outside.parent,), allow=(f"Edit(/{outside})",))
    await bench.refusal("write", file_path=str(outside), content="x")
    assert await bench("read", file_path=str(outside)) == "outside needle"
    assert bench.reporter.questions == []


async def test_in_mode_ask_each_change_is_asked_and_a_rule_for_the_run_ends_that(root: Path) -> None:
    bench = bench_of(root, RUN, mode=Mode.ASK)
    await bench("write", file_path="a.txt", content="x")
    await bench("write", file_path="a.txt", content="y")
    (question,) = bench.reporter.questions
    assert (question.tool, question.input) == ("write", "a.txt")
    assert "needle" not in await bench("grep", pattern="needle")


async def test_a_protected_path_may_be_allowed_once_and_by_no_rule(root: Path) -> None:
    bench = bench_of(root, ONCE)
    await bench("write", file_path=".envrc", content="x")
    (question,) = bench.reporter.questions
    assert question.rules == ()
    assert "protected" in question.reason
    assert "protected" in await bench.refusal("write", file_path=".envrc", content="y")


async def test_files_that_a_rule_denies_are_in_no_search(root: Path) -> None:
    bench = bench_of(root, ONCE, deny=("Read(secret/**)",))
    bench.put("secret/a.txt", "needle")
    bench.put("b.txt", "needle")
    assert "secret/a.txt" not in await bench("grep", pattern="needle") + await bench("glob", pattern="**")
    assert await bench("grep", pattern="needle", path="secret") == "no matches"
    assert "denies" in await bench.refusal("read", file_path="secret/a.txt")
    assert bench.reporter.questions == []


async def test_when_rules_changed_while_it_waited_it_is_decided_anew_and_asked_again_where_they_do_not_reach(
    root: Path, outside: Path
) -> None:
    beside = outside.parent / "b.txt"

    class Granting(RecordingReporter):
        async def ask(self, question: Question) -> Answer:
            answer = await super().ask(question)
            if answer.verdict == "changed":
                bounds.grant((f"Read(/{outside})",), root=root)
            return answer

    changed = Answer(verdict="changed")
    bounds = Bounds(settings=settings(root), home=root)
    bench = Bench(root, bounds=bounds, reporter=Granting(changed, changed))
    beside.write_text("beside", encoding="utf-8")
    assert await bench("read", file_path=str(outside)) == "outside needle"
    assert len(bench.reporter.questions) == 1 and bench.reporter.questions[0].is_rechecked
    assert "Nobody allowed it" in await bench.refusal("read", file_path=str(beside))
    assert len(bench.reporter.questions) == 3, "the rule does not reach it: a person is asked again"


async def test_what_was_allowed_is_what_was_asked_about(root: Path, outside: Path) -> None:
    class Swapping(RecordingReporter):
        async def ask(self, question: Question) -> Answer:
            (root / "link").unlink()
            (root / "link").symlink_to(root / "b.txt")
            return ONCE

    bounds = Bounds(settings=settings(root, mode=Mode.ASK), home=root)
    bench = Bench(root, bounds=bounds, reporter=Swapping())
    bench.put("a.txt", "a")
    bench.put("b.txt", "b")
    (root / "link").symlink_to(root / "a.txt")
    assert "elsewhere" in await bench.refusal("edit", file_path="link", old_string="b", new_string="x")
    assert bench.text("b.txt") == "b"


async def test_what_a_rule_denies_by_the_time_of_the_answer_stays_denied(root: Path) -> None:
    class Hiding(RecordingReporter):
        async def ask(self, question: Question) -> Answer:
            (root / "a.txt").rename(root / "was-a.txt")
            (root / "a.txt").symlink_to(root / ".callsheet" / "db")
            return ONCE

    bench = Bench(root, bounds=Bounds(settings=settings(root, mode=Mode.ASK), home=root), reporter=Hiding())
    bench.put("a.txt", "a")
    bench.put(".callsheet/db", "record")
    assert "record" in await bench.refusal("edit", file_path="a.txt", old_string="a", new_string="x")
    assert bench.text(".callsheet/db") == "record"


async def test_a_rule_that_cannot_be_read_grants_nothing(root: Path) -> None:
    bounds = Bounds(home=root)
    bounds.grant(("Bash(", "NoSuchTool(x)"), root=root)
    assert bounds.version == 0
    assert bounds.settings.rules == ()


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("npm test", "Go another way"),
        ("cat <(ls)", "Write it more plainly, or in several commands."),
        ("LD_PRELOAD=x ls", "Leave it out."),
    ],
)
async def test_a_person_is_told_why_and_only_the_agent_what_it_can_do_instead(
    root: Path, command: str, advice: str
) -> None:
    bench = bench_of(root, Answer(verdict="deny"), Answer(verdict="unanswered"))
    told = [await bench.refusal("bash", command=command) for _ in range(2)]
    for question in bench.reporter.questions:
        assert advice not in question.reason
        assert "another way" not in question.reason
        assert question.reason.endswith(".")
    assert advice in told[1]
    assert told[1].count("another way") == 1
