"""What the dashboard costs beside a busy run, and how soon it answers a key: on a pseudo-terminal, as a person has it.

The run goes on in a process of its own: 1,000 agents, 50 at work at a time, each for a second, so that about 100 events
a second come (the start and the end of each) after a thousand at once (all are queued). Only the dashboard is measured.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import statistics
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

SCRIPT = """export const meta = { name: 'watched', description: 'a thousand agents' }
phase('Work')
const one = i => agent('task ' + i, { label: 'agent ' + i })
return (await Promise.all(Array.from({ length: args.n }, (_, i) => one(i)))).length
"""
ANSWERS = {"answers": [{"label": "*", "result": "x" * 100, "delay_ms": 1_000}]}
_SETTLE_S = 4.0
_MEASURE_S = 10.0
_KEYS = b"\rjjkjjkfajjktjjktjk"
_QUIET_S = 0.15
_KEY_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What was measured.

    Attributes:
        core: The share of one core that the dashboard took.
        events_s: How many events came a second meanwhile.
        keys_ms: From each key to the first that was drawn after it.
    """

    core: float
    events_s: float
    keys_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Of the keys."""
        return statistics.median(self.keys_ms)


def watched(command: list[str], folder: Path, environ: Mapping[str, str], *, agents: int) -> Watching:
    """Runs `agents` agents, watches them, and ends both."""
    (folder / "watched.js").write_text(SCRIPT, encoding="utf-8")
    (folder / "watched.json").write_text(json.dumps(ANSWERS), encoding="utf-8")
    run = [*command, "run", "watched.js", "--args", json.dumps({"n": agents}), "--backend", "scripted:watched.json"]
    run += ["--max-parallel", "50", "--yes", "--detach", "--quiet"]
    done = subprocess.run(run, cwd=folder, env=dict(environ), capture_output=True, check=True, stdin=subprocess.DEVNULL)
    run_id = done.stdout.decode().strip()
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    process = subprocess.Popen(
        [*command, "watch", run_id], cwd=folder, env={**environ, "TERM": "xterm-256color"},
        stdin=side, stdout=side, stderr=side, start_new_session=True,
    )  # fmt: skip
    try:
        os.close(side)
        _drain(main, _SETTLE_S)
        core, events_s = _cost(main, process.pid, folder, run_id)
        keys = tuple(_key(main, key) for key in _KEYS)
    finally:
        process.kill()
        process.wait()
        os.close(main)
        subprocess.run([*command, "stop", run_id], cwd=folder, env=dict(environ), capture_output=True, check=False)
    return Watching(core=core, events_s=events_s, keys_ms=keys)


def _cost(main: int, pid: int, folder: Path, run_id: str) -> tuple[float, float]:
    process = psutil.Process(pid)
    before, began, first = sum(process.cpu_times()[:2]), time.monotonic(), _events(folder, run_id)
    _drain(main, _MEASURE_S)
    took = time.monotonic() - began
    return (sum(process.cpu_times()[:2]) - before) / took, (_events(folder, run_id) - first) / took


def _events(folder: Path, run_id: str) -> int:
    from callsheet.store.record import open_record

    with open_record(folder / ".callsheet" / "callsheet.db", is_checked=False) as record:
        return len(record.events(run_id))


def _key(main: int, key: int) -> float:
    """Presses a key where nothing is being drawn; the milliseconds until something is."""
    _drain(main, 0.05, until_quiet=True)
    pressed = time.monotonic()
    os.write(main, bytes((key,)))
    if not select.select([main], [], [], _KEY_LIMIT_S)[0]:
        return _KEY_LIMIT_S * 1_000
    answered = time.monotonic()
    _drain(main, _QUIET_S)
    return (answered - pressed) * 1_000


def _drain(main: int, seconds: float, *, until_quiet: bool = False) -> None:
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        if select.select([main], [], [], left)[0]:
            os.read(main, 65_536)
        elif until_quiet:
            return
