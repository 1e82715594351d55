# ruff: noqa: E501 - scripts stand in one line each
"""What the text of a script says of its agents: whether answers decide which there are, and which were not reached."""

from __future__ import annotations

import pytest

from callsheet.script.reader import read_script
from callsheet.script.shape import Shape, call_sites, never_called, shape_of

META = "export const meta = { name: 'case', description: 'a case' }\n"

FIXED = {
    "fan": "const fs=args; const r = await parallel(fs.map(f=>()=>agent(`a ${f}`))); return await agent(`sum ${r.join()}`)",
    "fan2": "const jobs=args.map(f=>()=>agent(f)); const r=(await parallel(jobs)).filter(Boolean); const c = await parallel(r.map(x=>()=>agent(`check ${x}`))); if(!c.length) return 'none'; return await agent('end')",
    "after": "const r = await agent('plan'); const ok = r.includes('yes'); log(ok ? 'a':'b'); return {n: ok ? 1 : 2}",
    "helper": "async function ask(p,o){ return agent(p,{...o, effort:'low'}) } const a = await ask('one',{label:'a'}); const b = await ask(`two ${a}`,{label:`b ${a}`}); return b",
    "pipe": "const out = await pipeline(args, a=>agent(a,{label:`l ${a}`}), (r,a) => agent(`x ${r} ${a}`).then(v=>({a, ...r, v}))); const f = out.filter(Boolean); await agent(f.map(x=>x.v).join()); return f.map(x=> x.v ? 1 : 2)",
    "count": "const rs=[]; while(rs.length<10){ rs.push(await agent('x')) } return rs",
    "map idx": "const dims=[{k:'a',p:'x'},{k:'b',p:'y'}]; const r = await parallel(dims.map(d=>async()=>{ const a = await agent(d.p,{label:d.k}); const b = await agent(`verify ${a}`); return {a,b} })); return r.filter(Boolean).length",
    "votes": "const v = await parallel([1,2,3].map(i=>()=>agent(`vote ${i}`,{schema:S}))); const yes = v.filter(x=>x.ok).length; return yes>=2 ? 'ok' : 'no'",
    "reduce ok": "await args.reduce(async (p,s)=>{ await p; await agent(s)}, Promise.resolve())",
    "throw root": "const r = await agent('x'); if (!r) throw new Error('no'); await agent('y')",
    "sort": "const r=await parallel(args.map(a=>()=>agent(a))); const s=[...r].sort((a,b)=>a.n-b.n); await parallel(s.map(x=>()=>agent(x)))",
    "slice": "const r=await parallel(args.map(a=>()=>agent(a))); await parallel(r.slice(0,3).map(x=>()=>agent(x)))",
    "nested parallel": "await parallel(args.map(a=>()=>parallel([1,2].map(i=>()=>agent(`${a}${i}`)))))",
    "ternary args": "const qs = Array.isArray(args) && args.length>0 ? args : ['a','b']; await parallel(qs.map(q=>()=>agent(q)))",
    "named fn struct ok": "const each=async(xs)=>{ for(const x of xs) await agent(x) }; const r=await parallel(args.map(a=>()=>agent(a))); await each(r)",
}

DECIDED = {
    "loop dry": "let n=0; while(n<5){ const r = await agent('find',{schema:S}); if(!r.items.length) break; n++ }",
    "items": "const r = await agent('plan',{schema:S}); await parallel(r.steps.map(s=>()=>agent(s)))",
    "model": "const r = await agent('plan'); await agent('x',{model: r.hard ? 'opus':'haiku'})",
    "let": "let n=1; const r = await agent('p'); if (r.big) n=5; for(let i=0;i<n;i++) await agent('x')",
    "implicit": "const xs=[]; const r = await agent('p'); for(const i of r.items) xs.push(i); for (const x of xs) await agent('x')",
    "helper2": "async function ask(p,o){ const r = await agent(p,o); if (!r.ok) return agent('again'); return r } await ask('a')",
    "pipe null": "await pipeline(args, a=>agent(a), r => r.ok ? r : null, r => agent(`x ${r}`))",
    "spread": "const rs=[]; for(let i=0;i<3;i++){ const r = await agent('x'); rs.push(...r.items) } await parallel(rs.map(r=>()=>agent(r)))",
    "alias": "const a=[]; const b=a; const r=await agent('x'); if(r.y) b.push(1); for(const x of a) await agent('z')",
    "param alias": "const a=[]; function add(l, r){ if(r.ok) l.push(r) } add(a, await agent('q')); await parallel(a.map(x=>()=>agent('z')))",
    "budget": "while(budget.remaining()>1000) await agent('x')",
    "and": "const r = await agent('x'); r.ok && await agent('y')",
    "opt": "const r = await agent('x'); const f = r.ok ? (()=>agent('y')) : (()=>1); await f()",
    "table": "const t={a:()=>agent('1'), b:()=>agent('2')}; const r=await agent('x'); await t[r.kind]()",
    "votes2": "const v = await parallel([1,2,3].map(i=>()=>agent(`vote ${i}`,{schema:S}))); const yes = v.filter(x=>x.ok).length; if (yes>=2) await agent('go')",
    "set": "const s=new Set(); for (const x of await parallel(args.map(a=>()=>agent(a)))) s.add(x); for (const y of s) await agent(y)",
    "then": "await agent('x').then(r => r.ok ? agent('y') : null)",
    "destr": "const {items} = await agent('x'); for (const i of items) await agent(i)",
    "reduce": "const r = await agent('x'); await r.steps.reduce(async (p,s)=>{ await p; await agent(s)}, Promise.resolve())",
    "early": "const r = await agent('x'); if (r.done) return 1; await agent('y')",
    "throw thunk": "await parallel([async()=>{ const r=await agent('x'); if(!r.ok) throw new Error(); await agent('y') }])",
    "stage fn": "const verify = (f)=>agent(`v ${f}`); const r = await agent('list',{schema:S}); for (const f of r.files) await verify(f)",
    "switch": "const r = await agent('x'); switch(r.kind){ case 'a': await agent('y') }",
    "obj method": "const w={ async go(x){ return agent(x) } }; const r = await agent('x'); if(r.a) await w.go('z')",
    "assign in fn": "let go=false; const set=()=>{ go=true }; const r=await agent('x'); if(r.a) set(); if(go) await agent('y')",
    "phase": "const r=await agent('a'); phase(r.name); await agent('b')",
    "concat": "let all=[]; for (const x of [1,2]) { const r=await agent('a'); all = all.concat(r.items) } await parallel(all.map(x=>()=>agent('z')))",
    "counter closure": "let n=0; await parallel(args.map(a=>async()=>{ const r=await agent(a); if(r.bad) n++ })); for(let i=0;i<n;i++) await agent('fix')",
    "prop": "const st={go:0}; const r=await agent('a'); st.go=r.n; for(let i=0;i<st.go;i++) await agent('b')",
    "ret obj": "async function plan(){ const r=await agent('p'); return {steps:r.s} } const p = await plan(); for(const s of p.steps) await agent(s)",
    "length of text": "const t=await agent('x'); if(t.length>10) await agent('y')",
    "el struct": "const rs=await parallel(args.map(a=>()=>agent(a))); for(const r of rs) for (const i of r.items) await agent(i)",
    "el struct2": "const rs=await parallel(args.map(a=>()=>agent(a))); const all=rs.flatMap(r=>r.items); await parallel(all.map(i=>()=>agent(i)))",
    "flat": "const rs=await parallel(args.map(a=>()=>agent(a))); const all=rs.flat(); await parallel(all.map(i=>()=>agent(i)))",
    "named fn struct": "const each=async(xs)=>{ for(const x of xs) await agent(x) }; const r=await agent('a'); await each(r.items)",
}

OPAQUE = {
    "global": "const g = globalThis.agent; await g('x')",
    "hand": "await Promise.all(args.map(agent))",
}


def _shape(body: str) -> Shape:
    return shape_of(read_script((META + body).encode(), origin="case.js", path=None))


@pytest.mark.parametrize("body", FIXED.values(), ids=FIXED)
def test_a_script_whose_agents_depend_on_no_answer_is_known_as_such(body: str) -> None:
    found = _shape(body)
    assert (found.is_fixed, found.decisions, found.why_unknown) == (True, (), None)


@pytest.mark.parametrize("body", DECIDED.values(), ids=DECIDED)
def test_where_an_answer_decides_about_agents_it_is_never_called_fixed(body: str) -> None:
    found = _shape(body)
    assert not found.is_fixed
    assert found.decisions


@pytest.mark.parametrize("body", OPAQUE.values(), ids=OPAQUE)
def test_what_cannot_be_told_is_said_to_be_so(body: str) -> None:
    found = _shape(body)
    assert not found.is_fixed
    assert found.why_unknown is not None
    assert "line 2" in found.why_unknown


def test_a_decision_is_named_with_its_line() -> None:
    found = _shape("const r = await agent('plan')\nif (r.ok) {\n  await agent('go')\n}\n")
    assert [(each.line, each.text) for each in found.decisions] == [(3, "if (r.ok) {")]


def test_a_script_that_does_not_parse_is_not_judged() -> None:
    assert _shape("const = 5; await agent('x')").why_unknown == "the script cannot be parsed as a whole"


def test_a_script_of_thousands_of_lines_is_judged_in_good_time() -> None:
    body = "".join(f"const r{i} = await agent('task {i}')\n" for i in range(3_000))
    found = _shape(body)
    assert found.is_fixed or found.why_unknown == "the script takes too long to look at"


def test_calls_that_were_not_reached_are_found_by_their_lines() -> None:
    body = "if (args.a) {\n  await agent(\n    'one',\n  )\n} else {\n  await agent('two')\n}\n"
    sites = call_sites(read_script((META + body).encode(), origin="case.js", path=None))

    assert [(site.line, site.last_line) for site in sites] == [(3, 5), (7, 7)]
    assert [site.line for site in never_called(sites, frozenset({4}))] == [7]
    assert [site.line for site in never_called(sites, frozenset({7}))] == [3]
    assert never_called(sites, frozenset({3, 7})) == ()
