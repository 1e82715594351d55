"""What a script can reach: only itself (CONTRACT D02, D03, W01)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import anyio
import psutil
import pytest

from callsheet.model.sandbox import SandboxLimits
from callsheet.sandbox.host import SandboxHost, Session
from tests.support.deadline import within
from tests.support.drive import drive
from tests.support.live_run import gone

pytestmark = pytest.mark.anyio

# Everything that can be reached from a script's globals and from its syntax, by properties, accessors and prototypes.
WALK = r"""
const seen = new Map()
const queue = []
const visit = (value, path) => {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return
  if (seen.has(value)) return
  seen.set(value, path)
  queue.push(value)
}
const roots = [globalThis, function () {}, async function () {}, function* () {}, async function* () {}, () => {},
  async () => {}, (function* () {})(), (async function* () {})(), [].values(), ''[Symbol.iterator](),
  new Map().entries(),
  new Set().values(), ''.matchAll(/x/g), [].values().map((x) => x), Iterator.from({ next() {} }), /x/, new Error(),
  agent('x'), parallel([]), new URL('http://a'), new URL('http://a').searchParams, new URLSearchParams().entries(),
  (function () { return arguments })(), Object.getOwnPropertyDescriptor((function () { return arguments })(),
  'callee').get,
  new DOMException('x'), class { static #p; static { visit(this, 'class') } }, Symbol.iterator,
  structuredClone(new Map()),
  new Proxy({}, {}), budget, meta]
roots.forEach((root, i) => visit(root, `root${i}`))
for (const error of [() => null.x, () => agent.x.y, () => new URL('?'), () => structuredClone(() => 1),
  () => setTimeout(1),
  () => eval('1'), () => JSON.parse('{'), () => phase()]) try { error() } catch (e) { visit(e, 'error') }
for (const error of [parallel(1), pipeline(1), workflow(1), agent(1), workflow('none'), import('x')]) {
  try { await error } catch (e) { visit(e, 'rejection') }
}
for (let i = 0; i < queue.length; i++) {
  const object = queue[i], path = seen.get(object)
  visit(Object.getPrototypeOf(object), path + '.__proto__')
  for (const key of Reflect.ownKeys(object)) {
    const d = Object.getOwnPropertyDescriptor(object, key), at = `${path}.${String(key)}`
    visit(d.value, at); visit(d.get, at + ':get'); visit(d.set, at + ':set')
    if (d.get) for (const that of [object, undefined]) try { visit(Reflect.apply(d.get, that, []),
  at + '()') } catch {}
  }
}
"""


@pytest.mark.contract("D02")
async def test_no_function_that_can_be_reached_makes_code_of_a_string() -> None:
    driven = await drive(
        WALK
        + r"""
const routes = []
for (const [f, path] of seen) {
  if (typeof f !== 'function') continue
  for (const make of [() => f('6*7'), () => new f('return 6*7'), () => Reflect.construct(f, ['return 6*7'], Function),
    () => Reflect.apply(f, Function, ['return 6*7']), () => f({ toString: () => '6*7' })]) {
    try {
      const made = make()
      if (made === 42) routes.push(path)
      if (typeof made === 'function' && !seen.has(made) && made('6*7') === 42) routes.push(path)
    } catch {}
  }
}
return [routes, seen.size]
""",
        limits=SandboxLimits(cpu_limit_s=20),
    )
    assert isinstance(driven.result, list)
    routes, size = driven.result
    assert routes == []
    assert isinstance(size, int) and size > 1500


@pytest.mark.contract("D03")
async def test_everything_that_scripts_share_with_the_engine_is_frozen() -> None:
    driven = await drive(
        WALK
        + r"""
const own = (path) => /^root\d+$|^error|^rejection|^class|^root\d+\.prototype|^root[78]\.__proto__$/.test(path)
const loose = []
for (const [object, path]
  of seen) if (object !== globalThis && !Object.isFrozen(object) && !own(path)) loose.push(path)
return loose
"""
    )
    assert isinstance(driven.result, list)
    allowed = {"args", "meta"}
    assert [path for path in driven.result if not any(f".{name}" in str(path) for name in allowed)] == []


@pytest.mark.contract("D03")
async def test_nothing_of_the_bindings_can_be_reached() -> None:
    driven = await drive(
        WALK
        + r"""
const names = new Set(['drain', 'blob', 'say', 'deliver', 'start', 'harden', 'expose', 'counts', 'reseed',
  'resolve$'])
return [...seen].filter(([object]) => Reflect.ownKeys(object).some((key) => names.has(key))).map(([, path]) => path)
"""
    )
    assert driven.result == []


@pytest.mark.contract("D03")
async def test_prototypes_cannot_be_changed_by_any_means() -> None:
    driven = await drive(
        r"""
const tries = [
  () => { Array.prototype.push = 1 }, () => { Object.prototype.evil = 1 }, () => { delete Promise.prototype.then },
  () => Object.defineProperty(String.prototype, 'evil', { value: 1 }), () => Object.setPrototypeOf(Array.prototype,
  null),
  () => { Function.prototype.call = 1 }, () => Object.assign(Map.prototype, { get: 1 }), () => { 'abc'.toString = 1 },
  () => { (5).toFixed = 1 }, () => { Math.max = 1 }, () => { JSON.parse = 1 }, () => { Promise.resolve = 1 },
  () => Reflect.defineProperty(agent, 'call', { value: 1 }) || (() => { throw new TypeError() })(), () => {
  console.log = 1 },
  () => { agent.x = 1 }, () => { URL.prototype.toString = 1 }, () => { budget.cost.spent = 1 }, () => {
  [].__proto__.x = 1 },
  () => Object.getPrototypeOf([].values()).next = 1, () => { Error.prototype.name = 1 },
  () => Object.prototype.__defineGetter__('x', () => 1),
  () => { Error.captureStackTrace = 1 }, () => { Date.now = 1 }, () => { Error.prototype.stack = 1 },
]
return tries.map((f, i) => { try { f(); return i } catch (e) { return e.name } })
"""
    )
    assert driven.result == ["TypeError"] * 24


@pytest.mark.contract("D03")
async def test_stack_hooks_are_given_nothing() -> None:
    driven = await drive(
        r"""
let seen = 'none'
const hook = (e, sites) => { seen = typeof sites; return 'x' }
for (const set of [() => { Error.prepareStackTrace = hook }, () => Object.defineProperty(Error, 'prepareStackTrace',
  { value: hook }),
  () => { TypeError.prepareStackTrace = hook }, () => { class E extends Error { static prepareStackTrace = hook };
  new E().stack }]) try { set() } catch {}
try { null.x } catch (e) { void e.stack }
return [seen, 'prepareStackTrace' in Error, 'getFunction' in Object.prototype]
"""
    )
    assert driven.result == ["none", False, False]


@pytest.mark.contract("D03")
async def test_the_length_of_stacks_cannot_be_made_to_run_code() -> None:
    driven = await drive(
        "let ran = 0; Error.stackTraceLimit = { valueOf() { ran++; return 0 } }; Error.stackTraceLimit = 0\n"
        "try { null.x } catch (e) { return [ran, e.stack.includes('workflow.js:2'), Error.stackTraceLimit] }"
    )
    assert driven.result == [0, True, 10]


@pytest.mark.contract("D03")
async def test_a_call_sees_no_caller_and_no_internal_this_or_arguments() -> None:
    driven = await drive(
        r"""
const seen = []
const spy = function (...given) { seen.push(this === undefined, given.length); try { spy.caller } catch (e) {
  seen.push(e.name) } }
await parallel([spy]); await pipeline([1], spy)
await new Promise((r) => setTimeout(function () { seen.push(this === undefined); r() }, 1))
return seen
"""
    )
    assert driven.result == [True, 0, "TypeError", True, 3, "TypeError", True]


@pytest.mark.contract("A06", "D03")
async def test_traps_in_what_is_given_see_no_internals() -> None:
    driven = await drive(
        r"""
const given = []
const trap = (name) => new Proxy({}, { get(t, k, r) { given.push(typeof k);
  return k === 'then' ? undefined : Reflect.get(t, k, r) },
  ownKeys() { given.push('keys'); return ['label', 'x'] }, getOwnPropertyDescriptor() { return { value: 1,
  enumerable: true, configurable: true } } })
class Spy extends Array { static get [Symbol.species]() { given.push('species'); return Spy } map(f) {
  given.push('map'); return [] } }
await agent('x', trap()); await workflow(trap()).catch(() => {}); await parallel(Spy.from([() => 1]));
  await pipeline(Spy.from([trap()]), (x) => 1)
const p = Promise.resolve(1); p.constructor = { [Symbol.species]: class { constructor(f) { f(() => {}, () => {}) } } }
await parallel([() => p]).catch(() => given.push('rejected')); await pipeline([p], (x) => x);
  p.then = () => given.push('own then')
log(trap(), p); await parallel([() => trap()])
return [...new Set(given.map((x) => typeof x === 'string' ? x : 'LEAK'))].sort()
"""
    )
    assert isinstance(driven.result, list)
    assert not {"LEAK", "map", "species"} & {str(name) for name in driven.result}


@pytest.mark.contract("W01")
async def test_contexts_share_nothing_but_the_heap() -> None:
    driven = await drive(
        r"""
globalThis.secret = 1; Symbol.for('shared').description; const before = Object.getOwnPropertyNames(globalThis).length
const r = await workflow('child', { deep: [{}] })
return [r, Object.getOwnPropertyNames(globalThis).length === before, args === undefined, Array.isArray(r.list),
  r.list instanceof Array]
""",
        workflows={
            "child": "globalThis.Array = null; globalThis.agent = null; globalThis.left = 1; phase('x')\n"
            "return { list: [typeof secret, args.deep.length], names: "
            "Object.getOwnPropertyNames(globalThis).includes('secret') }"
        },
    )
    assert driven.result == [{"list": ["undefined", 1], "names": False}, True, True, True, True]


@pytest.mark.contract("D02")
@pytest.mark.parametrize(
    "attempt",
    [
        "open('/etc/passwd')", "os.open('/tmp/evil', os.O_CREAT | os.O_WRONLY)", "os.listdir('/')", "os.stat('/')",
        "socket.socket()", "socket.socket(socket.AF_UNIX)", "os.fork()", "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)", "os.unlink('/tmp/x')", "os.mkdir('/tmp/evil')", "os.dup(0)", "os.pipe()",
        "_thread.start_new_thread(print, ())", "os.setuid(0)", "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))",
        "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)", "os.memfd_create('x')",
        "os.chdir('/tmp')", "ctypes.CDLL(None).ptrace(16, 1, 0, 0) == -1 and denied()",
    ],
)  # fmt: skip
def test_whoever_takes_over_the_child_still_has_no_system(attempt: str) -> None:
    # As if a fault of the engine gave a script the whole process: arbitrary Python after the filter is loaded.
    program = (
        "import ctypes, mmap, os, resource, signal, socket, sys, threading, time, _thread\n"
        "from callsheet.sandbox import confine\n"
        "def denied(): raise PermissionError(1, 'x')\n"
        "filtered, detail = confine.confine(memory_bytes=1 << 28, cpu_s=5)\n"
        f"try:\n    {attempt}\n    os.write(1, b'went')\n"
        "except (OSError, RuntimeError, ValueError) as e:\n    os.write(1, b'denied' if filtered else b'unfiltered')\n"
        "os._exit(0)"
    )
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        {},
        file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, null, 2)],
    )
    os.close(writer)
    os.close(null)
    said = os.read(reader, 100)
    os.close(reader)
    os.waitpid(pid, 0)
    assert said == b"denied"
    assert not Path("/tmp/evil").exists()


async def test_no_child_outlives_its_host_however_that_ends(tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(
        "import anyio, sys\nfrom callsheet.model.sandbox import Clock, SandboxLimits, StartScript\n"
        "from callsheet.sandbox.host import SandboxHost\n"
        "async def main():\n"
        "    async with SandboxHost().open(SandboxLimits()) as session:\n"
        "        await session.deliver(StartScript(context=0, body=sys.argv[1], meta={}, args_json=None, seed=1), "
        "Clock(now_ms=0))\n"
        "        print(session.child.pid, flush=True)\n        await anyio.sleep(60)\n"
        "anyio.run(main)",
        encoding="utf-8",
    )
    for body in ("for (;;) {}", "await agent('x')"):
        with within():
            host = await anyio.open_process([sys.executable, str(script), body], stderr=None)
            assert host.stdout is not None
            child = psutil.Process(int(await host.stdout.receive()))
            assert child.is_running()
            host.kill()
            await host.wait()
            await gone([child.pid])
            await host.aclose()


async def test_the_child_is_given_no_secret_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-very-secret")
    with within():
        async with SandboxHost().open(SandboxLimits()) as session:
            await session.ready()
            assert isinstance(session, Session)
            child = psutil.Process(session.child.pid)
            assert "secret" not in json.dumps([child.environ(), child.cmdline()])
            assert child.open_files() == [file for file in child.open_files() if file.path.startswith("/proc/")]
            assert child.net_connections() == []
