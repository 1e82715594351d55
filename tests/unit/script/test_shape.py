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
    "helper arrays": "async function all(fs){ return await parallel(fs.map(f=>()=>agent(f))) } const r = await all(args); const c = await parallel(r.map(x=>()=>agent(`c ${x}`))); return c",
    "default param": "async function all(fs = ['a']){ return parallel(fs.map(f=>()=>agent(f))) } await all(args); await all()",
    "sleep": "const sleep=ms=>new Promise(r=>setTimeout(r,ms)); for(let i=0;i<3;i++){ await agent('a'); await sleep(1000) }",
    "count after": "let n=0; await parallel(args.map(a=>async()=>{ await agent(a); n++ })); for(let i=0;i<n;i++) await agent('b')",
    "push in branch": "const all=[]; await parallel(args.map(a=>async()=>{ const r=await agent(a); all.push({a,r}) })); await parallel(all.map(x=>()=>agent(`v ${x.r}`)))",
    "try log": "for (const a of args) { try { await agent(a) } catch (e) { log(e.message) } } await agent('end')",
    "catch null": "await agent('a').catch(() => null); await agent('b')",
    "batches": "const size=5; for (let i=0;i<args.length;i+=size) { const batch=args.slice(i,i+size); await parallel(batch.map(b=>()=>agent(b))) } await agent('sum')",
    "entries": "for (const [k,v] of Object.entries({a:1,b:2})) await agent(k+v)",
    "zip": "const r=await parallel(args.map(a=>()=>agent(a))); const pairs=args.map((a,i)=>({a, r:r[i]})); await parallel(pairs.map(p=>()=>agent(`${p.a} ${p.r}`)))",
    "fields": "const S={type:'object'}; const {summary} = await agent('a',{schema:S}); return await agent(`b ${summary}`)",
    "missing": "const r=await parallel(args.map(a=>()=>agent(a))); const missing=args.filter((_, n)=>r[n]===null); if (missing.length > 0) log(`none: ${missing.join(', ')}`); const end = await agent('end'); if (!end) log(missing.map(m=>m.trim()).slice(0, 3).join())",
    "finally": "try { await agent('a') } finally { log('x') } await agent('b')",
}

DECIDED = {
    "sorted in branch": "const a=[...args]; const b=a; const r=await agent('x'); if (r.y) b.sort(); for (const x of a.slice(0, 2)) await agent(x, {model: x})",
    "own method of a harmless name": "const o={ n: 1, join(){ this.n = 5; o.n = 5 } }; const r=await agent('x'); if (r.y) o.join(); for (let i=0;i<o.n;i++) await agent('z')",
    "callback in branch": "const a=[]; const r=await agent('x'); if (r.y) args.map(x => a.push(x)); for (const x of a) await agent(x)",
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
    "pattern param": "async function go({steps}){ for (const s of steps) await agent(s) } const r = await agent('p'); await go(r)",
    "rest": "async function go(a,...xs){ for (const x of xs) await agent(x) } const r = await agent('p'); await go(1, ...r.items)",
    "handed": "const each=async(xs)=>{ for(const x of xs) await agent(x) }; const r=await agent('a'); r.lists.forEach(each); await each(args)",
    "cb alias": "const gs=[[],[]]; const r = await agent('a'); gs.forEach(g => { if (r.ok) g.push(1) }); for (const g of gs) for (const x of g) await agent('b')",
    "cb alias2": "const gs=[{l:[]}]; const r = await agent('a'); for (const i of r.items) gs.forEach(g => g.l.push(i)); await parallel(gs[0].l.map(x=>()=>agent(x)))",
    "obj assign": "const o={}; const r=await agent('a'); Object.assign(o, r); if(o.x) await agent('b')",
    "index": "const o={}; const r=await agent('a'); o[r.kind]=1; for (const k of Object.keys(o)) await agent(k)",
    "index update": "const o={}; const rs=await parallel(args.map(a=>()=>agent(a))); for (const r of rs) o[r.kind]++; for (const k of Object.keys(o)) await agent(k)",
    "delete": "const o={a:1,b:2}; const r=await agent('a'); delete o[r.k]; for (const k in o) await agent(k)",
    "method effect": "let flag=false; const w={ set(){ flag=true } }; const r=await agent('a'); if(r.ok) w.set(); if(flag) await agent('b')",
    "unknown effect": "let flag=false; const fs=[()=>{flag=true}]; const r=await agent('a'); if(r.ok) fs[0](); if(flag) await agent('b')",
    "timer": "let late=false; setTimeout(()=>{late=true}, 30000); await agent('a'); if(late) await agent('b')",
    "timer agent": "setTimeout(()=>{ agent('a') }, 30000); await agent('b')",
    "order": "let last=null; await parallel(args.map(a=>async()=>{ await agent(a); last=a })); if(last==='x') await agent('b')",
    "order2": "let n=0; await parallel(args.map(a=>async()=>{ await agent(a); n++; if(n===2 && a==='x') await agent('b') }))",
    "try fallback": "let r; try { r = JSON.parse(await agent('a')) } catch { r = await agent('again') }",
    "catch": "await agent('a').catch(() => agent('b'))",
    "logical": "let r = await agent('a'); r.x ||= await agent('b')",
    "gen": "function* g(xs){ for (const x of xs) yield x } const r=await agent('a'); for (const x of g(r.items)) await agent(x)",
    "while re": "const t=await agent('a'); const re=/x/g; let m; while((m=re.exec(t))) await agent('b')",
    "map set": "const m=new Map(); const rs=await parallel(args.map(a=>()=>agent(a))); for(const r of rs) m.set(r.k, r); for (const [k] of m) await agent(k)",
    "map set ok": "const m=new Map(); for (const a of args) m.set(a, await agent(a)); for (const [k] of m) await agent(k)",
    "retry": "async function retry(fn, n){ for(let i=0;i<n;i++){ const r=await fn(); if(r) return r } } await retry(()=>agent('a'), 3)",
}

OPAQUE = {
    "global": "const g = globalThis.agent; await g('x')",
    "hand": "await Promise.all(args.map(agent))",
    "this": "const w={ n:0, async go(){ this.n = (await agent('a')).n } }; await w.go(); if (w.n) await agent('b')",
    "apply": "const xs=[]; const r=await agent('a'); Array.prototype.push.apply(xs, r.items); for (const x of xs) await agent(x)",
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
