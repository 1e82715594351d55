"""The step that says where the record lies, and under which keys the cache has it.

It lies outside of the checkout, so that no file of a pull request stands where it is to be. A re-run takes the record
of the same workflow run alone; with `history` also that of the branch, or of the pull request, from before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from joblog import attempt, event, flag, github_run, give, said

STORE = "callsheet.db"
_KEY_CHARS = 300


def place() -> int:
    """Makes the folder, and gives its path and the keys."""
    name = _name()
    folder = Path(os.environ["RUNNER_TEMP"]) / "callsheet" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    branch = "-".join(part for part in (os.environ.get("GITHUB_REF", ""), _pull_request()) if part)
    # With a digest: a key that begins with this is this branch's, and not that of `main-2`, or of a pull request to it.
    whose = f"{_plain(branch)}-{hashlib.sha256(branch.encode()).hexdigest()[:10]}"
    line = f"callsheet-1-{os.environ.get('RUNNER_OS', 'Linux')}-{name}-{whose}-"
    mine = f"{line}{github_run()}-"
    history = flag("HISTORY")
    is_wanted = flag("CACHE") and (history or (flag("RESUME") and attempt() > 1))
    give(
        folder=str(folder),
        store=str(folder / STORE),
        key=f"{mine}{attempt()}",
        restore="true" if is_wanted else "false",
        restore_keys="\n".join([mine, line] if history else [mine]),
        artifact=f"callsheet-{name}-{attempt()}",
    )
    return 0


def _name() -> str:
    """What tells this use of the action from others: said, or made of what it runs."""
    words = [
        said("NAME"),
        os.environ.get("GITHUB_WORKFLOW_REF", os.environ.get("GITHUB_WORKFLOW", "")),
        os.environ.get("GITHUB_JOB", ""),
        said("JOB_INDEX"),
        *(() if said("NAME") else (said("WORKFLOW"), said("ARGS"))),
    ]
    digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:10]
    return f"{_plain(said('NAME') or Path(said('WORKFLOW')).stem)[:60]}-{digest}"


def _pull_request() -> str:
    """The number of the pull request. `pull_request_target` has the ref of the base, for all of them the same."""
    number = (event().get("pull_request") or {}).get("number")
    return f"pr{number}" if isinstance(number, int) else ""


def _plain(text: str) -> str:
    """The text in characters that a key, a folder and an artifact may have; no comma, which would part keys."""
    return re.sub(r"[^0-9A-Za-z._-]+", "-", text)[:_KEY_CHARS].strip("-.") or "x"
