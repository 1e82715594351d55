"""The step that says how the run ended, whatever ended it: outputs, the result and the report as files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from attempts import Attempt, attempt_of, events_file
from joblog import add_to_page, annotate, attempt, flag, for_the_program, give, said
from placing import STORE

REPORT_S = 300.0
_NOTHING_TO_RESUME = ("", "completed")


def outcome() -> int:
    """Gives the outputs; what cannot be made is said, and fails nothing."""
    folder = Path(said("FOLDER"))
    ended = attempt_of(folder, attempt())
    files = folder.parent / f"{folder.name}-files"
    files.mkdir(mode=0o700, exist_ok=True)
    result = None if ended is None else _result(ended, files)
    report = None if ended is None else _report(ended, folder / STORE, files)
    status = "" if ended is None else ended.status
    is_resumable = status not in _NOTHING_TO_RESUME
    usage = ((ended.result or {}) if ended is not None else {}).get("usage") or {}
    cost = usage.get("cost_usd")
    is_saved = flag("CACHE") and ended is not None and (is_resumable or flag("HISTORY"))
    if is_resumable and is_saved:
        add_to_page('"Re-run failed jobs" goes on with this run: what agents have answered is not asked again.')
    if ended is not None and ended.result is None:
        annotate("error", f"{ended.run_id} was ended before it could say how it ended; its record is whole.")
    give(
        status=status,
        exit_status=_exit_status(folder),
        run_id="" if ended is None else ended.run_id,
        resumed="true" if (ended is not None and (ended.result or {}).get("resumed")) else "false",
        result_file=str(result or ""),
        report=str(report or ""),
        files="\n".join(str(path) for path in (result, report) if path is not None),
        cost_usd="" if cost is None else f"{cost:.6f}",
        save="true" if is_saved else "false",
    )
    return 0


def _result(ended: Attempt, files: Path) -> Path | None:
    if ended.result is None:
        return None
    path = files / "result.json"
    path.write_text(json.dumps(ended.result), encoding="utf-8")
    return path


def _report(ended: Attempt, store: Path, files: Path) -> Path | None:
    path = files / "report.html"
    path.unlink(missing_ok=True)
    line = [said("PROGRAM"), "report", ended.run_id, "-o", str(path), f"--store={store}"]
    try:
        done = subprocess.run(line, env=for_the_program(), stdin=subprocess.DEVNULL, timeout=REPORT_S, check=False)
        if done.returncode == 0 and path.is_file():
            return path
        why = f"it ended with {done.returncode}"
    except subprocess.TimeoutExpired:
        why = f"it took more than {REPORT_S:.0f} s"
    except OSError as fault:
        why = str(fault.strerror)
    annotate("warning", f"callsheet report made no report: {why}.")
    return None


def _exit_status(folder: Path) -> str:
    """Of the program; 6 where it was ended before it had one, since its run can be resumed."""
    path = events_file(folder, attempt()).with_suffix(".status")
    if path.is_file():
        return path.read_text(encoding="ascii")
    return "6" if events_file(folder, attempt()).is_file() else ""
