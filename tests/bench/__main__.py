"""The table of figures, measured in one run: this project beside the bare client, on one loopback service.

    python -m tests.bench [--agents 1000] [--rows cpu,latency,...]

Machines differ and are noisy: read the ratios. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tests.bench.measure import Figures, environment, measured, probed
from tests.bench.recording import KINDS
from tests.bench.trees import Repository
from tests.bench.watching import watched

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable

SCRIPT = """export const meta = { name: 'bench', description: 'as many agents as args say' }
const context = 'what all should know '.repeat(args.context)
const schema = { type: 'object', properties: { done: { type: 'boolean' } }, required: ['done'] }
const options = { label: 'agent', ...(context && { context }), ...(args.schema && { schema }) }
const one = i => agent('task ' + i, options)
const done = await Promise.all(Array.from({ length: args.n }, (_, i) => one(i)))
return done.filter(Boolean).length
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every row shares: how many agents, and a workspace of its own with the script in it.

    Attributes:
        context: How often the words that all agents share are repeated; 0 for none.
        schema: Agents answer by a schema.
    """

    agents: int
    workspace: Path
    context: int = 0
    schema: bool = False

    def callsheet(self, count: int, *flags: str, **environ: str) -> Figures:
        """One run of the bench script in a process of its own."""
        args = json.dumps({"n": count, "context": self.context, "schema": self.schema})
        command = [PYTHON, "-m", "callsheet", "run", "bench.js", "--args", args, "--quiet"]
        command += ["--max-agents", "5000", "--budget", "900M", "--output", "json", *flags]
        figures = measured(
            probed(command), environ=environment(HOME=str(self.workspace), **environ), cwd=self.workspace
        )
        result = json.loads(figures.stdout)
        if result["result"] != count:
            raise RuntimeError(
                f"{result['result']} of {count} agents answered: {result['error']} {result['problems'][:1]}"
            )
        return figures

    def raw(self, count: int, parallel: int, **environ: str) -> Figures:
        """The requests of the agent that asked last, as often, by the bare client."""
        request = self.workspace / "request.json"
        with urllib.request.urlopen(f"{environ['ANTHROPIC_BASE_URL']}/__request", timeout=10) as answer:
            request.write_bytes(answer.read())
        command = [PYTHON, "-m", "tests.bench.raw", str(count), str(parallel), str(request)]
        return measured(probed(command), environ=environment(PYTHONPATH=str(ROOT), **environ), cwd=ROOT)


@contextmanager
def service(*flags: str) -> Iterator[str]:
    """The loopback service in a process of its own; gives its address."""
    command = [PYTHON, "-m", "tests.support.messages_service", *flags]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().split()[-1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            process.wait(10)


def keyed(address: str) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_API_KEY": "bench"}


def first_request_at(address: str) -> float:
    with urllib.request.urlopen(f"{address}/__stats", timeout=10) as answer:
        return float(json.load(answer)["first_request_at"])


def cpu_per_agent(bench: Bench) -> list[str]:
    """CPU of a run of many less that of a run of one: what one more agent costs."""
    mine, theirs = cpu_ms(bench)
    return [
        f"CPU per agent                     {mine:6.2f} ms   raw {theirs:6.2f} ms   x{mine / theirs:4.2f}   goal ≤ 4 ms"
    ]


def with_all_tools(bench: Bench) -> list[str]:
    """The same with a skill, an MCP server's tools, an answer schema, and two turns: a file is read, then answered."""
    root = bench.workspace
    (root / "README.md").write_text("Nothing of note.\n", encoding="utf-8")
    (root / ".claude" / "skills" / "note").mkdir(parents=True)
    skill = "---\nname: note\ndescription: How to note.\n---\nNote it.\n"
    (root / ".claude" / "skills" / "note" / "SKILL.md").write_text(skill, encoding="utf-8")
    shutil.copy(ROOT / "tests" / "support" / "mcp_server.py", root / "server.py")
    server = {"command": PYTHON, "args": ["server.py", "helper"]}
    (root / ".mcp.json").write_text(json.dumps({"mcpServers": {"helper": server}}), encoding="utf-8")
    try:
        mine, theirs = cpu_ms(replace(bench, schema=True), "--trust", "--allow", "mcp__helper", reply="answer")
    finally:
        (root / ".mcp.json").unlink()
        shutil.rmtree(root / ".claude")
    return [
        f"CPU per agent, all tools, 2 turns {mine:6.2f} ms   raw {theirs:6.2f} ms   x{mine / theirs:4.2f}   "
        f"{mine / 2:.2f} ms a turn"
    ]


def cpu_ms(bench: Bench, *flags: str, reply: str = "text") -> tuple[float, float]:
    """What one more agent costs, and what its requests cost the bare client; medians of three."""
    n = bench.agents
    with service("--reply", reply) as address:
        ours = [
            (bench.callsheet(n, "--max-parallel", "16", "--no-cache-warmup", *flags, **keyed(address)).cpu_s
             - bench.callsheet(1, *flags, **keyed(address)).cpu_s) / (n - 1) * 1000
            for _ in range(3)
        ]  # fmt: skip
        raw = [
            (bench.raw(n, 16, **keyed(address)).cpu_s - bench.raw(1, 1, **keyed(address)).cpu_s) / (n - 1) * 1000
            for _ in range(3)
        ]
    return statistics.median(ours), statistics.median(raw)


def with_latency(bench: Bench) -> list[str]:
    n, latency_s, parallel = bench.agents, 2.0, 100
    ideal = n / parallel * latency_s
    with service("--latency-ms", str(latency_s * 1000)) as address:
        flags = ("--max-parallel", str(parallel), "--no-cache-warmup")
        figures = bench.callsheet(n, *flags, **keyed(address))
        raw = bench.raw(n, parallel, **keyed(address))
    return [
        f"{n} agents, 2 s latency, 100 at a time {figures.wall_s:6.2f} s   raw {raw.wall_s:6.2f} s   "
        f"x{figures.wall_s / raw.wall_s:4.2f}   goal ≤ {ideal * 1.1:.0f} s (ideal {ideal:.0f} s)",
        f"peak memory, {n} agents            {figures.peak_mb:6.1f} MB   raw {raw.peak_mb:6.1f} MB   "
        f"x{figures.peak_mb / raw.peak_mb:4.2f}   goal ≤ 160 MB",
    ]


def cache_warmup(bench: Bench) -> list[str]:
    """What it costs that of calls with a shared prefix one goes first: once its latency, at most 5 s."""
    n, latency_s, flags = bench.agents, 2.0, ("--max-parallel", "100")
    bench = replace(bench, context=1000)
    with service("--latency-ms", str(latency_s * 1000)) as address:
        on = bench.callsheet(n, *flags, **keyed(address)).wall_s
        off = bench.callsheet(n, *flags, "--no-cache-warmup", **keyed(address)).wall_s
    return [
        f"cache warm-up, {n} agents, 20 KB shared {on:6.2f} s   off {off:6.2f} s   {on - off:+5.2f} s   "
        f"goal ≤ {latency_s:g} s more (the first reply's latency)"
    ]


def without_latency(bench: Bench) -> list[str]:
    n = bench.agents
    with service() as address:
        figures = bench.callsheet(n, "--max-parallel", "16", "--no-cache-warmup", **keyed(address))
        raw = bench.raw(n, 16, **keyed(address))
    return [
        f"{n} agents, no latency             {figures.wall_s:6.2f} s   raw {raw.wall_s:6.2f} s   "
        f"x{figures.wall_s / raw.wall_s:4.2f}   goal ≤ 5 s"
    ]


def to_first_request(bench: Bench) -> list[str]:
    """From the command to the first request, beside what importing the client takes by itself, in turn."""
    waits, imports = [], []
    for _ in range(5):
        with service() as address:
            figures = bench.callsheet(1, **keyed(address))
            waits.append(first_request_at(address) - figures.started_at)
        imports.append(measured(probed([PYTHON, "-c", "import anthropic"]), environ=environment(), cwd=ROOT).wall_s)
    wait, alone = statistics.median(waits), statistics.median(imports)
    return [f"to the first model request        {wait:6.2f} s   import anthropic {alone:6.2f} s   "
            f"{wait - alone:+5.2f} s   goal ≤ +0.15 s"]  # fmt: skip


def to_first_scripted_agent(bench: Bench) -> list[str]:
    (bench.workspace / "answers.json").write_text('{"answers": []}', encoding="utf-8")
    waits = []
    for _ in range(5):
        figures = bench.callsheet(1, "--backend", "scripted:answers.json")
        started = json.loads(figures.stdout)["agents"][0]["started_at"]
        waits.append(datetime.fromisoformat(started).timestamp() - figures.started_at)
    return [f"to the first scripted agent       {statistics.median(waits):6.2f} s   goal ≤ 0.35 s"]


def version(bench: Bench) -> list[str]:
    walls = [
        measured(probed([PYTHON, "-m", "callsheet", "--version"]), environ=environment(), cwd=bench.workspace).wall_s
        for _ in range(7)
    ]
    bare = [measured(probed([PYTHON, "-c", "pass"]), environ=environment(), cwd=ROOT).wall_s for _ in range(7)]
    return [f"callsheet --version               {statistics.median(walls) * 1000:6.0f} ms   "
            f"python -c pass {statistics.median(bare) * 1000:4.0f} ms   goal ≤ 150 ms"]  # fmt: skip


def waiting(bench: Bench) -> list[str]:
    """Does an agent cost more when many wait behind it?"""
    (bench.workspace / "answers.json").write_text('{"answers": []}', encoding="utf-8")
    flags = ("--backend", "scripted:answers.json", "--max-parallel", "16")
    one = bench.callsheet(1, *flags).cpu_s
    few = (bench.callsheet(32, *flags).cpu_s - one) / 31 * 1000
    many = (bench.callsheet(bench.agents, *flags).cpu_s - one) / (bench.agents - 1) * 1000
    return [f"CPU per scripted agent            {many:6.2f} ms with {bench.agents} waiting, {few:6.2f} ms with 16   "
            f"x{many / few:4.2f}   goal ≤ x1.20"]  # fmt: skip


def resume(bench: Bench) -> list[str]:
    """A finished run again from its record: nobody is asked, whatever the service."""
    with service() as address:
        bench.callsheet(bench.agents, "--max-parallel", "16", "--no-cache-warmup", **keyed(address))
        with urllib.request.urlopen(urllib.request.Request(f"{address}/__reset", method="POST"), timeout=10):
            pass
        command = [PYTHON, "-m", "callsheet", "resume", "--output", "json", "--quiet"]
        environ = environment(HOME=str(bench.workspace), **keyed(address))
        walls = []
        for _ in range(3):
            figures = measured(probed(command), environ=environ, cwd=bench.workspace)
            if json.loads(figures.stdout)["resumed"]["reused"] != bench.agents:
                raise RuntimeError(f"not all of {bench.agents} agents answered from the record")
            walls.append(figures.wall_s)
        with urllib.request.urlopen(f"{address}/__stats", timeout=10) as answer:
            requests = json.load(answer)["requests"]
    return [f"resume of {bench.agents} finished agents     {statistics.median(walls):6.2f} s   "
            f"{requests} requests   goal ≤ 1 s, none"]  # fmt: skip


def recording(bench: Bench) -> list[str]:
    """The same run of the engine with SQLite less with a store that keeps nothing; with budgets less without."""
    n, cpu, size = bench.agents, {kind: [0.0] for kind in KINDS}, 0
    for turn in range(5):
        for kind in KINDS if turn % 2 else reversed(KINDS):
            folder = bench.workspace / f"record-{turn}-{kind}"
            folder.mkdir()
            command = [PYTHON, "-m", "tests.bench.recording", str(n), kind, str(folder)]
            done = measured(probed(command), environ=environment(PYTHONPATH=str(ROOT)), cwd=ROOT)
            cpu[kind].append(float(done.stdout.split()[0]) / n)
            size = int(done.stdout.split()[1]) or size
    forgotten, recorded, budgeted = (statistics.median(cpu[kind][1:]) for kind in KINDS)
    return [
        f"record, CPU per agent             {recorded - forgotten:6.2f} ms   the engine without {forgotten:5.2f} ms   "
        f"x{recorded / forgotten:4.2f}",
        f"budgets, CPU per agent            {budgeted - recorded:6.2f} ms   the engine without {recorded:5.2f} ms   "
        f"x{budgeted / recorded:4.2f}   goal ≤ 0.3 ms with the record",
        f"record, size per agent            {size / n / 1000:6.2f} KB   without conversations   goal ≤ 3 KB",
    ]


def worktree(bench: Bench) -> list[str]:
    """An agent's worktree of 10,000 files: the first one, and one after another is over."""
    made = Repository(bench.workspace / "tree").worktrees()
    return [
        f"worktree, 10,000 files: first     {made.first_ms:6.0f} ms   git checkout-index {made.checkout_ms:6.0f} ms   "
        f"x{made.first_ms / made.checkout_ms:4.2f}   bare file creation {made.create_ms:.0f} ms",
        f"worktree, 10,000 files: next ones {made.next_ms:6.0f} ms   git checkout-index {made.checkout_ms:6.0f} ms   "
        f"x{made.next_ms / made.checkout_ms:4.2f}   goal ≤ 300 ms",
    ]


def checkpoint(bench: Bench) -> list[str]:
    """A checkpoint of 10,000 files of which ten changed, beside what `git status` takes there."""
    taken = Repository(bench.workspace / "tree").checkpoints()
    return [
        f"checkpoint, 10,000 files: first   {taken.first_ms:6.0f} ms   git add, write-tree {taken.add_ms:6.0f} ms   "
        f"x{taken.first_ms / taken.add_ms:4.2f}",
        f"checkpoint, 10 files changed      {taken.next_ms:6.0f} ms   git status {taken.status_ms:6.0f} ms   "
        f"x{taken.next_ms / taken.status_ms:4.2f}   goal ≤ 300 ms",
    ]


def watch(bench: Bench) -> list[str]:
    """The dashboard in a terminal beside a run of a thousand agents."""
    environ = environment(HOME=str(bench.workspace), XDG_RUNTIME_DIR=str(bench.workspace))
    seen = watched([PYTHON, "-m", "callsheet"], bench.workspace, environ, agents=bench.agents)
    return [
        f"watch, {bench.agents} agents, {seen.events_s:4.0f} events/s   {seen.core:6.1%} of a core   goal ≤ 15 %",
        f"watch, answer to a key            {seen.median_ms:6.0f} ms   "
        f"slowest {max(seen.keys_ms):.0f} ms   goal ≤ 100 ms",
    ]


ROWS: dict[str, Callable[[Bench], list[str]]] = {
    "version": version,
    "first": to_first_request,
    "scripted": to_first_scripted_agent,
    "cpu": cpu_per_agent,
    "tools": with_all_tools,
    "plain": without_latency,
    "waiting": waiting,
    "latency": with_latency,
    "warmup": cache_warmup,
    "resume": resume,
    "record": recording,
    "worktree": worktree,
    "checkpoint": checkpoint,
    "watch": watch,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        workspace = Path(folder)
        (workspace / "bench.js").write_text(SCRIPT, encoding="utf-8")
        bench = Bench(agents=options.agents, workspace=workspace)
        for row in options.rows.split(","):
            for line in ROWS[row](bench):
                print(line, flush=True)


if __name__ == "__main__":
    main()
