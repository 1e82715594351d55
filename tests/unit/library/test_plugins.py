from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callsheet.errors import NotFoundError
from callsheet.library.library import Library
from callsheet.script.reader import read_script

REVIEWER = "---\nname: reviewer\ndescription: Reviews\ntools: Read\nmodel: opus\n---\nBe strict.\n"


class Machine:
    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "work"
        self.home = tmp_path / "home"
        self.config = self.home / ".claude"
        self.root.mkdir()
        (self.config / "plugins").mkdir(parents=True)
        self.plugins: dict[str, Any] = {}

    def install(self, key: str = "tools@market", *, manifest: object = None, **entry: object) -> Path:
        folder = self.config / "plugins" / "cache" / key.replace("@", "-")
        self.save(folder / "agents" / "reviewer.md", REVIEWER)
        if manifest is not None:
            self.save(folder / ".claude-plugin" / "plugin.json", json.dumps(manifest))
        self.plugins[key] = [{"scope": "user", "installPath": str(folder), **entry}]
        self.write(self.plugins)
        return folder

    def write(self, plugins: object) -> None:
        text = json.dumps({"version": 2, "plugins": plugins})
        (self.config / "plugins" / "installed_plugins.json").write_text(text, encoding="utf-8")

    def save(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    @property
    def library(self) -> Library:
        return Library(workspace=self.root, start=self.root, home=self.home, config_dir=None, read=read_script)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.library.agent_types() if ":" in each.name and each.problem is None]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.contract("A07", "A09")
def test_an_agent_type_of_a_plugin_is_found_under_the_plugins_name(machine: Machine) -> None:
    machine.install()
    found = machine.library.agent_type("tools:reviewer")
    assert (found.name, found.tools, found.model, found.system_prompt) == (
        "tools:reviewer",
        ("Read",),
        "opus",
        "Be strict.",
    )
    assert machine.names == ["tools:reviewer"]
    for name in ("reviewer", "tools:other", "other:reviewer"):
        with pytest.raises(NotFoundError):
            machine.library.agent_type(name)


def test_the_manifest_names_the_plugin_and_further_files(machine: Machine) -> None:
    folder = machine.install(manifest={"name": "mine", "agents": ["./special/a.md", "./more", 7]})
    machine.save(folder / "special" / "a.md", "---\ndescription: x\n---\n")
    machine.save(folder / "more" / "b.md", "---\nname: bee\n---\n")
    assert machine.names == ["mine:reviewer", "mine:a", "mine:bee"]
    assert machine.library.agent_type("mine:bee").name == "mine:bee"


def test_a_plugin_that_is_switched_off_or_of_another_project_does_not_count(machine: Machine, tmp_path: Path) -> None:
    machine.install("off@market")
    machine.install("theirs@market", scope="project", projectPath=str(tmp_path / "elsewhere"))
    machine.install("ours@market", scope="local", projectPath=str(machine.root))
    machine.save(machine.config / "settings.json", json.dumps({"enabledPlugins": {"off@market": False}}))
    assert machine.names == ["ours:reviewer"]


def test_a_repository_installs_no_plugin(machine: Machine) -> None:
    folder = machine.root / ".claude" / "plugins"
    machine.save(folder / "mine" / "agents" / "reviewer.md", REVIEWER)
    listed = {"version": 2, "plugins": {"mine@x": [{"scope": "user", "installPath": str(folder / "mine")}]}}
    machine.save(folder / "installed_plugins.json", json.dumps(listed))
    assert machine.names == []


def test_files_outside_of_the_plugin_are_not_read(machine: Machine, tmp_path: Path) -> None:
    machine.save(tmp_path / "outside.md", "---\nname: outside\n---\n")
    folder = machine.install(manifest={"agents": ["../../../../outside.md", str(tmp_path / "outside.md"), "/"]})
    (folder / "agents" / "link.md").symlink_to(tmp_path / "outside.md")
    assert machine.names == ["tools:reviewer"]


@pytest.mark.parametrize("plugins", [None, [], {"a@b": None}, {"a@b": [{}]}, {"a@b": [{"installPath": "relative"}]}])
def test_a_list_that_makes_no_sense_is_passed_over(machine: Machine, plugins: object) -> None:
    machine.write(plugins)
    assert machine.names == []
    machine.save(machine.config / "plugins" / "installed_plugins.json", "[" * 50_000)
    assert machine.names == []


def test_the_older_form_of_the_list_is_read_too(machine: Machine) -> None:
    folder = machine.install()
    machine.write({"tools@market": {"version": "1.0.0", "installPath": str(folder)}})
    assert machine.names == ["tools:reviewer"]
