"""The Python API, in this process, over the real sandbox, engine and record."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import reduce
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

import callsheet
from callsheet.app import workers
from callsheet.errors import ConfigError, LeaseHeldError, NotFoundError, ScriptRefusedError, UsageError
from callsheet.model.events import Event
from callsheet.model.values import JsonValue
from callsheet.ports import EventSink
from tests.support.asking import AskingBackend
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case' }\n"


class Folder:
    """A workspace with a script and its answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "answers.json").write_text(
            json.dumps({"answers": [{"label": "slow", "result": "x", "delay_ms": 600_000}], "otherwise": "synthetic"}),
            encoding="utf-8",
        )

    def script(self, body: str) -> str:
        (self.root / "case.js").write_text(META + body, encoding="utf-8")
        return "./case.js"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return Folder(tmp_path / "work")


ANSWERS = "scripted:answers.json"


@pytest.mark.contract("G01")
async def test_a_script_runs_to_its_end(folder: Folder) -> None:
    script = folder.script("return { args, a: await agent('p', { label: 'one' }) }")

    with within(30):
        result = await callsheet.run(script, args={"n": [1, None]}, backend=ANSWERS)

    assert result.status == "completed"
    assert result.result == {"args": {"n": [1, None]}, "a": "synthetic answer to: one"}
    assert (result.backend, result.workflow, len(result.agents)) == ("scripted", "case", 1)


@pytest.mark.contract("G01")
@pytest.mark.parametrize(
    ("args", "why"),
    [
        (reduce(lambda inner, _: [inner], range(100_000), cast(JsonValue, 1)), "nested too deeply"),
        (float("nan"), "not JSON"),
        (cast(JsonValue, {1, 2}), "not JSON"),
    ],
    ids=["deep", "nan", "a set"],
)
async def test_args_that_json_cannot_hold_are_refused_before_anything_starts(
    folder: Folder, args: JsonValue, why: str
) -> None:
    with within(), pytest.raises(UsageError, match=f"args are {why}"):
        await callsheet.run(folder.script("return args"), args=args, backend=ANSWERS)
    assert not (folder.root / ".callsheet").exists()


@pytest.mark.contract("G01")
async def test_a_misspelled_option_is_refused_since_it_could_be_a_budget(folder: Folder) -> None:
    folder.script("return 1")
    options: dict[str, Any] = {"budget_usd": 3}
    with within(10):
        with pytest.raises(UsageError, match=r"no option budget_usd: is budget meant\?"):
            await callsheet.run("case.js", **options)
        with pytest.raises(UsageError, match="no option budget_usd"):
            await callsheet.resume(**options)
        with pytest.raises(UsageError, match="no option budget_usd"):
            await callsheet.rehearse("case.js", **options)


async def test_no_args_are_undefined_and_none_is_null(folder: Folder) -> None:
    script = folder.script("return typeof args")

    with within(30):
        assert (await callsheet.run(script, backend=ANSWERS)).result == "undefined"
        assert (await callsheet.run(script, backend=ANSWERS, args=None)).result == "object"


async def test_events_are_followed_from_the_first_to_the_last(folder: Folder) -> None:
    with within(30):
        async with callsheet.open_run(folder.script("log('x'); return 1"), backend=ANSWERS) as run:
            names = [event.name async for event in run.events()]
            result = await run.result()

    assert (names[0], names[-1]) == ("run.started", "run.finished")
    assert "log" in names
    assert result.run_id == run.run_id


class Counter(EventSink):
    """Keeps the numbers of events."""

    def __init__(self) -> None:
        self.seqs: list[int] = []

    def on_event(self, event: Event) -> None:
        self.seqs.append(event.seq)


async def test_sinks_are_given_every_event(folder: Folder) -> None:
    sink = Counter()
    with within(30):
        await callsheet.run(folder.script("log('x'); return 1"), backend=ANSWERS, sinks=(sink,))

    assert sink.seqs == list(range(1, len(sink.seqs) + 1))


async def test_a_run_can_be_stopped(folder: Folder) -> None:
    with within(30):
        async with callsheet.open_run(folder.script("await agent('p', { label: 'slow' })"), backend=ANSWERS) as run:
            async for event in run.events():
                if event.name == "agent.started":
                    break
            await run.stop()
            result = await run.result()

    assert (result.status, result.stopped_by_person) == ("cancelled", True)
    assert [agent.status for agent in result.agents] == ["cancelled"]


async def test_leaving_a_run_ends_it_and_closes_its_record(folder: Folder) -> None:
    with within(30):
        async with callsheet.open_run(folder.script("await agent('p', { label: 'slow' })"), backend=ANSWERS) as run:
            async for event in run.events():
                if event.name == "agent.started":
                    break

    with closing(sqlite3.connect(folder.root / ".callsheet" / "callsheet.db")) as db:
        assert db.execute("select status from runs").fetchall() == [("cancelled",)]


async def test_cancelling_a_run_ends_it_in_time(folder: Folder) -> None:
    script = folder.script("await agent('p', { label: 'slow' })")
    started = anyio.Event()

    class Starter(EventSink):
        def on_event(self, event: Event) -> None:
            if event.name == "agent.started":
                started.set()

    with within(30):
        async with anyio.create_task_group() as group:

            async def work() -> None:
                await callsheet.run(script, backend=ANSWERS, sinks=(Starter(),))

            group.start_soon(work)
            await started.wait()
            with within(6):
                group.cancel_scope.cancel()

    with closing(sqlite3.connect(folder.root / ".callsheet" / "callsheet.db")) as db:
        assert db.execute("select status from runs").fetchall() == [("cancelled",)]


async def test_errors_come_by_themselves_and_never_in_groups(folder: Folder) -> None:
    script = folder.script("return 1")
    with within(30):
        with pytest.raises(ScriptRefusedError, match=r"no file none\.js"):
            await callsheet.run("none.js", backend=ANSWERS)
        with pytest.raises(NotFoundError):
            await callsheet.run("nothing", backend=ANSWERS)
        with pytest.raises(ConfigError, match="--max-parallel is 0"):
            await callsheet.run(script, backend=ANSWERS, max_parallel=0)
        with pytest.raises(ConfigError):
            await callsheet.run(script, backend="scripted:none.json")
        with pytest.raises(ScriptRefusedError) as refused:
            await callsheet.run(folder.script("const x = ;"), backend=ANSWERS)

    assert refused.value.place is not None and refused.value.place.line == 2


@pytest.mark.contract("G03", "D07")
async def test_options_reach_the_run(folder: Folder) -> None:
    with within(30):
        result = await callsheet.run(
            folder.script("return [budget.total, budget.cost.total]"),
            backend=ANSWERS,
            budget="2k $3",
            memory_limit="64M",
            store=folder.root / "own.db",
            workspace=folder.root,
        )
        limited = await callsheet.run(folder.script("for (;;);"), backend=ANSWERS, cpu_limit=0.2)

    assert result.result == [2_000, 3]
    assert (folder.root / "own.db").is_file()
    assert limited.status == "failed" and limited.error is not None and limited.error.kind == "limit"


async def test_a_run_goes_by_its_config_which_may_name_the_script(folder: Folder) -> None:
    (folder.root / "other.js").write_text(f"{META}return 'other'", encoding="utf-8")
    folder.script("return [budget.total, await agent('p')]")
    config = folder.root / "run.yaml"
    config.write_text("workflow: {script: case.js, max_agents: 9, budget: {output_tokens: 70}}", encoding="utf-8")

    with within(30):
        result = await callsheet.run(config=config, backend=ANSWERS, log_file="log.jsonl")
        other = await callsheet.run("other.js", config=config, backend=ANSWERS)
        again = await callsheet.resume(result.run_id, config=config)

    assert (result.status, result.result, other.result) == ("completed", [70, "synthetic answer to: p"], "other")
    assert again.resumed is not None and [call.reused for call in again.resumed.calls] == [True]
    assert (folder.root / "log.jsonl").read_text(encoding="utf-8").count('"run.finished"') == 2
    with within(30), pytest.raises(UsageError, match="there is no script to run"):
        await callsheet.run(backend=ANSWERS)


async def test_two_runs_at_once_in_one_process_do_not_meet(folder: Folder) -> None:
    script = folder.script("globalThis.n = (globalThis.n ?? 0) + 1; await agent('p'); return [args, n]")
    results: dict[int, object] = {}

    async def work(number: int) -> None:
        results[number] = (await callsheet.run(script, args=number, backend=ANSWERS)).result

    with within(60):
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(work, number)

    assert results == {number: [number, 1] for number in range(3)}


# --- approvers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def asking_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that ask what their prompt says."""
    monkeypatch.setattr(workers, "load_backend", lambda *_args, **_options: AskingBackend())


NPM = json.dumps({"input": "npm test", "rules": ["Bash(npm test:*)"]})


@pytest.mark.usefixtures("asking_agents")
async def test_an_approver_answers_for_the_program(folder: Folder) -> None:
    asked: list[callsheet.Question] = []

    class Policy(callsheet.Approver):
        async def answer(self, question: callsheet.Question) -> callsheet.Answer:
            asked.append(question)
            return callsheet.Answer(verdict="run") if question.tool == "bash" else callsheet.Answer(verdict="deny")

    fetch = json.dumps({"input": "https://example.com", "tool": "web_fetch"})
    script = folder.script(
        "const all = await Promise.all([agent(args[0]), agent(args[0]), agent(args[1])]);"
        "return [...all, await agent(args[0])]"
    )

    with within(30):
        result = await callsheet.run(script, args=[NPM, fetch], backend=ANSWERS, approver=Policy())

    assert result.result == ["run: None", "run: None", "deny: None", "run: None"]
    assert [(one.tool, one.input, one.rules) for one in asked] == [
        ("bash", "npm test", ("Bash(npm test:*)",)),
        ("web_fetch", "https://example.com", ()),
    ]
    assert result.status == "completed"


@pytest.mark.usefixtures("asking_agents")
async def test_an_approver_that_does_not_answer_in_time_is_told_by_being_cancelled(folder: Folder) -> None:
    cancelled: list[str] = []

    class Absent:
        async def answer(self, question: callsheet.Question) -> callsheet.Answer:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                cancelled.append(question.input)
                raise
            raise AssertionError

    with within(30):
        result = await callsheet.run(
            folder.script("return await agent(args)"),
            args=NPM, backend=ANSWERS, approver=Absent(), approval_timeout=1,
        )  # fmt: skip

    assert result.result == "unanswered: nobody answered within 1 s"
    assert cancelled == ["npm test"]
    assert result.denials[0].would_allow == ("Bash(npm test:*)",)


@pytest.mark.usefixtures("asking_agents")
async def test_without_an_approver_nobody_is_asked(folder: Folder) -> None:
    with within(30):
        result = await callsheet.run(folder.script("return await agent(args)"), args=NPM, backend=ANSWERS)

    assert result.result == "unanswered: nobody is there to be asked"


async def test_a_second_run_is_refused_where_the_first_may_write_unless_both_share(folder: Folder) -> None:
    (folder.root / "answers.json").write_text(
        json.dumps({"answers": [{"label": "slow", "result": "x", "delay_ms": 600_000, "writes": {"a": "b"}}]}),
        encoding="utf-8",
    )
    script = folder.script("return args ?? await agent('p', { label: 'slow' })")

    with within(30):
        async with callsheet.open_run(script, backend=ANSWERS, share=True):
            with pytest.raises(LeaseHeldError):
                await callsheet.run(script, backend=ANSWERS, args=1)
            with pytest.raises(LeaseHeldError):
                await callsheet.run(script, backend=ANSWERS, args=1, wait=0.1)
            assert (await callsheet.run(script, backend=ANSWERS, args=1, share=True)).status == "completed"
        assert (await callsheet.run(script, backend=ANSWERS, args=1, wait=True)).status == "completed"
    with pytest.raises(UsageError, match="exclude each other"):
        await callsheet.run(script, backend=ANSWERS, share=True, worktree=True)
    with pytest.raises(ConfigError, match="worktree cannot be made"):
        await callsheet.run(script, backend=ANSWERS, worktree=True)


@pytest.mark.contract("R01", "R04")
async def test_a_run_is_resumed(folder: Folder) -> None:
    failing = {"answers": [{"label": "a", "error": "no", "status": "failed"}], "otherwise": "synthetic"}
    answers = folder.root / "answers.json"
    text = answers.read_text(encoding="utf-8")
    answers.write_text(json.dumps(failing), encoding="utf-8")
    body = "return await parallel(['a', 'b'].map(x => () => agent(x, { label: x })))"

    with within(30):
        first = await callsheet.run(folder.script(body), backend=ANSWERS)
        answers.write_text(text, encoding="utf-8")
        again = await callsheet.resume(first.run_id)

    assert (first.status, again.status, again.run_id) == ("degraded", "completed", first.run_id)
    assert again.resumed is not None
    assert [(call.label, call.reused) for call in again.resumed.calls] == [("a", False), ("b", True)]


async def test_what_was_run_is_listed_and_told_again_as_it_was(folder: Folder) -> None:
    with within(30):
        first = await callsheet.run(folder.script("log('x')\nreturn await agent('a', { label: 'a' })"), backend=ANSWERS)
        again = await callsheet.resume(first.run_id)
        other = await callsheet.run(folder.script("throw new Error('no')"), backend=ANSWERS)

    assert [(run.run_id, run.status) for run in callsheet.runs()] == [
        (other.run_id, "failed"),
        (first.run_id, "completed"),
    ]
    assert callsheet.runs(limit=1)[0].run_id == other.run_id
    assert callsheet.recorded() == other
    assert callsheet.recorded(first.run_id) == again
    with pytest.raises(NotFoundError, match="has no run run_none"):
        callsheet.recorded("run_none")
