"""The step that runs the workflow, or goes on with the run of the attempt before; told to end, it ends it in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from attempts import Attempt, attempts, events_file
from joblog import Refused, annotate, attempt, event, flag, for_the_program, github_run, lines, said
from placing import STORE

ENDING_S = 15.0
"""Seconds from being told to end to being ended; the program itself takes five."""


def run() -> int:
    """Runs, and gives the exit status of `callsheet run`.

    Raises:
        Refused: An input that cannot hold, or a checkout of which it is not clear what it may grant.
    """
    folder, here = Path(said("FOLDER")), _working_directory()
    minutes = _minutes()
    earlier = _to_go_on_with(folder)
    words = command(here, folder / STORE, earlier)
    if earlier is not None:
        annotate("notice", f"going on with {earlier.run_id} of attempt {earlier.number}, which ended {earlier.status}.")
    for old in (folder / "attempts").glob("*"):
        if not old.name.startswith(f"{github_run()}-"):
            old.unlink()
    status = _Child(words, here, events_file(folder, attempt())).wait(minutes * 60 if minutes else None)
    events_file(folder, attempt()).with_suffix(".status").write_text(str(status), encoding="ascii")
    return status


def command(here: Path, store: Path, earlier: Attempt | None) -> list[str]:
    """The whole command line. Each input is one word of it, which no shell reads."""
    workflow = said("WORKFLOW")
    if not workflow:
        raise Refused("the input workflow is empty: name a saved workflow, or the path of a script.")
    fixed = ["--headless", "--output=jsonl", f"--store={store}", f"--fail-on={said('FAIL_ON') or 'degraded'}"]
    ref = said("CONFIG_FROM") or _reviewed(here)
    options = {
        "args": said("ARGS"), "config": said("CONFIG"), "config-from": ref, "backend": said("BACKEND"),
        "model": said("MODEL"), "max-agents": said("MAX_AGENTS"), "permission-mode": said("PERMISSION_MODE"),
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in options.items() if value]
    flags += [f"--budget={amount}" for amount in said("BUDGET").split()]
    flags += [f"--allow={rule}" for rule in lines("ALLOW")]
    flags += [f"--deny={rule}" for rule in lines("DENY")]
    flags += ["--trust"] if flag("TRUST") else []
    words = [*fixed, *flags, *lines("EXTRA_ARGS")]
    if earlier is None:
        return [said("PROGRAM"), "run", *words, "--", workflow]
    # The script is named again: what runs is never what a record says, which comes from a cache.
    return [said("PROGRAM"), "resume", *words, f"--script={workflow}", "--", earlier.run_id]


def _reviewed(here: Path) -> str:
    """The ref whose configuration holds where none is said: the base branch of a pull request or a merge queue.

    Empty for the working tree, where that is the commit of the event.
    """
    happened = event()
    base = (happened.get("pull_request") or {}).get("base", {}).get("ref") or (happened.get("merge_group") or {}).get(
        "base_ref"
    )
    if isinstance(base, str) and base:
        return _fetched(here, base[len("refs/heads/") :] if base.startswith("refs/heads/") else base)
    head, commit = _git(here, "rev-parse", "HEAD"), os.environ.get("GITHUB_SHA", "")
    is_of_pull_request = os.environ.get("GITHUB_REF", "").startswith("refs/pull/")
    # Where git does not answer (a checkout that is another user's, say), nobody knows what lies there.
    is_other = head != commit if head else any((folder / ".git").exists() for folder in (here, *here.parents))
    if is_of_pull_request or (commit and is_other):
        raise Refused(
            "what is checked out is not a commit of this event's own branch, so that nobody need have reviewed it. Say "
            "where configuration and workflow are taken from: config-from: origin/main (or HEAD, if what is checked "
            "out is to be trusted)."
        )
    return ""


def _fetched(here: Path, branch: str) -> str:
    """The base branch as a ref that nothing else is called. It is the repository's own: `origin` may be a fork."""
    server, repository = os.environ["GITHUB_SERVER_URL"], os.environ["GITHUB_REPOSITORY"]
    ref = f"refs/callsheet/{branch}"
    depth = ["--depth=1"] if _git(here, "rev-parse", "--is-shallow-repository") == "true" else []
    what = [f"{server}/{repository}", f"+refs/heads/{branch}:{ref}"]
    if _git(here, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *depth, *what) is not None:
        return ref
    there = f"refs/remotes/origin/{branch}"
    is_known = _git(here, "rev-parse", "--verify", "--quiet", f"{there}^{{commit}}") is not None
    if is_known and _is_of(_git(here, "remote", "get-url", "origin") or "", server, repository):
        return there
    raise Refused(
        f"the base branch {branch} cannot be fetched, and configuration and workflow are taken from it. Check out with "
        "fetch-depth: 0, or let the checkout keep its credentials."
    )


def _is_of(url: str, server: str, repository: str) -> bool:
    """Whether a remote is the repository: `https://HOST/o/r`, `git@HOST:o/r.git`, `ssh://git@HOST/o/r`."""
    place = re.sub(r"^[a-z+]+://|\.git$", "", url).rpartition("@")[2].replace(":", "/", 1)
    return place == f"{server.partition('://')[2]}/{repository}"


def _git(here: Path, *words: str) -> str | None:
    """What git answers; None where it fails or is not there."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("IN_")}
    environ["GIT_TERMINAL_PROMPT"] = "0"
    # A folder of the checkout can hold what git takes for a bare repository, whose configuration it would obey.
    line = ["git", "-c", "safe.bareRepository=explicit", *words]
    try:
        done = subprocess.run(
            line, cwd=here, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _working_directory() -> Path:
    root = Path(os.environ["GITHUB_WORKSPACE"]).resolve()
    here = (root / (said("WORKING_DIRECTORY") or ".")).resolve()
    if not here.is_dir() or not (here == root or root in here.parents):
        raise Refused("the input working-directory is no folder of the checkout.")
    return here


def _minutes() -> float:
    text = said("TIMEOUT_MINUTES")
    try:
        minutes = float(text or 0)
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < 1e6:
        raise Refused(f"the input timeout-minutes is a number of minutes, not {text!r}.")
    return minutes


def _to_go_on_with(folder: Path) -> Attempt | None:
    """The run of the attempt before, where it did not complete and is to be gone on with."""
    if not flag("RESUME") or attempt() == 1:
        return None
    before = [each for each in attempts(folder) if each.number < attempt()]
    return before[-1] if before and before[-1].status != "completed" else None


class _Child:
    """The program, ended in order by the first signal or when its time is over."""

    def __init__(self, words: list[str], here: Path, events: Path) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ending = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        environ = for_the_program()
        events.parent.mkdir(mode=0o700, exist_ok=True)
        with events.open("wb") as out:
            # A session of its own: a signal to the whole group would be the second one, which ends it at once.
            self._process = subprocess.Popen(
                words, cwd=here, env=environ, stdin=subprocess.DEVNULL, stdout=out, start_new_session=True
            )
        if self._is_ending:
            self._process.terminate()

    def _end(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM whatever came: nobody pressed Ctrl-C, and the run counts as interrupted."""
        if not self._is_ending and self._process is not None:
            self._process.terminate()
        self._is_ending = True

    def wait(self, limit_s: float | None) -> int:
        """Waits for the end, and gives the exit status."""
        assert self._process is not None
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            annotate("warning", "the time of timeout-minutes is over: the run is ended, and a re-run goes on with it.")
            self._end(signal.SIGTERM, None)
            try:
                status = self._process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                status = self._process.wait()
        sys.stderr.flush()
        return status if status >= 0 else 128 - status
