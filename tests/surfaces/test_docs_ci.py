"""The recipes of `docs/ci.md`: they can be read, they give the action what it takes, and every option is one."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import callsheet
from callsheet.cli.commands import cli
from tests.support.github_expressions import Expression
from tests.support.github_runner import ACTION, Action

TEXT = (ACTION / "docs/ci.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
YAML = [yaml.safe_load(text) for language, text in BLOCKS if language == "yaml"]
ON_GITHUB = [recipe for recipe in YAML if "jobs" in recipe]
CONTEXTS: dict[str, Any] = {name: {} for name in ("github", "secrets", "steps", "runner")}


def _steps() -> Iterator[dict[str, Any]]:
    for recipe in ON_GITHUB:
        for job in recipe["jobs"].values():
            yield from job["steps"]


def _command_lines() -> list[list[str]]:
    """Each use of the command in a block, as words, up to where the shell goes on with something else."""
    found = []
    for _, text in BLOCKS:
        arrays = dict(re.findall(r"^\s*(\w+)=\((.*)\)$", text, re.MULTILINE))
        for line in text.splitlines():
            for name, words in arrays.items():
                line = line.replace(f'"${{{name}[@]}}"', words)
            match = re.search(r"(?:^|[\s/])callsheet ((?:run|resume|check|report)\b.*)$", line)
            if match and "uses:" not in line:
                words = shlex.split(match[1])
                ends = [at for at, word in enumerate(words) if word in (">", "|", "&&", ";")]
                found.append(words[: ends[0]] if ends else words)
    return found + [shlex.split(words) for words in re.findall(r"`callsheet ([a-z][^`]*)`", TEXT)]


def test_every_recipe_has_its_language_and_can_be_read() -> None:
    assert len(ON_GITHUB) == 4 and len(YAML) == 5
    for language, text in BLOCKS:
        assert language in ("yaml", "text")
        if "\n[Install]" in text or "\n[Service]" in text:
            configparser.RawConfigParser(strict=True).read_string(text)


@pytest.mark.parametrize("words", _command_lines(), ids=" ".join)
def test_every_command_takes_the_options_it_is_given(words: list[str]) -> None:
    command = cli.get_command(click.Context(cli), words[0])

    assert command is not None
    command.make_context(words[0], words[1:])


def test_the_action_is_given_what_it_takes_and_the_page_names_all_of_it() -> None:
    action = Action.read()
    uses = [step for step in _steps() if str(step.get("uses", "")).startswith("callsheet/")]

    assert len(uses) == 3
    for step in uses:
        assert step["uses"] == f"callsheet/callsheet@v{callsheet.__version__}"
        assert set(step["with"]) <= set(action.inputs)
        assert {name for name, each in action.inputs.items() if each.required} <= set(step["with"])
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `") and "pull_request" not in line]
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)} == {*action.inputs, *action.outputs}


def test_actions_are_pinned_the_same_everywhere_and_no_expression_stands_in_a_script() -> None:
    pins = re.findall(r"uses: (actions/\S+)@(\S+) # (v\S+)", TEXT + (ACTION / "action.yml").read_text(encoding="utf-8"))

    assert all(re.fullmatch("[0-9a-f]{40}", commit) for _, commit, _ in pins)
    assert len(set(pins)) == len({name for name, _, _ in pins})
    assert TEXT.count("uses: actions/") == len(re.findall(r"uses: actions/\S+@[0-9a-f]{40} # v", TEXT))
    for step in _steps():
        assert "${{" not in step.get("run", "")
        for text in re.findall(r"\$\{\{(.*?)\}\}", str(step)):
            Expression(text, CONTEXTS)


def test_scripts_of_recipes_are_bash() -> None:
    scripts = [step["run"] for step in _steps() if "run" in step]
    scripts += [line for recipe in YAML if "review" in recipe for line in recipe["review"]["script"]]

    assert len(scripts) == 6
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script.encode(), check=True, timeout=120)


def test_the_page_of_the_action_leads_here() -> None:
    assert "docs/ci.md" in (ACTION / "README.md").read_text(encoding="utf-8")
    assert Path(ACTION / "action.yml").is_file()
