"""Every example folder runs on its scripted answers and gives what its expected.json says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from callsheet.script.checker import check_script
from callsheet.script.reader import read_script
from tests.conformance.run import faults
from tests.surfaces.command import LIMIT_S, Command

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*/workflow.js"))


def repository(folder: Path) -> None:
    """Makes a folder a git repository with all of it committed."""
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    for words in (("init", "-q"), ("add", "-A"), (*author, "commit", "-q", "-m", "first")):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)


def played(command: Command, folder: Path, case: dict[str, Any]) -> list[str]:
    """What is not as an example says when it is run on its answers."""
    for name, text in case.get("files", {}).items():
        (command.folder / name).write_text(text, encoding="utf-8")
    for script in folder.glob("*.js"):
        shutil.copy(script, command.folder)
    (command.folder / "answers.json").write_text(json.dumps(case["answers"]), encoding="utf-8")
    if case.get("git"):
        repository(command.folder)
    words = ["--backend", "scripted:answers.json", "--output", "json", *case.get("flags", ())]
    if "args" in case:
        words += ["--args", json.dumps(case["args"])]
    started = time.monotonic()
    done = command("run", "workflow.js", *words)
    found = faults(case["expect"], done.json, done.status, time.monotonic() - started, done.err)
    for name, text in case.get("afterwards", {}).items():
        left = (command.folder / name).read_text(encoding="utf-8")
        if left != text:
            found.append(f"{name} holds {left!r}, not {text!r}")
    return found


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.parent.name)
def test_the_example_does_what_its_folder_says(script: Path, command: Command) -> None:
    case = json.loads((script.parent / "expected.json").read_text(encoding="utf-8"))

    assert played(command, script.parent, case) == []


def test_every_example_folder_is_whole_and_named_as_its_workflow() -> None:
    assert len(EXAMPLES) >= 10
    for script in EXAMPLES:
        folder = script.parent
        case = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        assert case["expect"]["workflow"] == folder.name
        assert f"examples/{folder.name}/workflow.js" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "script",
    [each for each in EXAMPLES if each.parent.name.startswith("merge-")],
    ids=lambda script: script.parent.name,
)
def test_answers_are_merged_in_portable_javascript_with_conflicts_said(script: Path) -> None:
    checked = check_script(read_script(script.read_bytes(), origin=str(script), path=str(script)), portable=True)
    assert checked == ()
    case = json.loads((script.parent / "expected.json").read_text(encoding="utf-8"))
    for conflict in case["expect"]["result"]["conflicts"]:
        assert {"about", "said", "taken", "why"} == set(conflict)
        assert all({"agent", "what"} <= set(each) for each in conflict["said"])


def test_the_checker_has_nothing_to_say_about_an_example() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callsheet", "check", *map(str, EXAMPLES)],
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.stdout.decode().splitlines() == [f"{len(EXAMPLES)} files: 0 errors, 0 warnings"]
