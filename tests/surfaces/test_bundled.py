"""The workflows that come with Callsheet, each on scripted answers and once with the offline agent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import callsheet
from tests.surfaces.command import LIMIT_S, Command
from tests.surfaces.test_examples import repository

FOLDER = Path(callsheet.__file__).parent / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.js"))
PORTABLE = [name for name in NAMES if name != "migrate"]

Answer = dict[str, Any]


def played(command: Command, name: str, *answers: Answer, args: Any = None, words: tuple[str, ...] = ()) -> Any:
    """The result object of a bundled workflow on scripted answers, of which there must be one for every call."""
    backend = command.answers(*answers, otherwise="fail")
    given = () if args is None else ("--args", json.dumps(args))
    return command(f"/{name}", *given, "--backend", backend, "--output", "json", *words).json


def agents(said: Any, phase: str) -> list[str]:
    return sorted(agent["label"] for agent in said["agents"] if agent["phase"] == phase)


def logs(said: Any) -> list[str]:
    return [line["message"] for line in said["logs"]]


# --- all of them ------------------------------------------------------------------------------------------------------


def test_there_are_five_each_with_a_page_about_it_and_named_as_its_file() -> None:
    assert NAMES == ["audit", "bug-hunt", "code-review", "deep-research", "migrate"]
    for name in NAMES:
        page = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {name}\n")
        assert f"callsheet /{name}" in page


def test_all_pass_the_check_and_all_but_migrate_as_portable() -> None:
    def check(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "callsheet", "check", *words],
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
            cwd=FOLDER,
        )
        return done.stdout.decode()

    assert check(*(f"{name}.js" for name in NAMES)) == "5 files: 0 errors, 0 warnings\n"
    assert check("--portable", *(f"{name}.js" for name in PORTABLE)) == "4 files: 0 errors, 0 warnings\n"


@pytest.mark.parametrize("name", NAMES)
def test_each_runs_with_the_offline_agent_and_changes_nothing_that_is_committed(command: Command, name: str) -> None:
    (command.folder / "app.py").write_text("def limit(n):\n    return n + 1  # a limit\n", encoding="utf-8")
    (command.folder / "README.md").write_text("# App\n\nIt has a limit.\n", encoding="utf-8")
    repository(command.folder)

    done = command(f"/{name}", "the limit of the app", "--backend", "offline", "--headless", "--output", "json")

    assert done.status == 0, done.err
    assert len(done.json["agents"]) >= 3
    assert subprocess.run(
        ["git", "status", "--porcelain"], cwd=command.folder, capture_output=True, timeout=LIMIT_S, check=True
    ).stdout in (b"", b"?? .callsheet/\n")


@pytest.mark.parametrize("name", ["deep-research", "migrate"])
def test_without_words_it_says_how_it_is_called(command: Command, name: str) -> None:
    done = command(f"/{name}", "--backend", command.answers())

    assert done.status == 1
    assert f"callsheet /{name} " in done.err


# --- deep-research ----------------------------------------------------------------------------------------------------


def claim(text: str, source: str) -> Answer:
    return {"claim": text, "source": source, "quote": f"{text}, it says"}


PLAN: Answer = {
    "label": "plan",
    "result": {
        "restated": "Why did it sink?",
        "angles": [{"name": "physics", "look_for": "stability"}, {"name": "witnesses", "look_for": "the inquest"}],
    },
}


def vote(label: str, verdict: str, **more: Any) -> Answer:
    return {"label": label, "result": {"verdict": verdict, "reason": f"for {label}", "source": "s"}, **more}


def test_research_keeps_what_most_votes_support_and_cites_it(command: Command) -> None:
    said = played(
        command,
        "deep-research",
        PLAN,
        {"label": "search:physics", "result": {"claims": [claim("It was top-heavy.", "museum.example")]}},
        {
            "label": "search:witnesses",
            "result": {"claims": [claim("it was TOP heavy", "inquest.example"), claim("It was sabotage.", "rumour")]},
        },
        vote("check:*.1", "refuted", prompt="sabotage"),
        vote("check:*.2", "refuted", prompt="sabotage"),
        vote("check:*", "supported"),
        vote("check:*", "supported"),
        vote("check:*", "unclear"),
        vote("check:*", "supported"),
        {"label": "gaps:2", "result": {"gaps": []}},
        {"label": "report", "prompt": "It was top-heavy. [1][2]", "result": "It was top-heavy [1]."},
        args={"question": "why?", "votes": 3},
        words=("--max-parallel", "1"),
    )

    assert said["status"] == "completed", said["problems"]
    result = said["result"]
    assert [each["claim"] for each in result["claims"]] == ["It was top-heavy."]
    assert result["claims"][0]["sources"] == ["museum.example", "inquest.example"]
    assert [each["claim"] for each in result["not_held"]] == ["It was sabotage."]
    assert result["report"] == "It was top-heavy [1].\n\nSources\n[1] museum.example\n[2] inquest.example"


def test_research_goes_another_round_for_what_is_open_and_not_when_the_budget_is_low(command: Command) -> None:
    answers: tuple[Answer, ...] = (
        PLAN,
        {"label": "search:physics", "result": {"claims": [claim("a", "s1")]}},
        {"label": "search:witnesses", "result": {"claims": []}},
        {"label": "gaps:2", "result": {"gaps": [{"name": "later", "look_for": "more"}]}},
        {"label": "search:later", "result": {"claims": [claim("b", "s2")]}},
        {"label": "check:*", "times": 6, "result": {"verdict": "supported", "reason": "r"}},
        {"label": "report", "result": "done"},
    )

    assert [each["claim"] for each in played(command, "deep-research", *answers, args="why")["result"]["claims"]] == [
        "a",
        "b",
    ]
    poor = played(command, "deep-research", *answers, args="why", words=("--budget", "400"))
    assert [each["claim"] for each in poor["result"]["claims"]] == ["a"]
    assert "no round 2: less than 30 % of the budget is left" in logs(poor)


def test_a_claim_whose_votes_never_came_does_not_hold(command: Command) -> None:
    said = played(
        command,
        "deep-research",
        PLAN,
        {"label": "search:*", "result": {"claims": [claim("a", "s1")]}},
        {"label": "search:*", "result": {"claims": []}},
        {"label": "check:1.1", "result": {"verdict": "supported", "reason": "r"}},
        {"label": "gaps:2", "result": {"gaps": []}},
        {"label": "report", "result": "nothing is known"},
        args="why",
    )

    assert said["status"] == "degraded"
    assert said["result"]["claims"] == []
    assert [each["claim"] for each in said["result"]["not_held"]] == ["a"]


# --- code-review ------------------------------------------------------------------------------------------------------


def scope(*files: str) -> Answer:
    how = {"mode": "diff", "base": "main", "how": "git diff main -- FILE", "intent": "faster", "files": list(files)}
    return {"label": "scope", "result": how}


def finding(title: str, line: int, severity: str = "high", file: str = "a.py") -> Answer:
    return {"title": title, "file": file, "line": line, "severity": severity, "evidence": "e", "remedy": "m"}


def verdict(label: str, *, refuted: bool, severity: str = "high") -> Answer:
    return {"label": label, "result": {"refuted": refuted, "severity": severity, "reason": label}}


def test_a_review_reports_what_stands_by_severity_and_says_what_was_refuted(command: Command) -> None:
    said = played(
        command,
        "code-review",
        scope("a.py"),
        {
            "label": "find:correctness:1",
            "result": {"findings": [finding("wrong sum", 10), finding("odd name", 40, "low")]},
        },
        {"label": "find:security:1", "result": {"findings": [finding("sum overflows", 11), finding("open path", 70)]}},
        verdict("verify:a.py:10:*", refuted=False, severity="medium"),
        verdict("verify:a.py:10:*", refuted=False),
        verdict("verify:a.py:40:*", refuted=True),
        verdict("verify:a.py:40:*", refuted=True),
        verdict("verify:a.py:70:1", refuted=True),
        verdict("verify:a.py:70:2", refuted=False, severity="critical"),
        verdict("verify:a.py:70:3", refuted=False, severity="critical"),
        {"label": "report", "result": "Mend the path first."},
        args={"base": "main", "sides": ["correctness", "security"]},
        words=("--max-parallel", "1"),
    )

    assert said["status"] == "completed", said["problems"]
    result = said["result"]
    shown = [(each["title"], each["severity"], each["sides"], each["votes"]) for each in result["findings"]]
    assert shown == [
        ("open path", "critical", ["security"], "2 of 3"),
        ("wrong sum", "medium", ["correctness", "security"], "2 of 2"),
    ]
    assert [each["title"] for each in result["refuted"]] == ["odd name"]
    assert result["report"] == "Mend the path first."


def test_what_could_not_be_reviewed_or_verified_is_named_and_not_taken_for_sound(command: Command) -> None:
    said = played(
        command,
        "code-review",
        scope("a.py", *(f"f{number}.py" for number in range(8))),
        {"label": "find:tests:1", "result": {"findings": [finding("no test", 3)]}},
        args={"sides": ["tests"]},
    )

    assert said["status"] == "degraded"
    result = said["result"]
    assert result["findings"] == []
    assert [each["title"] for each in result["not_verified"]] == ["no test"]
    assert result["not_reviewed"] == [{"side": "tests", "files": ["f7.py"]}]


def test_a_review_of_nothing_says_so_and_asks_nobody_else(command: Command) -> None:
    said = played(command, "code-review", scope())

    assert said["result"]["report"] == "There is nothing to review."
    assert len(said["agents"]) == 1


# --- bug-hunt ---------------------------------------------------------------------------------------------------------


def bug(title: str, line: int) -> Answer:
    return {"title": title, "file": "a.py", "line": line, "trigger": "t", "effect": "e"}


def shown(line: int, *, real: bool, severity: str = "high") -> Answer:
    return {"label": f"show:a.py:{line}", "result": {"real": real, "severity": severity, "trace": "a.py:1"}}


MAP: Answer = {"label": "map", "result": {"areas": [{"name": "core", "files": ["a.py"], "risk": "all"}]}}


def test_a_hunt_ends_when_two_rounds_are_dry_and_counts_only_what_was_shown(command: Command) -> None:
    said = played(
        command,
        "bug-hunt",
        MAP,
        {"label": "hunt:1.1", "result": {"bugs": [bug("lost", 10), bug("doubtful", 30)]}},
        {"label": "hunt:1.2", "result": {"bugs": [bug("lost again", 11)]}},
        {"label": "hunt:2.1", "prompt": "- a.py:10 lost", "result": {"bugs": [bug("worse", 50)]}},
        shown(10, real=True),
        shown(30, real=False),
        shown(50, real=True, severity="critical"),
        {"label": "hunt:*", "times": 5, "result": {"bugs": []}},
        {"label": "report", "result": "two bugs"},
        args={"where": "src", "hunters": 2},
        words=("--max-parallel", "1"),
    )

    assert said["status"] == "completed", said["problems"]
    result = said["result"]
    assert [each["title"] for each in result["bugs"]] == ["worse", "lost"]
    assert result["not_shown"] == [{"title": "doubtful", "file": "a.py", "line": 30, "checked": True}]
    assert (result["rounds"], result["ended_by"]) == (4, "dry")


def test_a_hunt_in_which_everybody_fails_does_not_say_that_there_is_nothing(command: Command) -> None:
    said = played(command, "bug-hunt", MAP, args={"hunters": 1})

    assert said["status"] == "degraded"
    assert said["result"]["ended_by"] == "failures"


# --- audit ------------------------------------------------------------------------------------------------------------


def answer(rule: int, state: str, place: str = "") -> Answer:
    return {"rule": rule, "state": state, "evidence": f"{state} {rule}", "place": place}


def test_an_audit_holds_the_given_rules_against_every_module_and_looks_at_breaches_again(command: Command) -> None:
    modules = [{"name": name, "files": [f"{name}/*"]} for name in ("api", "web", "cli")]
    said = played(
        command,
        "audit",
        {"label": "plan", "result": {"checklist": ["something else"], "modules": modules}},
        {"label": "audit:api", "result": {"answers": [answer(1, "broken", "api/x.py:3"), answer(2, "kept")]}},
        {"label": "audit:web", "result": {"answers": [answer(1, "broken", "web/y.py:9"), answer(9, "kept")]}},
        {"label": "again:api:1", "result": {"broken": True, "reason": "it is"}},
        {"label": "again:web:1", "result": {"broken": False, "reason": "a wrapper does it"}},
        {"label": "report", "result": "one breach"},
        args=["times are UTC", "queries have limits"],
    )

    assert said["status"] == "degraded"
    result = said["result"]
    assert result["breaches"] == [
        {"module": "api", "rule": "times are UTC", "place": "api/x.py:3", "evidence": "it is"}
    ]
    assert result["not_audited"] == ["cli"]
    assert result["table"] == [
        {"rule": "times are UTC", "kept": 1, "broken": 1, "unknown": 1, "does_not_apply": 0},
        {"rule": "queries have limits", "kept": 1, "broken": 0, "unknown": 2, "does_not_apply": 0},
    ]


# --- migrate ----------------------------------------------------------------------------------------------------------


def suite(label: str, *failures: str) -> Answer:
    return {"label": label, "result": {"passed": not failures, "failures": list(failures)}}


def test_a_migration_merges_what_passes_and_keeps_what_does_not_on_its_branch(command: Command) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (command.folder / name).write_text("old\n", encoding="utf-8")
    repository(command.folder)
    groups = [
        {"name": "first", "files": ["a.txt", "b.txt"], "places": 2},
        {"name": "second", "files": ["b.txt", "c.txt"], "places": 1},
    ]

    said = played(
        command,
        "migrate",
        {"label": "discover", "result": {"recipe": "old becomes new", "test": "make test", "groups": groups}},
        {"label": "change:first", "result": "done", "writes": {"a.txt": "new\n", "b.txt": "wrong\n"}},
        {"label": "change:second", "prompt": "c.txt. Change", "result": "done", "writes": {"c.txt": "new\n"}},
        suite("test:first:1", "b: wrong"),
        {"label": "mend:first:1", "prompt": "- b: wrong", "result": "mended", "writes": {"b.txt": "new\n"}},
        suite("test:first:2"),
        suite("test:second:1", "c"),
        {"label": "mend:second:1", "result": "tried"},
        suite("test:second:2", "c still"),
        {"label": "merge:first", "result": "fine"},
        {"label": "sweep", "result": {"left": ["c.txt:1 not merged"]}},
        suite("test:together"),
        args={"task": "old to new", "rounds": 2},
    )

    assert said["status"] == "completed", said["problems"]
    result = said["result"]
    assert result["merged"] == [{"name": "first", "files": ["a.txt", "b.txt"]}]
    assert result["failed"] == [{"name": "second", "files": ["c.txt"], "state": "tests fail", "why": "c still"}]
    assert (result["left"], result["tests"]) == (["c.txt:1 not merged"], "passed")
    texts = [(command.folder / name).read_text(encoding="utf-8") for name in ("a.txt", "b.txt", "c.txt")]
    assert texts == ["new\n", "new\n", "old\n"]
