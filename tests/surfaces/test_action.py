"""`action.yml` on a runner: its own steps in bash, the real command, a real repository."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.support.github_runner import ACTION, Action, GithubRunner, RunStep, git
from tests.support.runtime import runtime_of
from tests.surfaces.command import META
from tests.surfaces.test_cli_job import Read

NASTY = """it's "quoted" $(touch owned) `touch owned` ${{ github.token }} ; touch owned #
second line --trust \\"""
KEY = "a-key-that-nobody-is-shown"
STEPS = """
phase('Work')
const first = await agent('one', { label: 'one' })
const second = await agent('two', { label: args?.label ?? 'two' })
return { first, second, args }
"""

type_of_runner = Callable[..., GithubRunner]


@pytest.fixture
def runner(tmp_path: Path, bytecode: Path) -> type_of_runner:
    """Makes a runner whose checkout is, shallow as `actions/checkout` makes it, a branch of a repository."""
    home = tmp_path / "home"
    home.mkdir()
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPYCACHEPREFIX": str(bytecode)}
    environ["XDG_RUNTIME_DIR"] = str(runtime_of(tmp_path))
    origin = tmp_path / "o/r"
    origin.mkdir(parents=True)
    git(origin, "init", "-q")
    program = tmp_path / "callsheet"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m callsheet "$@"\n', encoding="utf-8")
    program.chmod(0o755)

    def commit(files: dict[str, str], branch: str) -> str:
        git(origin, "checkout", "-q", "-B", branch)
        for name, text in files.items():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            (origin / name).write_text(text, encoding="utf-8")
        git(origin, "add", "-A")
        git(origin, "commit", "-q", "-m", branch)
        return git(origin, "rev-parse", "HEAD")

    def make(files: dict[str, str], planted: dict[str, str] | None = None, *, base: str | None = None) -> GithubRunner:
        sha = commit(files, "main")
        branch, event, ref = "main", {}, "refs/heads/main"
        if planted is not None:
            sha, branch, ref = commit(planted, "change"), "change", "refs/pull/5/merge"
            event = {"pull_request": {"number": 5, "base": {"ref": base or "main"}}}
        git(tmp_path, "clone", "-q", "--depth=1", f"--branch={branch}", f"file://{origin}", "checkout")
        return GithubRunner(tmp_path, environ=environ, event=event, ref=ref, sha=sha)

    return make


def _answers(folder: Path, *answers: dict[str, Any]) -> str:
    path = folder / "answers.json"
    path.write_text(json.dumps({"answers": answers, "otherwise": "synthetic"}), encoding="utf-8")
    return f"scripted:{path}"


def _events(folder: Path) -> str:
    """The events of all attempts, as far as they are written."""
    files = (folder / "runner temp").glob("callsheet/*/attempts/*.jsonl")
    return "".join(path.read_text(encoding="utf-8") for path in files)


def _files(job: GithubRunner) -> list[str]:
    """What was uploaded."""
    return [file for files in job.artifacts.values() for file in files]


def _program(folder: Path) -> str:
    return str(folder / "callsheet")


# --- the file itself --------------------------------------------------------------------------------------------------


def test_every_input_is_used_and_none_reaches_a_script_as_text() -> None:
    action = Action.read()
    text = (ACTION / "action.yml").read_text(encoding="utf-8")

    used = set(re.findall(r"inputs\.([a-z-]+)", text.partition("\nruns:")[2]))
    assert used == set(action.inputs)
    for step in action.runs.steps:
        if isinstance(step, RunStep):
            assert "${{" not in step.run, step.name
            assert step.run.startswith("exec "), step.name
            word = step.run.split()[-1]
            assert {"install", "place", "run", "outcome"} >= {word}
    ids = [step.id for step in action.runs.steps if step.id]
    assert len(ids) == len(set(ids))
    assert {each.value.split(".")[1] for each in action.outputs.values()} <= set(ids)


def test_each_value_in_the_environment_of_a_step_is_read_there_and_nowhere_else() -> None:
    given = {name for step in Action.read().runs.steps if isinstance(step, RunStep) for name in step.env}
    sources = "".join(path.read_text(encoding="utf-8") for path in (ACTION / "action").glob("*.py"))

    read = {f"IN_{name}" for name in re.findall(r"(?:said|flag|lines)\([\"']([A-Z_]+)[\"']\)", sources)}
    assert read | {"IN_PYTHON"} == given
    assert "shell=" not in sources and "os.system" not in sources


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_good_run_gives_its_outputs_and_inputs_are_words_whatever_they_hold(
    runner: type_of_runner, tmp_path: Path
) -> None:
    job = runner({"flows/a b $(x).js": META + STEPS})

    done = job(
        workflow="flows/a b $(x).js",
        args=json.dumps({"label": "two", "nasty": NASTY, "key": KEY}),
        anthropic_api_key=KEY,
        backend=_answers(tmp_path, {"label": "one", "result": "1", "times": 1}),
        executable=_program(tmp_path),
        extra_args=f"--max-agents=2\n\n  --deny=Bash({NASTY.splitlines()[0]})  \n",
        allow="Bash(npm test:*)\nBash(echo '$(touch owned)')",
        budget="2M $20",
        name="it's `me`",
    )

    assert done.failed == [], done.log
    assert done.outputs["status"] == "completed" and done.outputs["exit-status"] == "0"
    assert done.outputs["run-id"] == done.result["run_id"] and done.outputs["cost-usd"] == "0.000000"
    assert done.result["result"]["args"] == {"label": "two", "nasty": NASTY, "key": "‹secret ANTHROPIC_API_KEY›"}
    shown = done.log + done.page + "".join(Path(file).read_text(encoding="utf-8") for file in _files(job))
    assert KEY not in shown
    assert not list(tmp_path.rglob("owned"))
    assert job.cache == {} and done.outputs["resumed"] == "false"
    assert "✅ <code>case</code> completed" in done.page
    (name, files), *_ = job.artifacts.items()
    assert name.startswith("callsheet-it-s-me-") and files[0] == done.outputs["result-file"]
    assert done.outputs["artifact-url"].endswith(name)
    assert files[1] == done.outputs["report"] and Path(files[1]).read_text(encoding="utf-8").startswith(
        "<!doctype html>"
    )
    assert done.commands == []


def test_a_pull_request_that_grants_itself_more_is_run_as_its_base_says(runner: type_of_runner, tmp_path: Path) -> None:
    base = {
        ".claude/workflows/review.js": META.replace("'case'", "'review'")
        + STEPS.replace("{ first", "{ by: 'base', first"),
        "callsheet.toml": "max_agents = 1\n",
    }
    planted = {name: text.replace("'base'", "'planted'").replace("= 1", "= 500") for name, text in base.items()}
    planted[".claude/settings.json"] = json.dumps({"permissions": {"allow": ["Bash"], "defaultMode": "acceptEdits"}})
    job = runner(base, planted)

    done = job(workflow="review", trust="true", backend=_answers(tmp_path), executable=_program(tmp_path))

    events = [json.loads(line) for line in _events(tmp_path).splitlines()]
    assert "those of refs/callsheet/main (" in str(events[0]["notes"])
    assert "Bash" not in str(events[0]["notes"])
    assert done.outputs["status"] == "failed" and done.result["error"]["kind"] == "limit"
    assert "'planted'" in (job.workspace / ".claude/workflows/review.js").read_text(encoding="utf-8")
    assert not [line for line in done.commands if "file=" in line], "lines are those of the base, not of the change"


def test_what_no_event_of_the_branch_brought_is_not_trusted_unasked(runner: type_of_runner, tmp_path: Path) -> None:
    job = runner({"case.js": META + STEPS})
    git(job.workspace, "commit", "-q", "--allow-empty", "-m", "somebody else's")

    done = job(workflow="case.js", executable=_program(tmp_path))

    assert done.failed == ["Run"]
    assert "::error title=callsheet::what is checked out is not a commit of this event's own branch" in done.log
    assert (done.outputs["status"], done.outputs["exit-status"], done.outputs["result-file"]) == ("", "", "")


def test_a_checkout_that_git_says_nothing_of_is_not_trusted_unasked(runner: type_of_runner, tmp_path: Path) -> None:
    job = runner({"case.js": META + STEPS})
    with (job.workspace / ".git/config").open("a", encoding="utf-8") as config:
        config.write("[broken")

    done = job(workflow="case.js", executable=_program(tmp_path))

    assert done.failed == ["Run"] and "what is checked out is not a commit of this event's own branch" in done.log


def test_a_folder_that_git_could_take_for_a_repository_configures_nothing(
    runner: type_of_runner, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    planted = {
        "sub/HEAD": "ref: refs/heads/main\n",
        "sub/objects/x": "",
        "sub/refs/x": "",
        "sub/config": f'[core]\n\tbare = true\n[alias]\n[url "ext::touch {ran} "]\n\tinsteadOf = "file://"\n'
        '[protocol "ext"]\n\tallow = always\n',
    }
    job = runner({"case.js": META + "return 1"}, planted)

    job(workflow="case.js", backend="offline", working_directory="sub", executable=_program(tmp_path))

    assert not ran.exists()


def test_keys_of_a_branch_begin_no_other_branchs(runner: type_of_runner, tmp_path: Path) -> None:
    job = runner({"case.js": META + STEPS})
    program = tmp_path / "callsheet"
    program.write_text(
        '#!/bin/sh\n[ $1 = report ] && exit\necho \'{"event": "run.started", "run_id": "run_1"}\'\n',
        encoding="utf-8",
    )
    for ref in ("refs/heads/main", "refs/heads/main-2", "refs/heads/main/2"):
        job.ref(ref)
        job(workflow="case.js", executable=str(program), history="true")

    prefixes = [key.removesuffix("77-1") for key in job.cache]
    assert len(prefixes) == 3
    assert all(sum(key.startswith(prefix) for key in job.cache) == 1 for prefix in prefixes)


def test_a_base_branch_that_cannot_be_had_is_said_with_what_to_do(runner: type_of_runner, tmp_path: Path) -> None:
    job = runner({"case.js": META + STEPS}, {"x": "y"}, base="gone")

    done = job(workflow="case.js", executable=_program(tmp_path))

    assert done.failed == ["Run"] and "fetch-depth: 0" in done.log


def test_the_base_is_the_repositorys_own_though_a_fork_is_checked_out(runner: type_of_runner, tmp_path: Path) -> None:
    job = runner({"case.js": META + "return 'base'"}, {"case.js": META + "return 'planted'"})
    git(tmp_path, "clone", "-q", "o/r", "fork")
    git(tmp_path / "fork", "checkout", "-q", "-B", "main")
    git(job.workspace, "remote", "set-url", "origin", f"file://{tmp_path}/fork")
    git(job.workspace, "fetch", "-q", "origin", "main:refs/remotes/origin/main")

    done = job(workflow="case.js", backend="offline", executable=_program(tmp_path))

    assert done.result["result"] == "base"
    (tmp_path / "o").rename(tmp_path / "away")
    assert job(workflow="case.js", executable=_program(tmp_path)).failed == ["Run"]


def test_history_is_the_branchs_and_only_this_workflow_run_is_gone_on_with(
    runner: type_of_runner, tmp_path: Path
) -> None:
    job = runner({"case.js": META + STEPS}, {"x": "y"})
    program = tmp_path / "callsheet"
    lines = [
        {"event": "run.started", "run_id": "run_1"},
        {"event": "run.finished", "run_id": "run_1", "status": "failed"},
    ]
    told = "\n".join(json.dumps(line) for line in lines)
    program.write_text(
        f'#!/bin/sh\n[ $1 = report ] && echo "$2 $5" > "$4" && exit\necho "$*" >&2\necho \'{told}\'\n', encoding="utf-8"
    )

    first = job(workflow="case.js", executable=str(program), history="true")
    other = job(workflow="case.js", executable=str(program), history="true", run=78)
    again = job(workflow="case.js", executable=str(program), history="true", run=78, attempt=2)

    assert "Restore the record" in first.ran and re.search("-pr5-[0-9a-f]{10}-77-1$", next(iter(job.cache)))
    assert "\nrun --headless" in f"\n{first.log}" and "\nrun --headless" in f"\n{other.log}"
    assert re.search(r"^resume --headless .* --script=case.js -- run_1$", again.log, re.MULTILINE)
    assert len(list((tmp_path / "runner temp").glob("callsheet/*/attempts/77-*"))) == 0
    assert "going on with run_1 of attempt 1, which ended failed" in again.log
    report = Path(again.outputs["report"])
    assert report.read_text(encoding="utf-8") == f"run_1 --store={again.outputs['store']}\n"
    assert _files(job)[-2:] == [again.outputs["result-file"], str(report)]


def test_a_failed_agent_with_a_hostile_label_is_annotated_and_the_page_stays_ours(
    runner: type_of_runner, tmp_path: Path
) -> None:
    hostile = "x</code></table>\n\n# owned\n::error::owned\n##[add-path]/x\x1b[2J<script>"
    job = runner({"case.js": META + STEPS})

    done = job(
        workflow="case.js",
        args=json.dumps({"label": hostile}),
        backend=_answers(tmp_path, {"prompt": "two", "error": hostile, "status": "failed"}),
        executable=_program(tmp_path),
    )

    assert done.failed == ["Run"] and done.outputs["exit-status"] == "3" and done.outputs["status"] == "degraded"
    problems = [line for line in done.commands if "report" not in line]
    assert len(problems) == 1 and problems[0].startswith("::error file=case.js,line=5,title=failed%3A a0002 x")
    page = Read(done.page)
    assert page.open == [] and "script" not in page.tags and "h1" not in page.tags
    assert {inside for inside, text in page.texts if "owned" in text} == {"code", "pre"}
    assert f"callsheet resume {done.outputs['run-id']} --rerun a0002" in page.text
    assert "Re-run failed jobs" in page.text and len(job.cache) == 1


def test_a_cancelled_job_is_gone_on_with_by_the_next_attempt_and_no_agent_is_paid_twice(
    runner: type_of_runner, tmp_path: Path
) -> None:
    job = runner({"case.js": META + STEPS})
    slow = _answers(tmp_path, {"label": "one", "result": "paid"}, {"label": "two", "result": "", "delay_ms": 120_000})
    program = _program(tmp_path)

    def is_at_the_second() -> bool:
        return '"label":"one","phase":"Work","workflow":null,"status":"ok"' in _events(tmp_path)

    cancelled = job(cancel=is_at_the_second, workflow="case.js", executable=program, backend=slow)

    assert cancelled.outputs["status"] == "interrupted" and cancelled.outputs["exit-status"] == "6"
    assert cancelled.ran[-2:] == ["Save the record", "Upload report and result"]
    again = _answers(tmp_path, {"label": "one", "result": "paid twice"}, {"label": "two", "result": "2"})
    done = job(attempt=2, workflow="case.js", executable=program, backend=again)
    assert done.outputs["status"] == "completed" and done.failed == []
    assert done.outputs["run-id"] == cancelled.outputs["run-id"] and done.outputs["resumed"] == "true"
    assert done.result["result"] == {"first": "paid", "second": "2"}
    assert [agent["reused"] for agent in done.result["agents"]] == [True, False]
    assert len(job.cache) == 1, "what has completed has nothing to go on with"


def test_a_run_out_of_its_time_is_told_to_end_and_is_saved_to_be_gone_on_with(
    runner: type_of_runner, tmp_path: Path
) -> None:
    job = runner({"case.js": META + STEPS})
    program = tmp_path / "callsheet"
    started = json.dumps({"event": "run.started", "run_id": "run_1"})
    program.write_text(
        f"#!/bin/bash\n[ $1 = run ] || exit 1\nsleep 60 &\ntrap 'kill %1; exit 6' TERM\necho '{started}'\nwait\n",
        encoding="utf-8",
    )

    done = job(workflow="case.js", executable=str(program), timeout_minutes="0.02")

    assert "::warning title=callsheet::the time of timeout-minutes is over" in done.log
    assert (done.outputs["exit-status"], done.outputs["status"]) == ("6", "interrupted")
    assert "run_1 was ended before it could say how it ended" in done.log
    assert len(job.cache) == 1


# --- installation -----------------------------------------------------------------------------------------------------


def test_a_version_is_installed_beside_the_checkout_and_nothing_of_it_is_run(
    runner: type_of_runner, tmp_path: Path
) -> None:
    job = runner({"pip.py": "raise SystemExit('planted')", "sitecustomize.py": "raise SystemExit('planted')"})
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with ZipFile(wheels / "callsheet-9.9.9-py3-none-any.whl", "w") as wheel:
        info = "callsheet-9.9.9.dist-info"
        wheel.writestr("nine.py", "def main():\n    print('nine')\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: callsheet\nVersion: 9.9.9\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ncallsheet = nine:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    job.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}

    done = job(workflow="x", version="9.9.9", steps=2)

    assert done.failed == [], done.log
    programs = list((tmp_path / "runner temp").glob("callsheet-venv-*/bin/callsheet"))
    assert len(programs) == 1
    for version in ("1.0 --index-url=x", "git+https://x", ">=1"):
        assert "the input version is one version" in job(workflow="x", version=version, steps=2).log
