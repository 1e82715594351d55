from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from callsheet.agents.mcp.config import HttpServer, McpServers, StdioServer, find_servers

ENVIRON = {"TOKEN": "t0ken", "EMPTY": "", "HOST": "example.com"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path / "ws"


def find(workspace: Path, *, trusted: bool = True) -> McpServers:
    return find_servers(workspace=workspace, home=workspace.parent / "home", environ=ENVIRON, trusted=trusted)


def write(path: Path, servers: object, **more: object) -> None:
    path.write_text(json.dumps({"mcpServers": servers, **more}), encoding="utf-8")


def test_a_project_s_servers_are_read_with_their_variables_replaced(workspace: Path) -> None:
    write(
        workspace / ".mcp.json",
        {
            "db": {"command": "npx", "args": ["-y", "db@${V:-1.2}"], "env": {"KEY": "${TOKEN}", "PLAIN": "$TOKEN"}},
            "web": {"type": "http", "url": "https://${HOST}/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
        },
    )
    found = find(workspace)
    db, web = found.servers
    assert db.how == StdioServer(
        command="npx", arguments=("-y", "db@1.2"), environ={"KEY": "t0ken", "PLAIN": "$TOKEN"}, folder=workspace
    )
    assert web.how == HttpServer(url="https://example.com/mcp", headers={"Authorization": "Bearer t0ken"})
    assert (db.scope, db.source) == ("project", f"{workspace}/.mcp.json: mcpServers.db")
    assert db.variables == ("TOKEN",)
    assert web.variables == ("HOST", "TOKEN")
    assert found.faults == ()


def test_what_a_server_would_do_is_told_on_one_line_without_secrets(workspace: Path) -> None:
    write(workspace / ".mcp.json", {"db": {"command": "npx", "args": ["-y"], "env": {"KEY": "${TOKEN}"}}})
    (db,) = find(workspace).servers
    assert db.summary == f"MCP server db: runs npx -y, with TOKEN ({workspace}/.mcp.json: mcpServers.db)"


def test_a_project_s_servers_take_no_effect_before_trust_and_those_of_the_user_do(workspace: Path) -> None:
    write(workspace / ".mcp.json", {"db": {"command": "evil"}})
    write(workspace.parent / "home/.claude.json", {"db": {"command": "mine"}})
    found = find(workspace, trusted=False)
    assert [(server.name, server.scope) for server in found.servers] == [("db", "user")]
    assert [(server.name, server.scope) for server in found.untrusted] == [("db", "project")]


def test_the_nearer_of_two_servers_of_a_name_holds(workspace: Path) -> None:
    write(workspace / ".mcp.json", {"a": {"command": "project"}, "b": {"command": "project"}})
    write(
        workspace.parent / "home/.claude.json",
        {"a": {"command": "user"}, "b": {"command": "user"}, "c": {"command": "user"}},
        projects={str(workspace): {"mcpServers": {"a": {"command": "local"}}}},
    )
    found = {server.name: server.scope for server in find(workspace).servers}
    assert found == {"a": "local", "b": "project", "c": "user"}


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({}, "mcpServers.bad.command: Field required"),
        ("x", "mcpServers.bad: "),
        ({"command": 1}, "mcpServers.bad.command: "),
        ({"command": ""}, "mcpServers.bad.command: "),
        ({"command": "x", "args": "y"}, "mcpServers.bad.args: "),
        ({"command": "x", "args": ["y", 2]}, "mcpServers.bad.args.1: "),
        ({"command": "x", "env": {"A": 1}}, "mcpServers.bad.env.A: "),
        ({"command": "x", "env": {"A=B": "1"}}, "mcpServers.bad: "),
        ({"command": "x\0y"}, "mcpServers.bad: "),
        ({"command": "x", "args": ["${NOT_THERE}"]}, "mcpServers.bad.args.0: ${NOT_THERE} is not set"),
        ({"type": "sse", "url": "https://x/sse"}, "mcpServers.bad: `sse` is no longer spoken"),
        ({"type": "ws", "url": "https://x/"}, "mcpServers.bad: "),
        ({"url": "ftp://x"}, "mcpServers.bad.url: "),
        ({"url": "https://user:word@x/"}, "mcpServers.bad.url: "),
        ({"url": "https://x/", "headers": {"A": "b\r\nC: d"}}, "mcpServers.bad.headers.A: "),
        ({"url": "https://x/", "headers": {"A B": "c"}}, "mcpServers.bad.headers.A B: "),
    ],
)
def test_an_entry_that_cannot_be_used_is_told_with_its_place_and_hides_no_other(
    workspace: Path, entry: object, fault: str
) -> None:
    write(workspace / ".mcp.json", {"bad": entry, "good": {"command": "x"}})
    found = find(workspace)
    assert [server.name for server in found.servers] == ["good"]
    assert len(found.faults) == 1
    assert found.faults[0].startswith(f"{workspace}/.mcp.json: {fault}")
    assert "\n" not in found.faults[0]


@pytest.mark.parametrize("name", ["a__b", "", "a/b", "ä", "-a", "a" * 65, "a\nb"])
def test_a_name_that_rules_could_misread_is_refused(workspace: Path, name: str) -> None:
    write(workspace / ".mcp.json", {name: {"command": "x"}})
    found = find(workspace)
    assert found.servers == ()
    assert "a server's name" in found.faults[0]


def test_names_that_become_equal_are_told(workspace: Path) -> None:
    write(workspace / ".mcp.json", {"my db": {"command": "x"}, "my_db": {"command": "y"}})
    found = find(workspace)
    assert [server.name for server in found.servers] == ["my_db"]
    assert "called like those of 'my db'" in found.faults[0]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"{", "is not JSON in line 1"),
        (b"[]", "must hold an object"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"mcpServers": []}', "mcpServers must be an object"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_the_user_s_servers_stay(
    workspace: Path, data: bytes, fault: str
) -> None:
    (workspace / ".mcp.json").write_bytes(data)
    write(workspace.parent / "home/.claude.json", {"mine": {"command": "x"}})
    found = find(workspace)
    assert [server.name for server in found.servers] == ["mine"]
    assert fault in found.faults[0]


def test_what_is_no_file_is_told_and_not_waited_for(workspace: Path) -> None:
    (workspace / ".mcp.json").mkdir()
    assert find(workspace).faults == (f"{workspace}/.mcp.json is a directory",)
    (workspace / ".mcp.json").rmdir()
    os.mkfifo(workspace / ".mcp.json")
    assert find(workspace).faults == (f"{workspace}/.mcp.json is not a regular file",)
    (workspace / ".mcp.json").unlink()
    (workspace / ".mcp.json").symlink_to("nowhere")
    assert find(workspace).faults == (f"{workspace}/.mcp.json does not exist",)


def test_without_files_there_are_no_servers(workspace: Path) -> None:
    assert find(workspace) == McpServers()
