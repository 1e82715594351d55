#!/usr/bin/env python3
"""Runs the conformance cases against any runtime that can be called as a command, and says which fall short.

A case is NAME.js (the script) and NAME.json: `ids` (lines of the contract), `answers` (for the scripted backend), optional
`args`, `files` (written into the workspace), `flags` (added to the command), and `expect`.

    python run.py --command "callsheet run" [--cases DIR] [--only GLOB] [--jobs 2]

The command gets: SCRIPT --backend scripted:FILE --output json [--args JSON] [flags]. It prints one JSON object
(FORMATS.md, section 1) and may exit non-zero. Exit status here: 0 when every case holds.
"""

import argparse
import fnmatch
import json
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


EXITS = {"completed": 0, "failed": 1, "degraded": 3}


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def faults(expect: dict, out: dict | None, code: int, seconds: float, stderr: str) -> list[str]:
    if out is None:
        return [f"no JSON object on standard output (exit {code}): {stderr.strip()[-300:]}"]
    found: list[str] = []
    error = out.get("error") or {}
    agents = everyone = out.get("agents") or []
    message = str(error.get("message", ""))
    lines = [str(entry.get("message", "")) for entry in out.get("logs") or []]
    if expect.get("refused"):
        if error.get("kind") != "refused" or code != 2:
            found.append(f"not refused: status {out.get('status')}, error {error}, exit {code}")
    if "status" in expect and out.get("status") != expect["status"]:
        found.append(f"status {out.get('status')!r}, not {expect['status']!r}; error {message[:200]!r}")
    if "result" in expect and canonical(out.get("result")) != canonical(expect["result"]):
        found.append(f"result {json.dumps(out.get('result'))[:300]}, not {json.dumps(expect['result'])[:300]}")
    if "status" in expect and not expect.get("refused") and code != expect.get("exit", EXITS[expect["status"]]):
        found.append(f"exit status {code}")
    if "error_column" in expect and error.get("column") != expect["error_column"]:
        found.append(f"error column {error.get('column')!r}, not {expect['error_column']}")
    if "workflow" in expect and out.get("workflow") != expect["workflow"]:
        found.append(f"workflow {out.get('workflow')!r}")
    if "error_kind" in expect and error.get("kind") != expect["error_kind"]:
        found.append(f"error kind {error.get('kind')!r}")
    if "error_line" in expect and error.get("line") != expect["error_line"]:
        found.append(f"error line {error.get('line')!r}, not {expect['error_line']}")
    found += [
        f"error does not say {part!r}: {message[:200]!r}"
        for part in expect.get("error_contains", [])
        if part.lower() not in message.lower()
    ]
    found += [f"error says {part!r}" for part in expect.get("error_excludes", []) if part in message]
    found += [
        f"no log line has {part!r}"
        for part in expect.get("logs_contain", [])
        if not any(part in line for line in lines)
    ]
    if "agent_count" in expect and len(everyone) != expect["agent_count"]:
        found.append(f"{len(everyone)} agents, not {expect['agent_count']}")
    started = [agent for agent in everyone if agent.get("started_at")]
    found += [f"agent {agent.get('agent_id')} started and has no end" for agent in started if not agent.get("ended_at")]
    for wanted in expect.get("agents", []):
        match = next((agent for agent in agents if all(agent.get(key) == value for key, value in wanted.items())), None)
        if match is None:
            found.append(f"no agent like {wanted}")
        else:
            agents = [agent for agent in agents if agent is not match]
    if "max_parallel" in expect:
        edges = sorted([(a["started_at"], 1) for a in started] + [(a.get("ended_at") or "9", -1) for a in started])
        live = peak = 0
        for _, step in edges:
            live += step
            peak = max(peak, live)
        if not 1 < peak <= expect["max_parallel"]:
            found.append(f"{peak} agents at work at once, not 2 to {expect['max_parallel']}")
    if seconds > expect.get("max_seconds", 60):
        found.append(f"took {seconds:.1f} s")
    return found


def run_case(command: list[str], case: Path) -> list[str]:
    spec = json.loads(case.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="case-") as folder:
        work = Path(folder)
        for name, text in (spec.get("files") or {}).items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text, encoding="utf-8")
        script = work / case.with_suffix(".js").name
        script.write_bytes(case.with_suffix(".js").read_bytes())
        answers = work / "answers.json"
        answers.write_text(json.dumps(spec["answers"]), encoding="utf-8")
        call = [
            *command,
            script.name,
            "--backend",
            f"scripted:{answers.name}",
            "--output",
            "json",
            *(spec.get("flags") or []),
        ]
        if "args" in spec:
            value = spec["args"]
            call += ["--args", value if isinstance(value, str) else json.dumps(value)]
        started = time.monotonic()
        try:
            done = subprocess.run(call, cwd=work, capture_output=True, timeout=120)
        except subprocess.TimeoutExpired:
            return ["no answer in 90 s"]
        seconds = time.monotonic() - started
        try:
            out = json.loads(done.stdout)
        except ValueError:
            out = None
        return faults(spec["expect"], out, done.returncode, seconds, done.stderr.decode(errors="replace"))


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--command", default="callsheet run")
    cli.add_argument("--cases", type=Path, default=Path(__file__).resolve().parent / "cases")
    cli.add_argument("--only", default="*")
    cli.add_argument("--jobs", type=int, default=2)
    opts = cli.parse_args()
    cases = sorted(path for path in opts.cases.glob("*.json") if fnmatch.fnmatch(path.stem, opts.only))
    command = shlex.split(opts.command)
    with ThreadPoolExecutor(opts.jobs) as pool:
        answers = list(pool.map(lambda case: run_case(command, case), cases))
    short = 0
    for case, found in zip(cases, answers, strict=True):
        if found:
            short += 1
            print(f"{case.stem}: " + "; ".join(found))
    print(f"{len(cases) - short} passed, {short} failed")
    return 1 if short or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
