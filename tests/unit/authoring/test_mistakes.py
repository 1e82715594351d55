"""What models get wrong in scripts, each caught before any agent starts, with words that they can act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deadline import within
from tests.unit.authoring.stage import Stage

pytestmark = [pytest.mark.anyio, pytest.mark.contract("C01")]

META = "export const meta = { name: 'case', description: 'a case' }\n"

MISTAKES = {
    "types": ("const n: number = 1\nreturn agent(`a ${n}`)", ("line 2", "TypeScript")),
    "optional parameter": ("const f = (x?: string) => agent(x)\nreturn f('a')", ("line 2", "TypeScript")),
    "await in a callback": (
        "const all = ['a'].map(x => { const t = await agent(x); return t })\nreturn all",
        ("line 2, column 40", "write `async` before it"),
    ),
    "await in a getter": ("const o = { get x() { return await agent('a') } }\nreturn o.x", ("line 2", "is not async")),
    "await in a function": ("function go(x) {\n  return await agent(x)\n}\nreturn go('a')", ("line 3", "is not async")),
    "backticks in a template": ("return agent(`run `npm test` here`)", ("line 2", "for a backtick in it")),
    "interface": ("interface Found { file: string }\nreturn agent('a')", ("line 2", "TypeScript")),
    "as": ("const found = (await agent('a')) as string\nreturn found", ("line 2", "TypeScript")),
    "import": ("import fs from 'node:fs'\nreturn agent('a')", ("line 2", "`import` is not available")),
    "require": ("const fs = require('fs')\nreturn agent('a')", ("line 2", "`require()` is not available")),
    "second export": ("export default await agent('a')", ("line 2", "`return`")),
    "promises in parallel": ("return parallel(['a', 'b'].map((x) => agent(x)))", ("line 2", "() =>")),
    "no await": ("agent('a')\nreturn 'done'", ("line 2", "await")),
    "unresolved promise used": ("const text = agent('a')\nreturn text.toUpperCase()", ("line 3", "await")),
    "promise taken apart": ("const { x } = agent('a')\nreturn x", ("line 2", "await")),
    "loop without end": (
        "const bugs = []\nwhile (true) {\n  const b = await agent('find one more bug')\n  bugs.push(b)\n}\nreturn bugs",
        ("line 4", "end that is certain"),
    ),
    "list as schema": ("return agent('a', { schema: { type: 'array', items: {} } })", ("line 2", "object")),
    "schema that nothing fits": (
        "return agent('a', { schema: { type: 'object', required: ['x'], properties: { x: false } } })",
        ("line 2", "schema"),
    ),
    "fetch": ("return (await fetch('https://example.org')).text()", ("line 2", "no network")),
    "process": ("return agent(process.env.TASK)", ("line 2", "no files and no processes")),
    "undeclared": ("return agent(`look at ${fils}`)", ("line 2", "`fils`")),
    "misspelt": ("return agnet('a')", ("line 2", "did you mean `agent`?")),
    "setInterval": ("setInterval(() => {}, 10)\nreturn agent('a')", ("line 2", "setTimeout")),
    "toLocale": ("return agent(new Intl.DateTimeFormat().format(new Date()))", ("line 2", "Intl")),
    "syntax": ("const a = [1, 2\nreturn agent('a')", ("line", ":")),
    "null used": ("const a = await agent('a', { schema: { type: 'objekt' } })\nreturn a.x", ("line 2", "schema")),
    "agent type": ("return agent('a', { agentType: 'Reviewr' })", ("line 2", "Reviewr")),
    "model": ("return agent('a', { model: 'gpt-5' })", ("line 2", "gpt-5")),
    "effort": ("return agent('a', { effort: 'extreme' })", ("line 2", "extreme")),
    "workflow": ("await agent('a')\nreturn workflow('no-such-flow')", ("line 3", "no-such-flow")),
    "unknown phase": (
        "phase('Serach')\nreturn agent('a')",
        ("Serach",),
    ),
    "forEach": (
        "const all = ['a']\nall.forEach(async x => { await agent(x) })\nreturn 1",
        ("line 3", "forEach() awaits nothing"),
    ),
    "list of promises": ("const all = ['a', 'b'].map(x => agent(x))\nreturn all", ("line 2", "still at work", "await")),
    "promise in the result": ("return { a: agent('a'), b: await agent('b') }", ("line 2, column 13", "await")),
    "agent in a getter": ("const o = { get x() { return agent('a') } }\nreturn o", ("line 2", "still at work")),
    "then that nobody awaits": ("agent('a').then(x => log(x))\nreturn 'ok'", ("line 2", "still at work")),
    "filter with promises": ("return ['a'].filter(async x => await agent(x))", ("line 2", "still at work")),
    "condition": ("if (agent('is it so?')) return await agent('a')\nreturn 1", ("line 2", "a promise", "await")),
    "promise in a prompt": (
        "const all = ['a'].map(x => agent(x))\nreturn await agent(`Sum up: ${all}`)",
        ("line 3", "`[object Promise]`", "await"),
    ),
    "object in a prompt": (
        "const a = await agent('a', { settle: true })\nreturn agent(`Fix ${a}`)",
        ("line 3", "`[object Object]`", "JSON.stringify"),
    ),
    "nothing in a prompt": (
        "const files = [{ name: 'a' }]\nreturn pipeline(files, f => agent(`Read ${f.path}`))",
        ("line 3", "`undefined`"),
    ),
    "stage that gives nothing": (
        "return pipeline(['a'], async x => { await agent(x) }, found => agent(`Sum up: ${found}`))",
        ("line 2", "`undefined`"),
    ),
    "nothing returned": ("const a = await agent('a')\nlog(a)", ("returns nothing", "`return`")),
    "null used where an agent fails": (
        "const SPLIT = { type: 'object', properties: { parts: { type: 'array', items: {} } }, required: ['parts'] }\n"
        "const split = await agent('split', { schema: SPLIT })\nreturn split.parts.length",
        ("line 4", "gives `null`", "split.parts.length", ".filter(Boolean)"),
    ),
    "list with null in it": (
        "const said = await parallel(['a', 'b'].map(x => () => agent(x)))\nreturn said.map(text => text.trim())",
        ("line 3", "gives `null`"),
    ),
    "main": ("async function main() {\n  return await agent('a')\n}\nawait main()", ("returns nothing", "`return`")),
    "schema for options": (
        "return agent('a', { type: 'object', properties: { x: {} } })",
        ("line 2", "no option `type`, `properties`", "schema"),
    ),
    "unknown option": ("return agent('a', { system: 'You are a critic.' })", ("line 2", "no option `system`", "label")),
    "phase with a function": ("phase('Search', () => agent('a'))\nreturn agent('b')", ("takes a title alone",)),
    "budget not called": ("while (budget.remaining > 9) await agent('a')\nreturn 1", ("`budget.remaining()`",)),
    "agent hidden": ("for (const agent of ['a', 'b']) await agent('look')\nreturn 1", ("line 2", "another name")),
    "function that there is not": ("log.info('x')\nreturn agent('a')", ("line 2", "log.info('x')")),
    "tools": ("return agent('a', { tools: ['read_file'] })", ("read_file", "there are: bash, read,")),
    "too many at once": (
        "return Promise.all(Array.from({ length: 5000 }, (_, n) => agent(`${n}`)))",
        ("line 2", "all that a run may have", "end that is certain"),
    ),
    "too many for parallel": (
        "return parallel(Array.from({ length: 5000 }, (_, n) => () => agent(`${n}`)))",
        ("line 2", "at most 4096", "batches"),
    ),
    "no agent reached": (
        "const out = []\nfor (const x of []) out.push(await agent('a'))\nreturn out",
        ("no agent", "line 3 is not reached"),
    ),
    "no agent": ("return 1", ("no agent",)),
    "throws": ("const [first] = await agent('a')\nreturn first.nothing.at.all", ("line 3",)),
    "args that nobody passes": ("return agent(args.question.trim())", ("line 2",)),
    "too many": ("return parallel(Array.from({ length: 200 }, (_, n) => () => agent(`${n}`)))", ("200", "at most 25")),
}  # fmt: skip

ONCE = {
    "list as schema": "the root must be",
    "process": "no files and no processes",
    "unresolved promise used": "await",
    "undeclared": "`fils`",
    "workflow": "no-such-flow",
    "too many at once": "all that a run may have",
}
"""Mistakes that come to light in several ways, and words of what is told."""

METAS = {
    "no meta": ("return agent('a')", "must be `export const meta"),
    "no description": ("export const meta = { name: 'x' }\nreturn agent('a')", "description"),
    "computed": (
        "const n = 'x'\nexport const meta = { name: n, description: 'y' }\nreturn agent('a')",
        "first statement",
    ),
    "template": ("export const meta = { name: `x${1}`, description: 'y' }\nreturn agent('a')", "literal"),
    "default export": ("export default { name: 'x', description: 'y' }\nreturn agent('a')", "export const meta"),
    "fences": (
        "```js\nexport const meta = { name: 'x', description: 'y' }\nreturn agent('a')\n```",
        "take the lines with ``` away",
    ),
}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """In which a loop without end comes to the limit of agents soon."""
    (tmp_path / "callsheet.toml").write_text("max_agents = 250\n", encoding="utf-8")
    return Stage(tmp_path)


@pytest.mark.parametrize(("body", "says"), MISTAKES.values(), ids=MISTAKES)
async def test_a_mistake_is_told_with_its_place_and_a_way_out(stage: Stage, body: str, says: tuple[str, ...]) -> None:
    meta = META if "phase(" not in body else META.replace("}", ", phases: [{ title: 'Search' }] }")
    with within(60):
        told = "\n".join(await stage.told(meta + body))
    assert told
    for words in says:
        assert words in told


@pytest.mark.parametrize(("script", "says"), METAS.values(), ids=METAS)
async def test_a_wrong_meta_is_told(stage: Stage, script: str, says: str) -> None:
    with within(60):
        told = "\n".join(await stage.told(script))
    assert says in told


@pytest.mark.parametrize("name", ONCE)
async def test_a_mistake_that_comes_to_light_in_several_ways_is_told_once_and_as_one(stage: Stage, name: str) -> None:
    with within(60):
        (line,) = await stage.told(META + MISTAKES[name][0])
    assert ONCE[name] in line
    assert "if it is meant so" not in line
    assert "--" not in line, "its author has no command line"


async def test_agents_that_are_let_go_on_purpose_are_not_told(stage: Stage) -> None:
    script = META + "return Promise.race([agent('one way'), agent('another way')])"
    with within(60):
        assert await stage.told(script) == ()


async def test_a_script_that_ends_in_words_of_its_own_where_no_agent_answers_is_taken(stage: Stage) -> None:
    script = META + "const a = await agent('a')\nif (a === null) throw new Error('nobody answered')\nreturn a.trim()"
    with within(60):
        assert await stage.told(script) == ()


async def test_a_warning_that_is_meant_so_is_taken_the_second_time(stage: Stage) -> None:
    script = META + "await agent('write undefined.md')\nagent(`${args}`).then(x => log(x))"
    with within(60):
        told = "\n".join(await stage.told(script))
        assert await stage.told(script) == ()
    assert told.count("if it is meant so") == 2, told
