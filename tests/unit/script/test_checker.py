"""What the checker says of a script, and what it does not say (CONTRACT C01)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import quickjs

from callsheet.model.call import OPTION_NAMES
from callsheet.script import names
from callsheet.script.checker import MAX_OF_A_CODE, check_script
from callsheet.script.rules import portability
from tests.unit.script.samples import read, script, told

pytestmark = pytest.mark.contract("C01")


def checked(body: str, *, portable: bool = False) -> list[tuple[str, str]]:
    """Codes and places, with the severities held."""
    found = check_script(script(body), portable=portable)
    if not portable:
        assert all(finding.severity == "warning" for finding in found)
    return told(found)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.contract("D02")
@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        ("return fetch('x')", "2:8", "no network"),
        ("const a = process.env.X", "2:11", "no files and no processes"),
        ("setInterval(f => f, 1)", "2:1", "`setTimeout`"),
        ("return new Intl.NumberFormat()", "2:12", "does not exist"),
        ("return await agnet('x')", "2:14", "did you mean `agent`?"),
        ("const findings = []\nreturn fndings", "3:8", "did you mean `findings`?"),
        ("total = 1", "2:1", "nothing in the script declares it"),
        ("return { a: { missing } }", "2:15", "`missing`"),
        ("const é = 1; return [é, nope]", "2:25", "`nope`"),
        ("return agent<Foo>(args)", "2:14", "`Foo`"),
        ("return performance.now()", "2:8", "Date.now()"),
    ],
)
def test_a_name_that_does_not_exist_is_told_with_a_way_out(body: str, place: str, says: str) -> None:
    (finding,) = [finding for finding in check_script(script(body)) if finding.code == "unknown-name"]
    assert str(finding.place) == place
    assert says in finding.message


def test_a_name_is_told_once_where_it_stands_first() -> None:
    assert checked("x1()\nreturn x1 + x1") == [("unknown-name", "2:1")]


@pytest.mark.parametrize(
    "body",
    [
        "const a = 1, [b, c = a, ...d] = [], { e, f: g, h: { i }, j = 2, ...k } = {}; return [a,b,c,d,e,g,i,j,k]",
        "function f(a, [b], { c, d: e }, g = a, ...h) { return [a, b, c, e, g, h, arguments] } return f(1)",
        "const f = a => a, g = (b) => b, h = async ({ c }) => c; return [f(1), g(2), await h({})]",
        "try { log(1) } catch (e) { log(e) } try { log(2) } catch { log(3) }",
        "try { log(1) } catch ({ message }) { log(message) }",
        "for (const a of [1]) log(a); for (const [b, c] of []) log(b, c); for (let d = 0; d < 1; d++) log(d)",
        "for (const { e } of []) log(e); for (var f in {}) log(f); for await (const g of []) log(g)",
        "class A extends Array { static b = 1; #c = 2; get d() { return this.#c } } return new A(A.b)",
        "const C = class D { e() { return D } }, f = function g() { return g }; return [C, f]",
        "label: for (;;) { if (args) continue label; break label }",
        "return later(); function later() { return hoisted } var hoisted",
        "function* gen() { yield 1 } async function* agen() { yield 2 } return [gen(), agen()]",
        "return typeof process !== 'undefined' ? process.env.X : typeof fetch",
        "globalThis.shared = 1; return shared",
        "const o = { a: 1, 'b': 2, c() {}, get d() { return 1 }, [`e`]: 3 }; return o.f.g?.h['i']",
        "const meta2 = meta.name; return [args, budget.total, undefined, NaN, globalThis, meta2]",
        "if (args) { const inner = 1; log(inner) } return () => inner2; var inner2",
        "({ a: later, b: [later2] } = {}); let later, later2",
        "new Promise((resolve, reject) => resolve(reject))",
        "return await (async () => await (args)())()",
        "const a = await (args)\nawait (args.f())\nreturn a",
    ],
)
def test_every_way_to_declare_a_name_is_known(body: str) -> None:
    assert [code for code, _ in checked(body) if code == "unknown-name"] == []


def test_the_list_of_names_is_what_the_engine_has_but_for_what_is_taken_away() -> None:
    there = set(quickjs.Context().eval("Object.getOwnPropertyNames(globalThis).join(' ')").split())
    taken = {"performance", "SharedArrayBuffer", "Atomics", "WeakRef", "FinalizationRegistry"}
    assert there - taken - names.LIBRARY == names.ECMASCRIPT - names.LIBRARY
    assert not names.KNOWN & names.NOT_HERE.keys()


def test_the_list_of_names_has_what_the_runtime_puts_on_the_global_object() -> None:
    runtime = Path(__file__).parents[3] / "runtime_js"
    text = "".join(file.read_text(encoding="utf-8") for file in sorted(runtime.glob("*.js")))
    exposed = set(re.findall(r"rt\.expose\('(\w+)'", text))
    assert exposed
    assert exposed <= names.API | names.LIBRARY


# --- phases -----------------------------------------------------------------------------------------------------------


def phases(declared: str, body: str) -> list[tuple[str, str]]:
    text = f"export const meta = {{ name: 'n', description: 'd',\nphases: {declared} }};\n{body}"
    return [entry for entry in told(check_script(read(text))) if entry[0].startswith(("phase", "meta"))]


@pytest.mark.contract("S03", "G02")
def test_phases_that_are_used_and_not_declared_are_told_once() -> None:
    body = "phase('A')\nphase('B')\nawait agent('x', { phase: 'C' })\nawait agent('y', { phase: `C` })\nphase('B')"
    assert phases("[{ title: 'A' }]", body) == [("phase-undeclared", "4:7"), ("phase-undeclared", "5:27")]


def test_a_script_that_declares_no_phases_is_told_what_to_declare() -> None:
    (finding,) = check_script(script("phase('A')\nphase('B')\nreturn 1"))
    assert str(finding.place) == "2:7"
    assert "phases: [{ title: 'A' }, { title: 'B' }]" in finding.message


def test_phases_that_are_declared_and_not_used_are_told_in_meta() -> None:
    declared = "[{ title: 'A' },\n { title: 'Bé' }, { title: 'C' }]"
    assert phases(declared, "phase('A')\nreturn 'C is done'") == [("phase-unused", "3:2"), ("phase-unused", "3:19")]


@pytest.mark.parametrize(
    "body",
    [
        "phase('A'); phase('B')",
        "await agent('x', { phase: 'A' }); await spawnAgent({ prompt: 'y', phase: 'B' })",
        "for (const title of ['A', 'B']) phase(title)",
        "const name = 'B'; phase('A'); phase(name)",
        "phase('A'); const run = (p, t) => agent(p, { phase: t }); await run('x', 'B')",
        "phase('A'); phase(`B${args}`)",
        "phase('A'); const options = { phase: args.title }; await agent('x', options)",
        "phase('A'); const options = {}; options.phase = args.title; await agent('x', options)",
        "phase('A'); const phase2 = args; await agent('x', { ...phase2 }); log('B')",
        "phase(meta.phases[0].title)",
    ],
)
def test_phases_that_may_be_used_are_not_called_unused(body: str) -> None:
    assert phases("[{ title: 'A' }, { title: 'B' }]", body) == []


@pytest.mark.contract("S07")
def test_a_name_that_the_script_declares_itself_is_not_the_api() -> None:
    assert phases("[{ title: 'A' }]", "const phase = title => title\nphase('other')\nphase('A')") == []
    body = "const f = agent => agent('x', { phase: 'other' })\nphase('A'); return f"
    assert phases("[{ title: 'A' }]", body) == []
    body = "for (const phase of ['x']) { phase('inner') }\nphase('outer')\nphase('A')"
    assert phases("[{ title: 'A' }]", body) == [("phase-undeclared", "4:7")]


@pytest.mark.contract("S03")
def test_optional_parts_of_meta_of_another_form_are_told() -> None:
    assert phases("['A', { detail: 'x' }]", "phase('A')") == [("meta-shape", "2:10")]
    assert phases("[{ title: 'A', detail: 1 }]", "phase('A')") == [("meta-shape", "2:10")]
    assert phases("'A', whenToUse: 3", "") == [("meta-shape", "2:9"), ("meta-shape", "2:25")]


@pytest.mark.contract("S03")
@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("await agent('x', { phase: 'A', model: 'haiku' })", "3:7"),
        ("await agent('x', { phase: 'A' })", "3:7"),
        ("phase('A')\nawait agent('x')", "4:7"),
        ("phase('A')\nawait agent('x', { label: 'y' })", "4:7"),
        ("phase('A')\nawait parallel(args.map(a => () => agent(a)))", "4:36"),
        ("phase('A')\nawait parallel([() => agent('x'), () => agent('y')])", "4:23"),
        ("const MODEL = 'sonnet'\nawait agent('x', { phase: 'A', model: MODEL })", "4:7"),
        ("for (const a of args) {\n  phase('A')\n  await agent(a)\n}", "5:9"),
    ],
)
def test_a_phase_that_says_one_model_and_its_call_another_or_none_is_told(body: str, place: str) -> None:
    assert phases("[{ title: 'A', model: 'opus' }, { title: 'B' }]", body + "\nphase('B')") == [("phase-model", place)]


@pytest.mark.parametrize(
    "body",
    [
        "phase('A'); await agent('x', { phase: 'A', model: 'opus' })",
        "phase('A'); await agent('x', { phase: 'A', model: 'claude-opus-4-5' })",
        "phase('A'); await agent('x', { model: args.model })",
        "phase('A'); await agent('x', { ...args })",
        "phase('A'); await agent('x', args)",
        "phase('A'); await agent('x', { phase: 'B' })",
        "phase('A'); phase('B'); await agent('x')",
        "phase('A'); if (args) phase('B'); await agent('x')",
        "phase('A'); if (args) { phase('B') } await agent('x')",
        "const work = x => agent(x); phase('A'); await work(1)",
        "phase('A'); const work = x => agent(x); phase('B'); await work(1)",
        "phase('A'); async function work() { return agent('x') } phase('B'); await work()",
        "phase('A'); for (const a of args) { await agent(a, { model: 'opus' }); phase('B') }",
        "phase('A'); for (const a of args) { await agent(a); phase('B') }",
        "await agent('x'); phase('A')",
    ],
)
def test_of_models_nothing_is_told_where_the_phase_or_the_model_is_in_doubt(body: str) -> None:
    assert phases("[{ title: 'A', model: 'opus' }, { title: 'B' }]", body + "\nphase('B')") == []


# --- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.contract("P02")
@pytest.mark.parametrize(
    ("given", "column"),
    [
        ("[agent('a')]", 17),
        ("[() => agent('a'), agent('b')]", 35),
        ("[workflow('w', {}), spawnAgent('a')]", 17),
        ("[Promise.resolve(1)]", 17),
        ("[new Promise(r => r(1))]", 17),
        ("[agent('a').then(r => r).catch(() => null)]", 17),
        ("[(agent('a'))]", 17),
        ("[(async () => 1)()]", 17),
        ("[...args.map(x => agent(x))]", 34),
        ("args.map(x => agent(x))", 30),
        ("args.map((x) => { log(x); return agent(x) })", 49),
        ("args.map(function (x) { return agent(x) })", 47),
        ("args.map(async x => agent(x))", 25),
        ("args.map(async x => () => agent(x))", 25),
        ("args.map(agent)", 25),
        ("args.map(x => agent(x).then(y => y))", 30),
        ("args.map(x => (agent(x)))", 31),
        ("args.filter(Boolean).map(x => agent(x)).filter(Boolean)", 46),
        ("args.flatMap(x => [agent(x), () => agent(x)])", 35),
        ("Array.from(args, x => agent(x))", 38),
    ],
)
def test_a_promise_in_parallel_is_told(given: str, column: int) -> None:
    assert checked(f"await parallel({given})") == [("promise-in-parallel", f"2:{column}")]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("const jobs = args.map(x => agent(x))\nawait parallel(jobs)", "2:28"),
        ("const jobs = []\nfor (const x of args) jobs.push(agent(x))\nawait parallel(jobs)", "3:33"),
        ("const one = async x => x\nawait parallel([one(1)])", "3:17"),
        ("async function one(x) { return x }\nawait parallel(args.map(x => one(x)))", "3:30"),
        ("async function one(x) { return x }\nawait parallel(args.map(one))", "3:25"),
    ],
)
def test_a_promise_in_parallel_is_found_through_a_constant(body: str, place: str) -> None:
    assert checked(body) == [("promise-in-parallel", place)]


@pytest.mark.parametrize(
    "body",
    [
        "await parallel([() => agent('a'), async () => 5, one]); function one() {}",
        "await parallel(args.map(x => () => agent(x)))",
        "await parallel(args.map(x => () => agent(x)).filter(Boolean).slice(1))",
        "await parallel(args.map(x => async () => { await agent(x) }))",
        "await parallel(args.map(x => task(x))); function task(x) { return () => agent(x) }",
        "const jobs = []; for (const x of args) jobs.push(() => agent(x)); await parallel(jobs)",
        "await parallel(args.flatMap(x => [() => agent(x)]))",
        "await parallel(args.map(x => [agent(x)].length ? () => 1 : null))",
        "await Promise.all(args.map(x => agent(x)))",
        "const parallel = list => Promise.all(list); await parallel([agent('a')])",
        "await parallel(args.map(agent => () => agent.run()))",
        "await parallel([...args, ...[]])",
        "const a = [...b], b = [...a]; await parallel(a)",
        "let jobs = args.map(x => agent(x)); jobs = []; await parallel(jobs)",
        "const one = x => () => x; await parallel(args.map(one))",
        "await parallel()",
        "await parallel(...args)",
    ],
)
def test_functions_in_parallel_are_right(body: str) -> None:
    assert [code for code, _ in checked(body) if code == "promise-in-parallel"] == []


@pytest.mark.contract("A13", "D08")
@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("agent('x')", "2:1"),
        ("spawnAgent({ prompt: 'x' })", "2:1"),
        ("workflow('w')", "2:1"),
        ("if (args) parallel([() => 1])", "2:11"),
        ("pipeline(args, x => x)", "2:1"),
        ("await parallel(args.map(x => () => { agent(x) }))", "2:38"),
        ("async function main() { return 1 }\nmain()", "3:1"),
        ("const main = async () => 1\nmain()", "3:1"),
        ("(async () => { await agent('x') })()", "2:1"),
        ("Promise.all(args.map(x => agent(x)))", "2:1"),
        ("Promise.reject(new Error('x'))", "2:1"),
        ("args.forEach(x => agent(x))", "2:1"),
        ("args.forEach(async x => { await agent(x) })", "2:1"),
        ("args.forEach(x => { agent(x) })", "2:21"),
    ],
)
def test_what_is_started_and_never_awaited_is_told(body: str, place: str) -> None:
    assert checked(body) == [("not-awaited", place)]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("const a = agent('x')\nreturn a.file", "3:8"),
        ("const a = agent('x')\nreturn args.then.a.finally + a.file.name", "3:30"),
        ("return agent('x').length", "2:8"),
        ("const { file } = agent('x')\nreturn file", "2:18"),
        ("const [a] = parallel([])\nreturn a", "2:13"),
        ("if (agent('is it so?')) return 1", "2:5"),
        ("while (!agent('is it so?')) log(1)", "2:9"),
        ("const a = agent('x')\nreturn a === 'yes' ? 1 : 2", "3:8"),
        ("return agent('x') ? 1 : 2", "2:8"),
        ("return 'so: ' + agent('x')", "2:17"),
        ("const a = agent('x')\nreturn await agent(`Refute ${a}`)", "3:30"),
        ("return JSON.parse(agent('x'))", "2:19"),
        ("const a = parallel([])\nreturn await agent('x' + JSON.stringify(a, null, 1))", "3:41"),
        ("const all = [...parallel([])]\nreturn all", "2:17"),
        ("for (const a of parallel([])) log(a)", "2:17"),
        ("return parseInt(agent('how many?'))", "2:17"),
        ("return agent('x') > 3", "2:8"),
        ("return { a: agent('x'), b: await agent('y') }", "2:13"),
        ("const a = parallel([])\nreturn { a }", "3:10"),
        ("return [await agent('x'), agent('y')]", "2:27"),
        ("return await agent(agent('x') ?? 'y')", "2:20"),
    ],
)
def test_what_is_read_of_a_promise_is_told(body: str, place: str) -> None:
    assert checked(body) == [("read-too-early", place)]


@pytest.mark.parametrize(
    "body",
    [
        "const a = await agent('x'); return a.file",
        "const a = agent('x'); return a.then(x => x.file)",
        "const { file } = await agent('x'); return file",
        "return (await agent('x')).length",
        "let a = agent('x'); a = await a; return a.file",
        "const f = async () => 1; f.calls = 0; return f()",
        "if (await agent('is it so?')) return 1",
        "const both = () => { return { a: agent('x'), b: [agent('y')] } }; return await both().a",
        "return { a: await agent('x'), b: () => agent('y') }",
        "const a = args ? agent('x') : null; return `${a ? await a : ''}`",
        "const a = agent('x'); return (await a) + `${await a}`",
        "const a = args && agent('x'); return a",
        "return args ?? agent('x')",
        "for await (const a of parallel([])) log(a)",
        "const a = agent('x'); const all = new Map([[1, a]]); return await all.get(1)",
    ],
)
def test_what_is_read_of_an_answer_is_not_told(body: str) -> None:
    assert checked(body) == []


@pytest.mark.parametrize(
    "body",
    [
        "await agent('x')",
        "return agent('x')",
        "const a = agent('x'); await a",
        "agent('x').then(r => log(r))",
        "agent('x').catch(() => null)",
        "void agent('x')",
        "const f = () => agent('x'); await f()",
        "main(); function main() { return 1 }",
        "async function main() { return 1 } await main()",
        "async function main() { return 1 } main().catch(e => log(e))",
        "function agent() {} agent('x')",
        "args.forEach(x => log(x))",
        "const jobs = []; args.forEach(x => jobs.push(agent(x))); await Promise.all(jobs)",
        "let main = async () => 1; main = () => 2; main()",
        "log(agent('x'))",
        "setTimeout(() => log(1), 5)",
    ],
)
def test_what_is_awaited_kept_or_let_go_on_purpose_is_not(body: str) -> None:
    assert checked(body) == []


# --- the API, used as it is not ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "place", "says"),
    [
        ("phase('P', () => agent('x'))", "phase-function", "2:12", "takes a title alone, and calls nothing"),
        ("return await phase('P', async () => { return agent('x') })", "phase-function", "2:25", "calls nothing"),
        ("while (budget.remaining > 1000) await agent('x')", "not-called", "2:8", "`budget.remaining()`"),
        ("return budget.cost.spent < 5", "not-called", "2:8", "`budget.cost.spent()`"),
        ("for (const agent of ['a', 'b']) await agent('x')", "hidden-name", "2:12", "another name"),
        ("const agent = await agent('x')\nreturn agent", "hidden-name", "2:7", "hides `agent()`"),
        ("const { parallel } = await parallel([])\nreturn parallel", "hidden-name", "2:9", "hides `parallel()`"),
        ("return ['a', 'b'].map(agent => agent('x'))", "hidden-name", "2:23", "hides `agent()`"),
    ],
)
def test_what_is_used_as_it_is_not_is_told(body: str, code: str, place: str, says: str) -> None:
    found = check_script(script(body, phases="P" if "phase(" in body else ""))
    assert [(finding.code, str(finding.place)) for finding in found] == [(code, place)]
    assert says in found[0].message


@pytest.mark.parametrize(
    "body",
    [
        "const agent = (prompt) => spawnAgent(prompt); return agent('x')",
        "function log(text) { console.log(text) } log('x')",
        "for (const agent of ['a', 'b']) log(agent)",
        "const left = budget.remaining; return left() > budget.cost.spent()",
        "async function all(agent) { return agent('x') } return all(spawnAgent)",
        "const { remaining } = budget; return remaining()",
    ],
)
def test_what_is_used_as_it_may_be_is_not(body: str) -> None:
    assert checked(body) == []


# --- flow -------------------------------------------------------------------------------------------------------------


@pytest.mark.contract("S04")
@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        ("return 1\nlog('x')", "3:1", "`return` of line 2"),
        ("return 1\n// why\n\nconst a = 2\nlog(a)", "5:1", "line 2"),
        ("throw new Error('x')\nreturn 1", "3:1", "`throw`"),
        ("return\n{ a: 1 }", "3:1", "a value must begin on its line"),
    ],
)
def test_code_after_the_end_is_told(body: str, place: str, says: str) -> None:
    (finding,) = [found for found in check_script(script(body)) if found.code == "unreachable"]
    assert str(finding.place) == place
    assert says in finding.message


@pytest.mark.parametrize(
    "body",
    [
        "return 1",
        "if (args) return 1\nreturn 2",
        "return f()\nfunction f() { return 1 }\n// done\n;",
        "return [\n  1,\n]",
        "const f = () => { return 1 }\nlog(f())",
        "{ return 1 }",
    ],
)
def test_code_that_may_be_reached_is_not(body: str) -> None:
    assert checked(body) == []


# --- portability ------------------------------------------------------------------------------------------------------


@pytest.mark.contract("D04")
@pytest.mark.parametrize("use", ["Date.now()", "new Date()", "new Date", "Math.random()", "Date()"])
def test_clock_and_chance_are_warnings_and_errors_where_a_script_must_be_portable(use: str) -> None:
    assert checked(f"return {use}") == [("not-portable", "2:8")]
    (finding,) = check_script(script(f"return {use}"), portable=True)
    assert (finding.severity, finding.contract) == ("error", "D04")


@pytest.mark.parametrize(
    "body",
    [
        "return new Date(0)",
        "return Math.max(1, 2)",
        "return 'Date.now()'",
        "const Date = { now: () => 1 }; return Date.now()",
        "return Date.UTC(2020, 1)",
        "return args.Date.now()",
    ],
)
def test_dates_of_a_given_time_are_portable(body: str) -> None:
    assert checked(body) == []


@pytest.mark.contract("A01", "S04", "W03")
@pytest.mark.parametrize(
    ("body", "contract"),
    [
        ("await spawnAgent('x')", "A01"),
        ("await agent('x', { settle: true })", "A15"),
        ("await agent('x', { worktree: 'w' })", "A16"),
        ("await agent('x', { merge: true })", "A16"),
        ("await agent('x', { conversation: 'talk' })", "A14"),
        ("const OPTIONS = { priority: 1 }; await agent('x', OPTIONS)", "A14"),
        ("await workflow({ script: 'x' })", "W03"),
        ("const script = ''; await workflow({ script })", "W03"),
        ("return budget.cost.spent()", "G04"),
        ("return meta.name", "S04"),
    ],
)
def test_what_only_this_runtime_has_is_an_error_where_a_script_must_be_portable(body: str, contract: str) -> None:
    assert checked(body) == []
    (finding,) = check_script(script(body), portable=True)
    assert (finding.severity, finding.code, finding.contract) == ("error", "only-here", contract)


@pytest.mark.contract("A14")
def test_every_option_of_agent_is_known_to_be_portable_or_not() -> None:
    portable = {"label", "phase", "schema", "model", "effort", "isolation", "agentType"}
    assert portable | portability._OURS.keys() == set(OPTION_NAMES)


@pytest.mark.parametrize(
    ("body", "severities"),
    [
        ("await parallel([agent('a')])", ["error"]),
        ("return fetch", ["error"]),
        ("agent('x')", ["warning"]),
        ("phase('A')", ["warning"]),
        (
            "setTimeout(() => {}, 1); structuredClone({}); new URL('a:b'); console.log(1); log(args, budget.spent()); "
            "await agent('x', { label: 'l', model: 'm', effort: 'low', isolation: 'worktree', agentType: 't' }); "
            "await workflow({ scriptPath: 'x.js' })",
            [],
        ),
    ],
)
def test_portable_makes_errors_of_what_the_reference_refuses_or_lacks_only(body: str, severities: list[str]) -> None:
    assert [finding.severity for finding in check_script(script(body), portable=True)] == severities


# --- all together -----------------------------------------------------------------------------------------------------


def test_findings_come_in_order_of_place_with_their_lines() -> None:
    found = check_script(script("const a = nope\nagent('é')\nreturn Date.now()\nlog(a)"))
    assert told(found) == [
        ("unknown-name", "2:11"),
        ("not-awaited", "3:1"),
        ("not-portable", "4:8"),
        ("unreachable", "5:1"),
    ]
    assert found[1].source_line == "agent('é')"


def test_of_one_sort_only_so_many_are_told() -> None:
    assert len(check_script(script("Date.now()\n" * 100))) == MAX_OF_A_CODE


def test_places_are_those_of_the_file_as_written() -> None:
    text = (
        "\ufeff#!/usr/bin/env callsheet\r\n// é\r\nexport const meta = {\r\n  name: 'ü', description: 'd',\r\n};"
        " const ä = nope\r\n"
    )
    assert told(check_script(read(text))) == [("unknown-name", "5:14")]


@pytest.mark.parametrize(
    "body",
    [
        "const f = a => { return a }\n\n[...args].forEach(f)\nreturn 1\nlog(2)",
        "const broken = (\nagent('x')",
    ],
)
def test_where_the_grammar_lost_its_way_names_and_flow_are_left_alone(body: str) -> None:
    assert {code for code, _ in checked(body + "\nnope()")} <= {"not-awaited"}


def test_a_script_as_people_write_them_gets_not_a_word() -> None:
    text = """\
export const meta = {
  name: 'review', description: 'd',
  phases: [{ title: 'Find' }, { title: 'Verify', detail: 'three votes' }],
}
const FINDINGS = { type: 'object', required: ['findings'], properties: { findings: { type: 'array' } } }
const input = typeof args === 'string' ? JSON.parse(args) : args ?? {}
const files = input.files || []
phase('Find')
const found = await parallel(files.map((file, i) => () =>
  agent(`Look at ${file}`, { label: `find:${i}`, phase: 'Find', schema: FINDINGS })))
const all = found.filter(Boolean).flatMap(({ findings }) => findings)
phase('Verify')
const votes = await pipeline(all, async (finding, item, index) => {
  const vote = await agent(`Refute ${JSON.stringify(finding)}`, { label: `verify:${index}`, phase: 'Verify' })
  return vote ? { ...item, vote } : null
})
while (budget.total && budget.remaining() > 1000) { log('more'); break }
return { votes: votes.filter(v => v && v.vote), total: all.length, summary: await summary() }
async function summary() { return agent('Sum up', { phase: 'Verify' }) }
"""
    assert check_script(read(text)) == ()
    assert check_script(read(text), portable=True) == ()
