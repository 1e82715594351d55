"""Runs a command as a whole process and reads what the operating system booked for it and its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one process cost: wall and CPU seconds (its children's too), and its own peak memory in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: bytes
    started_at: float


def measured(command: Sequence[str], *, environ: Mapping[str, str], cwd: Path, limit_s: float = 180) -> Figures:
    """Runs `command` to its end; raises with its words when it fails or takes longer than `limit_s`."""
    started_at = time.time()
    begun = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(environ), cwd=cwd
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    wall_s = time.monotonic() - begun
    if process.returncode not in (0, 3):
        raise RuntimeError(f"{command[:4]} ended with {process.returncode}: {stderr.decode(errors='replace')[-2000:]}")
    # The last line is what the probe below wrote when the command had ended.
    cpu_s, peak_mb = (float(word) for word in stderr.decode(errors="replace").strip().splitlines()[-1].split()[1:])
    return Figures(wall_s=wall_s, cpu_s=cpu_s, peak_mb=peak_mb, stdout=stdout, started_at=started_at)


def probed(command: Sequence[str]) -> list[str]:
    """`command`, run by a small parent that writes what the system booked for it as its last line of stderr."""
    return [sys.executable, "-I", str(Path(__file__).with_name("probe.py")), *command]


def environment(**changes: str) -> dict[str, str]:
    """The environment of a measured process: no credentials or settings of whoever measures."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
    return kept | changes
