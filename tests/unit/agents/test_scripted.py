from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from callsheet.agents.scripted import ScriptedBackend
from callsheet.agents.tools.bounds import Bounds
from callsheet.errors import ConfigError
from callsheet.model.approval import Answer, Question
from callsheet.model.call import AgentTask, AgentType, CallOptions, Scope, WorkspaceRef
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.reports import AgentReport, Progress, ToolCalled
from callsheet.model.values import JsonValue
from callsheet.ports import AgentReporter
from tests.support.agents import RecordingReporter, agent_task
from tests.support.deadline import within
from tests.support.workbench import settings

pytestmark = pytest.mark.anyio

NUMBER: dict[str, JsonValue] = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
ITEMS: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}, "more": {"type": "boolean"}},
    "required": ["items", "more"],
}


class Notebook(AgentReporter):
    """Keeps what agents report, and says what the files were like when they did."""

    def __init__(self) -> None:
        self.reports: list[AgentReport] = []
        self.seen: list[bool] = []
        self.watched: Path | None = None

    async def report(self, report: AgentReport) -> None:
        self.reports.append(report)
        if self.watched is not None and isinstance(report, ToolCalled):
            self.seen.append(self.watched.exists())

    async def ask(self, question: Question) -> Answer:
        return Answer(verdict="unanswered")


def backend(
    tmp_path: Path, *answers: Mapping[str, object], otherwise: object = "synthetic", bounds: Bounds | None = None
) -> ScriptedBackend:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"answers": answers, "otherwise": otherwise}), encoding="utf-8")
    return ScriptedBackend.from_file(path, bounds=bounds)


def task(
    label: str = "a",
    *,
    prompt: str = "do it",
    phase: str | None = None,
    schema: dict[str, JsonValue] | None = None,
    root: Path = Path("/nonexistent"),
) -> AgentTask:
    return AgentTask(
        run_id="run_1",
        agent_id="a0001",
        call=1,
        key="k",
        occurrence=1,
        prompt=prompt,
        label=label,
        phase=phase,
        workflow=None,
        options=CallOptions(schema=schema),
        agent_type=AgentType(name="general-purpose", description=""),
        model=None,
        effort=None,
        backend="scripted",
        workspace=WorkspaceRef(root=str(root)),
        max_turns=200,
        run_date="2026-11-21T08:00:00.000Z",
    )


async def run(scripted: ScriptedBackend, asked: AgentTask, reporter: AgentReporter | None = None) -> AgentOutcome:
    with within(5):
        return await scripted.run(asked, reporter or Notebook())


async def values(scripted: ScriptedBackend, tasks: Sequence[AgentTask]) -> list[JsonValue]:
    return [(await run(scripted, asked)).value for asked in tasks]


# --- which entry answers ----------------------------------------------------------------------------------------------


@pytest.mark.contract("A02")
async def test_the_first_entry_that_matches_answers(tmp_path: Path) -> None:
    scripted = backend(
        tmp_path, {"label": "verify:*", "result": "first"}, {"label": "verify:x", "result": "second"}, {"result": "any"}
    )
    asked = [task("verify:x"), task("verify:"), task("Verify:x"), task("other")]
    assert await values(scripted, asked) == ["first", "first", "any", "any"]


async def test_all_that_an_entry_gives_must_match(tmp_path: Path) -> None:
    scripted = backend(
        tmp_path, {"label": "a*", "phase": "Rev*", "prompt": "part of", "result": "yes"}, otherwise={"result": "no"}
    )
    long = "this is a part of a prompt"
    asked = [
        task("ab", phase="Review", prompt=long),
        task("b", phase="Review", prompt=long),
        task("ab", phase="Plan", prompt=long),
        task("ab", phase=None, prompt=long),
        task("ab", phase="Review", prompt="another"),
    ]
    assert await values(scripted, asked) == ["yes", "no", "no", "no", "no"]


async def test_a_label_with_brackets_matches_itself(tmp_path: Path) -> None:
    scripted = backend(tmp_path, {"label": "fix [bug]", "result": "yes"})
    assert await values(scripted, [task("fix [bug]"), task("fix b")]) == ["yes", "yes"]


async def test_an_entry_is_used_up_after_its_times(tmp_path: Path) -> None:
    scripted = backend(tmp_path, {"label": "a", "result": "1", "times": 2}, {"label": "a", "result": "2"})
    assert await values(scripted, [task()] * 4) == ["1", "1", "2", "2"]


async def test_entries_are_used_up_in_the_order_in_which_agents_start(tmp_path: Path) -> None:
    scripted = backend(tmp_path, *[{"result": n, "times": 1, "delay_ms": 30 - 10 * n} for n in range(3)])
    found: dict[str, JsonValue] = {}

    async def one(label: str) -> None:
        found[label] = (await scripted.run(task(label), Notebook())).value

    with within(5):
        async with anyio.create_task_group() as agents:
            for label in ("x", "y", "z"):
                agents.start_soon(one, label)
    assert found == {"x": 0, "y": 1, "z": 2}


async def test_a_result_is_given_as_it_is(tmp_path: Path) -> None:
    result = {"a": [1, 2.5, None, "ü", {"b": True}]}
    outcome = await run(backend(tmp_path, {"result": result}), task())
    assert (outcome.status, outcome.value, outcome.attempts, outcome.model) == ("ok", result, 1, None)


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.contract("A05")
async def test_an_error_ends_the_agent_with_its_status_and_message(tmp_path: Path) -> None:
    scripted = backend(
        tmp_path,
        {"label": "dead", "error": "boom"},
        {"label": "late", "error": "too late", "status": "timed_out"},
        {"label": "skipped", "status": "skipped"},
    )
    outcomes = [await run(scripted, task(label)) for label in ("dead", "late", "skipped")]
    assert [(outcome.status, outcome.error) for outcome in outcomes[:2]] == [
        ("failed", "boom"),
        ("timed_out", "too late"),
    ]
    assert outcomes[2].status == "skipped"
    assert "answers.json" in (outcomes[2].error or "")
    assert [outcome.value for outcome in outcomes] == [None] * 3


@pytest.mark.contract("R04")
async def test_null_is_no_answer_so_the_agent_failed(tmp_path: Path) -> None:
    for otherwise in ("null", None):
        outcome = await run(backend(tmp_path, otherwise=otherwise), task("lonely"))
        assert (outcome.status, outcome.value) == ("failed", None)
        assert "no answer for 'lonely' (otherwise: null)" in (outcome.error or "")
    outcome = await run(backend(tmp_path, {"result": None}), task())
    assert (outcome.status, outcome.value) == ("failed", None)
    assert "null" in (outcome.error or "")


@pytest.mark.contract("R04")
async def test_null_ends_an_agent_with_a_schema_at_once(tmp_path: Path) -> None:
    outcome = await run(backend(tmp_path, otherwise="null"), task(schema=NUMBER))
    assert (outcome.status, outcome.attempts) == ("failed", 1)


async def test_otherwise_fail_ends_the_agent_and_names_the_label(tmp_path: Path) -> None:
    outcome = await run(backend(tmp_path, {"label": "x", "result": ""}, otherwise="fail"), task("unplanned"))
    assert outcome.status == "failed"
    assert "no answer for 'unplanned' (otherwise: fail)" in (outcome.error or "")


async def test_otherwise_may_be_one_result_for_all(tmp_path: Path) -> None:
    assert await values(backend(tmp_path, otherwise={"result": [1]}), [task("x"), task("y")]) == [[1], [1]]


async def test_usage_is_100_and_50_unless_given_and_costs_nothing(tmp_path: Path) -> None:
    scripted = backend(
        tmp_path,
        {"label": "given", "result": "", "usage": {"input_tokens": 7, "output_tokens": 0, "cache_read_tokens": 3}},
        {"label": "partly", "result": "", "usage": {"output_tokens": 9}},
        {"label": "dead", "error": "x"},
    )
    used = [(await run(scripted, task(label))).usage for label in ("given", "partly", "dead", "made up")]
    assert used == [
        Usage(input_tokens=7, cache_read_tokens=3),
        Usage(input_tokens=100, output_tokens=9),
        Usage(input_tokens=100, output_tokens=50),
        Usage(input_tokens=100, output_tokens=50),
    ]


async def test_a_delay_is_waited_out_and_can_be_cancelled(tmp_path: Path) -> None:
    scripted = backend(tmp_path, {"label": "quick", "result": "", "delay_ms": 20}, {"result": "", "delay_ms": 60_000})
    begun = anyio.current_time()
    await run(scripted, task("quick"))
    assert anyio.current_time() - begun >= 0.02
    with within(5), anyio.move_on_after(0.02) as scope:
        await scripted.run(task("slow"), Notebook())
    assert scope.cancelled_caught


# --- schemas ----------------------------------------------------------------------------------------------------------


@pytest.mark.contract("A03")
async def test_wrong_then_right_takes_the_next_entry_for_each_attempt(tmp_path: Path) -> None:
    scripted = backend(tmp_path, {"label": "a", "result": {"n": "no"}}, {"label": "a", "result": {"n": 7}})
    for _ in range(2):
        outcome = await run(scripted, task(schema=NUMBER))
        assert (outcome.status, outcome.value, outcome.attempts) == ("ok", {"n": 7}, 2)


@pytest.mark.contract("A03")
async def test_an_entry_with_times_is_used_up_before_the_next_attempt_goes_on(tmp_path: Path) -> None:
    scripted = backend(tmp_path, {"result": {"n": "no"}, "times": 2}, {"result": {"n": 7}})
    outcome = await run(scripted, task(schema=NUMBER))
    assert (outcome.value, outcome.attempts) == ({"n": 7}, 3)
    assert outcome.usage == Usage(input_tokens=300, output_tokens=150)
    assert (await run(scripted, task(schema=NUMBER))).attempts == 1


@pytest.mark.contract("A03")
async def test_when_the_only_match_is_wrong_all_five_attempts_get_it_and_each_is_booked(tmp_path: Path) -> None:
    outcome = await run(backend(tmp_path, {"label": "a", "result": {"n": "no"}}), task(schema=NUMBER))
    assert (outcome.status, outcome.value, outcome.attempts) == ("invalid", None, 5)
    assert outcome.error == 'none of 5 answers fitted the schema; the last one: /n: "no" is not of type "number"'
    assert outcome.usage == Usage(input_tokens=500, output_tokens=250)


async def test_an_entry_used_up_by_wrong_attempts_leaves_the_rest_to_otherwise(tmp_path: Path) -> None:
    outcome = await run(backend(tmp_path, {"result": {}, "times": 3}), task(schema=NUMBER))
    assert (outcome.status, outcome.value, outcome.attempts) == ("ok", {"n": 1}, 4)


async def test_text_for_a_call_with_a_schema_does_not_fit(tmp_path: Path) -> None:
    outcome = await run(backend(tmp_path, {"result": '{"n": 1}'}), task(schema=NUMBER))
    assert outcome.status == "invalid"
    assert 'is not of type "object"' in (outcome.error or "")


async def test_an_error_in_a_later_attempt_ends_the_agent(tmp_path: Path) -> None:
    outcome = await run(backend(tmp_path, {"result": {}}, {"error": "gone"}), task(schema=NUMBER))
    assert (outcome.status, outcome.error, outcome.attempts) == ("failed", "gone", 2)


# --- synthetic answers ------------------------------------------------------------------------------------------------


async def test_synthetic_text_names_the_label(tmp_path: Path) -> None:
    assert await values(backend(tmp_path), [task("review: x")]) == ["synthetic answer to: review: x"]


async def test_a_file_may_be_empty_and_is_then_all_synthetic(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text("{}", encoding="utf-8")
    assert await values(ScriptedBackend.from_file(path), [task("x")]) == ["synthetic answer to: x"]


async def test_from_the_fourth_for_one_stem_and_schema_on_synthetic_answers_run_dry(tmp_path: Path) -> None:
    scripted = backend(tmp_path)
    full = {"items": ["synthetic items", "synthetic items 2"], "more": True}
    dry = {"items": [], "more": False}
    assert await values(scripted, [task(f"find:{n}", schema=ITEMS) for n in range(5)]) == [full, full, full, dry, dry]
    assert await values(scripted, [task("other", schema=ITEMS)]) == [full]
    assert await values(scripted, [task("find:9", schema={**ITEMS, "title": "another"})]) == [full]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("verify:12", "verify:7"),
        ("find:r1:bugs", "find:r2:bugs"),
        ("round 1", "round 22"),
        ("fix-a#1", "fix-a"),
        ("x", "x"),
    ],
)
async def test_labels_that_differ_in_numbers_share_a_stem(tmp_path: Path, one: str, other: str) -> None:
    scripted = backend(tmp_path)
    await values(scripted, [task(one, schema=ITEMS)] * 3)
    assert await values(scripted, [task(other, schema=ITEMS)]) == [{"items": [], "more": False}]


# --- reports and files ------------------------------------------------------------------------------------------------


async def test_each_attempt_is_reported_with_what_was_used_so_far(tmp_path: Path) -> None:
    notebook = Notebook()
    await run(backend(tmp_path, {"result": {}}, {"result": {"n": 1}}), task(schema=NUMBER), notebook)
    assert notebook.reports == [
        Progress(tokens=50, usage=Usage(input_tokens=100, output_tokens=50)),
        Progress(tokens=100, usage=Usage(input_tokens=200, output_tokens=100)),
    ]


@pytest.mark.contract("R01")
async def test_files_are_written_into_the_workspace_with_the_intent_on_record_first(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    notebook = Notebook()
    notebook.watched = root / "notes" / "a.md"
    scripted = backend(tmp_path, {"result": "ok", "writes": {"notes/a.md": "täxt", "b.txt": ""}})
    outcome = await run(scripted, task(root=root), notebook)
    assert outcome.status == "ok"
    assert outcome.files_changed == ("b.txt", "notes/a.md")
    assert outcome.tools_called == ("write",)
    assert (root / "notes/a.md").read_text(encoding="utf-8") == "täxt"
    assert sorted(path.name for path in root.rglob("*")) == ["a.md", "b.txt", "notes"]
    tools = [report for report in notebook.reports if isinstance(report, ToolCalled)]
    assert [(call.n, call.tool, call.state) for call in tools] == [
        (1, "write", "intent"), (1, "write", "done"), (2, "write", "intent"), (2, "write", "done"),
    ]  # fmt: skip
    assert notebook.seen[:2] == [False, True]


@pytest.mark.parametrize(
    "path", [".git/config", "sub/.GIT/hooks/x", ".claude/settings.json", ".callsheet/x", "out/x", "up"]
)
async def test_protected_paths_and_links_out_are_refused_and_the_agent_fails(tmp_path: Path, path: str) -> None:
    root, outside = tmp_path / "work", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "up").symlink_to(outside / "new")
    notebook = Notebook()
    outcome = await run(backend(tmp_path, {"result": "ok", "writes": {path: "x"}}), task(root=root), notebook)
    assert outcome.status == "failed"
    assert (outcome.error or "").startswith("write: ")
    assert list(outside.iterdir()) == []
    assert sorted(entry.name for entry in root.iterdir()) == ["out", "up"]
    denied = [report for report in notebook.reports if isinstance(report, ToolCalled)]
    assert [call.state for call in denied] == ["denied"]


async def test_a_scope_and_a_read_only_type_hold_for_written_files_too(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    scripted = backend(tmp_path, {"result": "ok", "writes": {"b/x": "x"}})
    asked = task(root=root)
    scoped = replace(asked, options=CallOptions(scope=Scope(write=("a/**",))))
    reader = replace(asked, agent_type=AgentType(name="Explore", description="", read_only=True))
    assert [(await run(scripted, one)).status for one in (scoped, reader)] == ["failed", "failed"]
    assert list(root.iterdir()) == []


async def test_a_file_system_that_refuses_makes_the_agent_fail(tmp_path: Path) -> None:
    root = tmp_path / "work"
    (root / "folder").mkdir(parents=True)
    outcome = await run(backend(tmp_path, {"result": "ok", "writes": {"folder": "x"}}), task(root=root))
    assert outcome.status == "failed"
    assert "folder" in (outcome.error or "")


def test_a_workspace_is_needed_only_where_files_are_written(tmp_path: Path) -> None:
    assert not backend(tmp_path, {"result": ""}).needs_workspace
    assert backend(tmp_path, {"result": ""}, {"result": "", "writes": {"a": ""}}).needs_workspace


def test_the_backend_has_a_name_and_no_model(tmp_path: Path) -> None:
    scripted = backend(tmp_path)
    assert (scripted.name, scripted.default_model()) == ("scripted", None)


async def test_closing_twice_is_fine(tmp_path: Path) -> None:
    scripted = backend(tmp_path)
    await scripted.aclose()
    await scripted.aclose()


# --- files that cannot be used ----------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        ScriptedBackend.from_file(path)
    assert str(path) in caught.value.message
    return caught.value.message


def refusal_of(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return refusal(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nope.json")
    assert "is a directory" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")
    assert "is not a regular file" in refusal(Path("/dev/zero"))


def test_bad_text_is_refused_with_its_place(tmp_path: Path) -> None:
    assert "is not UTF-8: byte 0xff in line 2" in refusal_of(tmp_path, b'{\n"a": "\xff"}')
    assert "is not JSON: line 2, column 14: " in refusal_of(tmp_path, '{\n "answers": [,]}')
    assert "is not JSON: NaN is no number of JSON" in refusal_of(tmp_path, '{"otherwise": {"result": NaN}}')
    assert "nests too deep" in refusal_of(tmp_path, "[" * 100_000)
    assert "holds no JSON object" in refusal_of(tmp_path, "[]")
    assert "is not JSON: line 1, column 1" in refusal_of(tmp_path, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            {"answers": [{"result": 1}, {"lable": "x", "result": 1}]},
            "answers[1].lable: there is no such key; did you mean `label`?",
        ),
        (
            {"answers": [{"result": 1, "zzz": 1}]},
            "answers[0].zzz: there is no such key; there are label, prompt, phase, result",
        ),
        ({"answer": []}, "answer: there is no such key; did you mean `answers`?"),
        ({"answers": [{"label": 3, "result": 1}]}, "answers[0].label: is not text"),
        ({"answers": [{"label": "x"}]}, "answers[0]: says neither `result` nor `error`"),
        ({"answers": [{"result": 1, "error": "x"}]}, "answers[0]: give `result`, or `error` and `status`, not both"),
        ({"answers": [{"error": "x", "status": "ok"}]}, "answers[0]: an agent that is `ok` has no `error`"),
        ({"answers": [{"error": "x", "status": "dead"}]}, "answers[0].status: is none of ok, failed, skipped"),
        ({"answers": [{"result": 1, "times": 0}]}, "answers[0].times: is not a whole number from 1 up"),
        (
            {"answers": [{"result": 1, "delay_ms": -1}]},
            "answers[0].delay_ms: is not a number of milliseconds from 0",
        ),
        (
            {"answers": [{"result": 1, "usage": {"output": 1}}]},
            "answers[0].usage.output: there is no such key; did you mean `output_tokens`?",
        ),
        (
            {"answers": [{"result": 1, "writes": {"/etc/x": ""}}]},
            "answers[0].writes: '/etc/x' is not a path relative to the workspace",
        ),
        ({"answers": [{"result": 1, "writes": {"a/../../x": ""}}]}, "answers[0].writes: 'a/../../x' is not a path"),
        ({"answers": [3]}, "answers[0]: is not an object such as"),
        ({"answers": [{"result": 1, "writes": {"a": 1}}]}, "answers[0].writes: is not an object of paths and texts"),
        ({"answers": [{"result": 1, "usage": 7}]}, "answers[0].usage: is not an object with input_tokens"),
        ({"answers": [{"result": 1, "times": True}]}, "answers[0].times: is not a whole number"),
        ({"otherwise": {}}, "otherwise: says no `result`"),
        ({"answers": {}}, "answers: is not a list of entries"),
        ({"otherwise": "syntetic"}, 'otherwise: is not "synthetic", "null", "fail" or {"result": …}'),
        ({"otherwise": {"results": 1}}, "otherwise.results: there is no such key; did you mean `result`?"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_place(tmp_path: Path, text: object, said: str) -> None:
    assert said in refusal_of(tmp_path, json.dumps(text))


def test_many_wrong_entries_are_counted_after_five(tmp_path: Path) -> None:
    assert "; and 7 more" in refusal_of(tmp_path, json.dumps({"answers": [{}] * 12}))


def test_a_byte_order_mark_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_bytes(b'\xef\xbb\xbf{"answers": []}')
    ScriptedBackend.from_file(path)


async def test_written_files_obey_the_rules_and_a_person_may_allow_them(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    root.mkdir()
    bounds = Bounds(settings=settings(root, deny=("Edit(docs/**)",)), home=tmp_path)
    writes = {"a.txt": "one", ".envrc": "two", "docs/b.txt": "three"}
    reporter = RecordingReporter(Answer(verdict="once"))
    with within():
        outcome = await backend(tmp_path, {"writes": writes, "result": "x"}, bounds=bounds).run(
            agent_task(root), reporter
        )
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "denies" in outcome.error
    assert outcome.files_changed == (".envrc", "a.txt")
    (question,) = reporter.questions
    assert question.input == ".envrc"
    assert [(call.state, call.rule) for call in reporter.of(ToolCalled)][-1] == ("denied", "Edit(docs/**)")
