"""Rehearsals, in this process, over the real sandbox and engine: what is told, and that nothing is touched."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

import callsheet
from callsheet.app.large_run import may_repeat
from callsheet.errors import ConfigError, NotFoundError, ScriptRefusedError, StoreError
from callsheet.model.rehearsal import Rehearsal
from tests.support.deadline import within

pytestmark = pytest.mark.anyio

META = "export const meta = { name: 'case', description: 'a case', phases: [{ title: 'Map' }, { title: 'Sum' }] }\n"
SCHEMA = "{ type: 'object', required: ['items'], properties: { items: { type: 'array', items: { type: 'string' } } } }"


class Folder:
    """A workspace without git."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def script(self, body: str) -> str:
        (self.root / "case.js").write_text(META + body, encoding="utf-8")
        return "./case.js"

    def file(self, name: str, text: str) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    def answers(self, *answers: object, name: str = "answers.json") -> str:
        return self.file(name, json.dumps({"answers": answers}))

    def all_files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "ANTHROPIC_API_KEY", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path / "work")
    return Folder(tmp_path / "work")


async def _told(folder: Folder, body: str, **options: object) -> Rehearsal:
    with within(60):
        return await callsheet.rehearse(folder.script(body), **options)  # type: ignore[arg-type]


# --- agents -----------------------------------------------------------------------------------------------------------

FAN = """
phase('Map')
const found = await parallel(args.map(name => () => agent(`read ${name}`, { label: name, model: 'haiku' })))
phase('Sum')
return await agent(`sum up ${found.join()}`, { agentType: 'Explore', speed: 'fast', model: 'opus' })
"""


async def test_agents_are_counted_by_phase_type_model_and_speed(folder: Folder) -> None:
    told = await _told(folder, FAN, args=[f"f{number}" for number in range(40)])

    assert (told.agents, told.is_exact, told.most_at_once, told.status) == (41, True, 16, "completed")
    assert [(phase.title, phase.agents) for phase in told.phases] == [("Map", 40), ("Sum", 1)]
    rows = [(group.phase, group.agent_type, group.model, group.speed, group.agents) for group in told.groups]
    assert rows == [
        ("Map", "general-purpose", "claude-haiku-5-5", "standard", 40),
        ("Sum", "Explore", "claude-opus-5-5", "fast", 1),
    ]
    assert told.fast_agents == 1
    assert told.fast_cost_share is not None
    assert 0 < told.fast_cost_share < 1


async def test_nothing_is_written_anywhere(folder: Folder) -> None:
    folder.answers({"label": "*", "result": "x", "writes": {"made.txt": "no"}})
    script = folder.script("await agent('a', { isolation: 'worktree' }); return await agent('b')")
    await anyio.run_process(["git", "init", "-q"], cwd=folder.root)
    before = folder.all_files()
    with within(60):
        await callsheet.rehearse(script, answers_from="answers.json")

    assert folder.all_files() == before
    assert not list((folder.root.parent / "home").iterdir())


async def test_neither_agents_nor_timers_nor_delays_take_real_time(folder: Folder) -> None:
    folder.answers({"label": "slow", "result": "x", "delay_ms": 600_000})
    told = await _told(
        folder,
        "await agent('a', { label: 'slow' }); await new Promise(done => setTimeout(done, 3_600_000))",
        answers_from="answers.json",
    )
    assert told.duration_s == 3_660


async def test_a_race_against_a_timer_is_won_by_who_would_win_it(folder: Folder) -> None:
    body = """
    const sleep = ms => new Promise(done => setTimeout(() => done('late'), ms))
    const first = await Promise.race([agent('a'), sleep(1_000)])
    const second = await Promise.race([agent('b'), sleep(600_000)])
    if (first === 'late') await agent('c')
    if (second === 'late') await agent('d')
    """
    told = await _told(folder, body)
    assert told.agents == 3
    assert not told.is_exact


async def test_two_rehearsals_tell_the_same(folder: Folder) -> None:
    body = FAN + "\nif (Math.random() > 2) await agent('never')"
    first = await _told(folder, body, args=["a", "b"])
    second = await _told(folder, body, args=["a", "b"])
    assert first == second


# --- what depends on answers ------------------------------------------------------------------------------------------

LOOP = f"""
const seen = []
while (true) {{
  const found = await agent('find more', {{ label: 'find', schema: {SCHEMA} }})
  if (!found.items.length) break
  seen.push(...found.items)
}}
return await parallel(seen.map(item => () => agent(`check ${{item}}`)))
"""


async def test_what_depends_on_answers_is_told_with_its_lines_and_what_was_assumed(folder: Folder) -> None:
    told = await _told(folder, LOOP)

    assert not told.is_exact
    assert (told.agents, told.agents_low, told.agents_high) == (4 + 6, 1, 10)
    assert [each.line for each in told.decisions] == [5, 6, 9] or {6, 9} <= {each.line for each in told.decisions}
    assert any("from the fourth answer" in assumption for assumption in told.assumptions)


async def test_answers_of_a_file_are_given_and_counted(folder: Folder) -> None:
    answers = folder.answers({"label": "find", "result": {"items": ["a"]}, "times": 1})
    told = await _told(folder, LOOP, answers_from=answers)

    assert told.answers_from == "answers.json"
    assert told.answers == {"file": 1, "synthetic": told.agents - 1}


async def test_answers_of_a_recorded_run_are_known_by_what_was_asked_then_by_label(folder: Folder) -> None:
    folder.answers(
        {"label": "find", "result": {"items": ["a"]}, "times": 1}, {"label": "find", "result": {"items": []}}
    )
    script = folder.script(LOOP)
    with within(60):
        run = await callsheet.run(script, backend="scripted:answers.json")
        assert len(run.agents) == 3
        told = await callsheet.rehearse(script, backend="scripted:answers.json", answers_from=run.run_id)
    assert told.agents == 3
    assert told.answers == {"recorded": 3}

    changed = LOOP.replace("find more", "find more, please")
    told = await _told(folder, changed, backend="scripted:answers.json", answers_from="last")
    assert told.agents == 3
    assert told.answers == {"recorded_like": 2, "recorded": 1}


async def test_a_recorded_answer_that_does_not_fit_the_schema_now_is_not_given(folder: Folder) -> None:
    folder.answers({"label": "find", "result": "text"})
    script = folder.script("return await agent('p', { label: 'find' })")
    with within(60):
        run = await callsheet.run(script, backend="scripted:answers.json")
    told = await _told(
        folder, f"return await agent('p', {{ label: 'find', schema: {SCHEMA} }})", answers_from=run.run_id
    )
    assert told.answers == {"synthetic": 1}


async def test_calls_that_were_not_reached_are_named(folder: Folder) -> None:
    told = await _told(folder, "await agent('a')\nif (args === 'deep') {\n  await agent('b')\n}", args="shallow")
    assert [(each.line, each.text) for each in told.not_called] == [(4, "await agent('b')")]


async def test_a_script_that_throws_on_made_up_answers_is_told_and_is_not_exact(folder: Folder) -> None:
    told = await _told(folder, "const r = await agent('a')\nthrow new Error('no: ' + r)")
    assert (told.status, told.is_exact, told.agents) == ("failed", False, 1)
    assert told.error is not None
    assert told.error.line == 3


async def test_nested_workflows_are_part_of_it(folder: Folder) -> None:
    folder.file("inner.js", META.replace("case", "inner") + "await parallel([1, 2].map(n => () => agent(`n ${n}`)))")
    told = await _told(folder, "await agent('a'); await workflow({ scriptPath: 'inner.js' })")
    assert [(group.workflow, group.agents) for group in told.groups] == [(None, 1), ("inner", 2)]
    assert not told.is_exact


# --- what it costs ----------------------------------------------------------------------------------------------------


async def test_estimates_come_from_earlier_runs_of_the_workflow(folder: Folder) -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 500}
    folder.answers({"label": "*", "result": "x", "usage": usage})
    body = "phase('Map'); return await parallel([1, 2, 3].map(n => () => agent(`n ${n}`)))"
    script = folder.script(body)
    with within(60):
        await callsheet.run(script, backend="scripted:answers.json")
    _as_if_answered_by(folder, "anthropic", model="claude-sonnet-5-5")
    told = await _told(folder, body)

    (group,) = told.groups
    assert group.earlier_calls == 3
    assert (group.output_tokens.low, group.output_tokens.likely, group.output_tokens.high) == (1_500, 1_500, 1_500)


def _as_if_answered_by(folder: Folder, backend: str, *, model: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder.root / ".callsheet" / "callsheet.db")) as db, db:
        db.execute("UPDATE agent_runs SET backend = ?, model = ?", (backend, model))


async def test_a_loop_on_the_budget_ends_where_the_estimates_say(folder: Folder) -> None:
    told = await _told(folder, "while (budget.remaining() > 3_000) await agent('more')", budget="30k")
    assert told.agents == 9
    assert not told.is_exact


async def test_a_cost_that_is_not_known_is_said_and_is_not_nothing(folder: Folder) -> None:
    told = await _told(folder, "await agent('a', { model: 'house-model-7' })")
    assert (told.cost_usd, told.unpriced) == (None, ("house-model-7",))
    told = await _told(folder, "await agent('a', { model: 'house-model-7' })", prices={"house-model-7": "3/15"})
    assert told.cost_usd is not None


async def test_without_a_credential_it_is_about_the_model_and_under_ci_too(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    told = await _told(folder, "await agent('a')")
    assert told.backend == "anthropic"
    assert any("no credential" in note for note in told.notes)
    assert (await _told(folder, "await agent('a')", backend="offline")).cost_usd is not None


# --- what it may touch ------------------------------------------------------------------------------------------------


async def test_files_in_declared_scopes_are_counted(folder: Folder) -> None:
    for name in ("src/a.py", "src/deep/b.py", "docs/c.md"):
        folder.file(name, "x")
    told = await _told(
        folder, "await agent('a', { scope: { write: ['src/**'] } }); await agent('b', { scope: ['docs'] })"
    )
    assert [(each.write, each.agents, each.files) for each in told.files] == [(("src/**",), 1, 2), (("docs",), 1, 1)]
    assert told.files[0].examples == ("src/a.py", "src/deep/b.py")


async def test_commands_and_hosts_that_prompts_name_are_held_against_the_rules(folder: Folder) -> None:
    prompt = r"Run \`npm test\` and \`git push\`, call \`parse()\`; see https://example.com/a and https://evil.test/b"
    told = await _told(
        folder,
        f"await agent(`{prompt}`); await agent(`\\`npm test\\``, {{ agentType: 'Explore' }})",
        allow=["Bash(npm test:*)", "WebFetch(domain:example.com)"],
        deny=["Bash(git push:*)"],
    )

    named = {(use.name, use.verdict, use.agents) for use in told.commands.named}
    assert named == {("git push", "deny", 1), ("npm test", "allow", 1), ("npm test", "deny", 1)}
    assert [(rule.verdict, rule.rule) for rule in told.commands.rules] == [
        ("deny", "Bash(git push:*)"),
        ("allow", "Bash(npm test:*)"),
    ]
    assert {(use.name, use.verdict) for use in told.hosts.named} == {("example.com", "allow"), ("evil.test", "ask")}
    assert told.commands.otherwise == "ask"


async def test_a_secret_in_a_prompt_is_not_shown(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_TOKEN", "hunter2-hunter2-hunter2")
    told = await _told(folder, "await agent('run `curl -H hunter2-hunter2-hunter2 https://example.com`')")
    assert "hunter2" not in json.dumps(callsheet.rehearsal_json(told))
    assert len(told.commands.named) == 1


async def test_a_workflow_that_is_not_there_is_told(folder: Folder) -> None:
    told = await _told(folder, "await workflow('nowhere').catch(() => null)")
    (violation,) = told.violations
    assert violation.cause == "refused"
    assert "nowhere" in violation.message


VIOLATIONS = {
    "script": ("workflow({ script: 'x' })", "refused", "this run takes no scripts as text"),
    "type": ("agent('a', { agentType: 'nobody' })", "refused", "nobody"),
    "effort": ("agent('a', { effort: 'huge' })", "refused", "effort"),
    "cwd": ("agent('a', { cwd: '../..' })", "refused", "inside the workspace"),
    "no folder": ("agent('a', { cwd: 'nowhere' })", "cwd", "not a folder of the workspace"),
    "scope": ("agent('a', { scope: ['../x/**'] })", "scope", "outside the workspace"),
    "protected": ("agent('a', { scope: { write: ['.git/**'] } })", "scope", "protected"),
    "tools": ("agent('a', { tools: ['read', 'teleport'] })", "tools", "teleport"),
    "denied": ("agent('a', { tools: ['bash'] })", "tools", "denies"),
    "none left": ("agent('a', { tools: ['write'], disallowedTools: ['write'] })", "tools", "no tool"),
    "read-only": ("agent('a', { agentType: 'Explore', scope: { write: ['src'] } })", "agent_type", "change nothing"),
    "worktree": ("agent('a', { isolation: 'worktree' })", "worktree", "git repository"),
}


@pytest.mark.parametrize(("call", "cause", "told"), VIOLATIONS.values(), ids=VIOLATIONS)
async def test_a_call_that_asks_for_more_than_it_may_get_is_told(
    folder: Folder, call: str, cause: str, told: str
) -> None:
    found = await _told(folder, f"await {call}.catch(() => null)", deny=["Bash"])
    (violation,) = [each for each in found.violations if each.cause == cause]
    assert told in violation.message
    assert violation.agents == 1


async def test_the_cap_on_agents_is_a_violation_with_its_line(folder: Folder) -> None:
    told = await _told(
        folder, "for (let n = 0; n < 5; n++) {\n  await agent(`n ${n}`).catch(() => null)\n}", max_agents=2
    )
    assert told.agents == 2
    assert sum(each.agents for each in told.violations if each.cause == "cap") == 3
    assert {each.line for each in told.violations} == {3}


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_what_answers_come_from_must_be_there(folder: Folder) -> None:
    with pytest.raises(StoreError, match="there is none yet"):
        await _told(folder, "return 1", answers_from="run_nowhere")
    with pytest.raises(ConfigError, match=r"answers file .*none\.json"):
        await _told(folder, "return 1", answers_from="none.json")
    folder.answers()
    with within(60):
        await callsheet.run(folder.script("return 1"), backend="scripted:answers.json")
    with pytest.raises(NotFoundError, match="callsheet runs lists them"):
        await _told(folder, "return 1", answers_from="run_nowhere")


async def test_a_script_that_is_refused_is_refused_as_by_a_run(folder: Folder) -> None:
    with pytest.raises(ScriptRefusedError):
        await _told(folder, "const = 1")


def test_the_public_form_is_json_and_has_a_version(folder: Folder) -> None:
    told = anyio.run(_told, folder, LOOP)
    found = json.loads(json.dumps(callsheet.rehearsal_json(told), allow_nan=False))
    assert found["version"] == 1
    assert found["agents"] == {
        "planned": 10, "exact": False, "low": 1, "high": 10, "most_at_once": 6, "max_parallel": 16,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("await agent('a'); return await agent('b')", False),
        ("await parallel(x)", True),
        ("for (;;) await agent('a')", True),
        ("await agent('a');" * 4, True),
        ("await workflow('x')", True),
    ],
)
def test_a_script_that_can_call_few_agents_is_known_by_its_text(text: str, may: bool) -> None:
    assert may_repeat(text) is may
