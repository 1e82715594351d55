from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from callsheet.app.claims import LOOKED_AT
from callsheet.app.servers import MAX_NOTES, ServersFound, find, reachable
from callsheet.app.trusting import Site
from callsheet.permissions.sources import ProjectFiles


@dataclass
class World:
    root: Path
    home: Path

    def find(self, *, trusted: bool, home: Path | None = None, project: Path | None = None) -> ServersFound:
        site = Site(
            root=self.root,
            project=ProjectFiles(folder=project or self.root),
            start=self.root,
            home=home or self.home,
            config_dir=self.home / ".config" / "callsheet",
            environ={},
        )
        return find(site, is_trusted=trusted)


def servers(*names: str) -> str:
    return json.dumps({"mcpServers": {name: {"command": name} for name in names}})


def names(found: ServersFound) -> list[str]:
    return [server.name for server in found.servers]


@pytest.fixture
def world(tmp_path: Path) -> World:
    for folder in ("work", "home"):
        (tmp_path / folder).mkdir()
    return World(tmp_path / "work", tmp_path / "home")


def test_a_workspace_s_servers_take_effect_once_trusted_and_the_user_s_at_once(world: World) -> None:
    (world.root / ".mcp.json").write_text(servers("theirs"), encoding="utf-8")
    (world.home / ".claude.json").write_text(servers("mine"), encoding="utf-8")
    assert names(world.find(trusted=False)) == ["mine"]
    assert names(world.find(trusted=True)) == ["theirs", "mine"]


def test_where_hosts_are_bounded_only_servers_at_those_are_left_and_the_others_are_named(world: World) -> None:
    places = {"here": "https://a.example.com/mcp", "port": "https://example.net:8443/mcp", "there": "https://evil.com/"}
    entries = {name: {"type": "http", "url": url} for name, url in places.items()} | {"program": {"command": "x"}}
    (world.home / ".claude.json").write_text(json.dumps({"mcpServers": entries}), encoding="utf-8")
    found = world.find(trusted=False)

    left, notes = reachable(found, ("*.example.com", "example.net:8443"))

    assert names(left) == ["here", "port"]
    assert notes == ("external_api: MCP servers that reach other machines are left out: there, program.",)
    assert reachable(found, None) == (found, ())
    assert names(reachable(found, ())[0]) == []


def test_without_files_there_is_nothing(world: World) -> None:
    assert world.find(trusted=True) == ServersFound()


def test_a_copy_of_the_configuration_takes_the_place_of_the_workspace_s(world: World, tmp_path: Path) -> None:
    (world.root / ".mcp.json").write_text(servers("changed"), encoding="utf-8")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / ".mcp.json").write_text(servers("committed"), encoding="utf-8")
    assert names(world.find(trusted=True, project=copy)) == ["committed"]


def test_a_link_out_of_the_workspace_was_not_shown_and_is_not_taken(world: World, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(servers("hidden"), encoding="utf-8")
    (world.root / ".mcp.json").symlink_to(tmp_path / "other.json")
    found = world.find(trusted=True)
    assert found.servers == ()
    assert "is a link out of the workspace" in found.notes[0]


def test_a_file_of_which_only_the_beginning_was_shown_is_not_taken(world: World) -> None:
    (world.root / ".mcp.json").write_text(servers("late") + " " * LOOKED_AT, encoding="utf-8")
    assert world.find(trusted=True).servers == ()


def test_a_user_s_file_that_agents_may_write_is_not_believed(world: World) -> None:
    (world.root / ".claude.json").write_text(servers("planted"), encoding="utf-8")
    found = world.find(trusted=True, home=world.root)
    assert found.servers == ()
    assert "lies in the workspace, where agents may write it" in found.notes[0]


def test_what_cannot_be_used_is_noted_and_hides_no_other(world: World) -> None:
    entries = {"good": {"command": "x"}, **{f"bad{n}": {"command": ""} for n in range(MAX_NOTES + 5)}}
    (world.home / ".claude.json").write_text(json.dumps({"mcpServers": entries}), encoding="utf-8")
    found = world.find(trusted=False)
    assert names(found) == ["good"]
    assert len(found.notes) == MAX_NOTES + 1
    assert all("\n" not in note for note in found.notes)
