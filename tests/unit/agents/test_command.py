from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from callsheet.agents.command import CommandBackend
from callsheet.agents.tools.bounds import Bounds
from callsheet.confinement.unconfined import Unconfined
from callsheet.model.call import AgentType
from callsheet.model.outcome import AgentOutcome, Ran
from callsheet.model.reports import ToolCalled, Touched
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.workbench import appears

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def program(*words: str, **more: Any) -> AgentType:
    return AgentType(name="lint", description="Lints.", command=words, source="settings", **more)


async def run(
    root: Path,
    kind: AgentType,
    prompt: str = "Do it",
    *,
    reporter: RecordingReporter | None = None,
    bounds: Bounds | None = None,
    **options: Any,
) -> AgentOutcome:
    backend = CommandBackend(bounds=bounds or Bounds(unconfined=True))
    with within(30):
        return await backend.run(agent_task(root, prompt, kind=kind, **options), reporter or RecordingReporter())


async def test_the_prompt_is_standard_input_and_the_output_the_text(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    kind = program("sh", "-c", 'cat; echo " from $1"; echo aside >&2', "name", "$(touch ran)")
    outcome = await run(tmp_path, kind, "$(touch ran); `touch ran`\nhello", reporter=reporter)
    assert (outcome.status, outcome.error) == ("ok", None)
    assert outcome.value == "$(touch ran); `touch ran`\nhello from $(touch ran)"
    assert outcome.ran == Ran(exit_status=0, stdout=f"{outcome.value}\n", stderr="aside\n")
    assert not (tmp_path / "ran").exists()
    assert [(call.tool, call.state) for call in reporter.of(ToolCalled)] == [("command", "intent"), ("command", "done")]
    assert [message["role"] for message in reporter.messages] == ["user", "assistant"]


async def test_shared_context_comes_before_the_prompt(tmp_path: Path) -> None:
    assert (await run(tmp_path, program("cat"), "the task", context="shared")).value == "shared\n\nthe task"


async def test_a_status_other_than_0_is_a_failure_with_the_output(tmp_path: Path) -> None:
    outcome = await run(tmp_path, program("sh", "-c", "echo out; echo wrong >&2; exit 3"))
    assert (outcome.status, outcome.value, outcome.error) == ("failed", None, "exit status 3: wrong")
    assert outcome.ran == Ran(exit_status=3, stdout="out\n", stderr="wrong\n")
    quiet = await run(tmp_path, program("sh", "-c", "echo out; exit 1"))
    assert quiet.error == "exit status 1: out"


@pytest.mark.contract("A03")
@pytest.mark.parametrize(
    ("output", "status", "said"),
    [
        ('{"n": 3}', "ok", None),
        ('{"n": "3"}', "invalid", "does not fit the schema"),
        ("three", "invalid", "is not JSON"),
        ('{"n": NaN}', "invalid", "NaN is not a JSON number"),
        ("[" * 100_000, "invalid", "is not JSON"),
    ],
)
async def test_with_a_schema_the_output_is_json_and_validated(
    tmp_path: Path, output: str, status: str, said: str | None
) -> None:
    outcome = await run(tmp_path, program("cat"), output, schema=SCHEMA)
    assert outcome.status == status
    assert outcome.value == ({"n": 3} if status == "ok" else None)
    assert said is None or said in (outcome.error or "")


async def test_what_it_changed_is_known_and_it_starts_where_the_call_says(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    outcome = await run(tmp_path, program("touch", "made.txt"), cwd="sub")
    assert outcome.files_changed == ("sub/made.txt",)
    assert outcome.tools_called == ("command",)


async def test_it_is_held_as_agents_commands_are(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    root.mkdir()
    bounds = Bounds(home=tmp_path / "home", hidden=(tmp_path / "secret",))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("PRIVATE", encoding="utf-8")
    held = await bounds.held()
    outcome = await run(root, program("cat", str(tmp_path / "secret" / "key")), bounds=bounds)
    assert outcome.status == "failed"
    assert "PRIVATE" not in str(outcome)
    assert held.is_needed == ("--unconfined" in (outcome.error or ""))


async def test_where_nothing_confines_it_is_not_run_and_says_what_to_do(tmp_path: Path) -> None:
    outcome = await run(tmp_path, program("touch", "ran"), bounds=Bounds(confinement=Unconfined()))
    assert outcome.status == "failed"
    assert "--unconfined" in (outcome.error or "")
    assert not (tmp_path / "ran").exists()


async def test_its_own_time_limit_ends_it(tmp_path: Path) -> None:
    outcome = await run(tmp_path, program("sleep", "1000", timeout_s=0.3))
    assert outcome.status == "timed_out"
    assert "after 0.3 s" in (outcome.error or "")


async def test_cancelling_ends_the_program_and_the_intent_stays_on_record(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    with within(30):
        async with anyio.create_task_group() as tasks:
            kind = program("sh", "-c", "touch began; sleep 2; touch late")
            tasks.start_soon(lambda: run(tmp_path, kind, reporter=reporter))
            assert await appears(tmp_path / "began")
            tasks.cancel_scope.cancel()
    assert [call.state for call in reporter.of(ToolCalled)] == ["intent"]
    assert not (tmp_path / "late").exists()
    assert reporter.of(Touched) == [Touched(files_changed=("began",), tools_called=("command",))]


async def test_a_scope_holds_for_what_it_writes(tmp_path: Path) -> None:
    bounds = Bounds(home=tmp_path / "home")
    if (await bounds.held()).is_needed:
        return
    root = tmp_path / "ws"
    (root / "docs").mkdir(parents=True)
    from callsheet.model.call import Scope

    kind = program("sh", "-c", "touch docs/yes; touch no")
    outcome = await run(root, kind, bounds=bounds, scope=Scope(write=("docs/**",)))
    assert outcome.status == "failed"
    assert ((root / "docs" / "yes").exists(), (root / "no").exists()) == (True, False)
