"""What the kernel is to hold commands to, derived from scope, rules and the workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.agents.tools import profile
from callsheet.model.call import Scope
from callsheet.model.confinement import CommandNetwork, NetworkHosts, NetworkOff
from callsheet.permissions.rules import Family
from tests.support.workbench import settings


def put(root: Path, *paths: str) -> None:
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("x", encoding="utf-8")


@pytest.mark.parametrize(
    ("scope", "read_only", "places"),
    [
        (None, False, [""]),
        (None, True, []),
        (Scope(), False, [""]),
        (Scope(write=()), False, []),
        (Scope(write=("src/**",)), False, ["src"]),
        (Scope(write=("src/a.txt", "docs/*.md")), False, ["docs", "src/a.txt"]),
        (Scope(write=("*.md",)), False, [""]),
        (Scope(write=("src/{a,b}/x",)), False, ["src"]),
        (Scope(write=("absent/**",)), False, []),
        (Scope(write=("link/**",)), False, []),
        (Scope(write=("../**",)), False, [""]),
        (Scope(write=("src/**",)), True, []),
        (Scope(read=("src/**",)), False, ["src"]),
        (Scope(read=("src/**",), write=("docs/**",)), False, ["docs"]),
    ],
)
def test_a_command_may_write_where_the_scope_begins(
    tmp_path: Path, scope: Scope | None, read_only: bool, places: list[str]
) -> None:
    put(tmp_path, "src/a.txt", "docs/a.md")
    (tmp_path / "link").symlink_to("/etc")
    found = profile.writable_places(tmp_path, scope, read_only=read_only)
    assert sorted(found) == [tmp_path / place for place in places]


def test_protected_places_are_those_that_are_there_outermost_first_and_no_links(tmp_path: Path) -> None:
    put(tmp_path, ".git/config", ".github/workflows/ci.yml", ".github/CODEOWNERS", "pkg/.vscode/tasks.json", "a.txt")
    put(tmp_path, "callsheet.toml", "node_modules/x/.npmrc", ".claude/settings.json", "LEFTHOOK.yml")
    (tmp_path / ".husky").symlink_to("/etc")
    found = {str(path.relative_to(tmp_path)) for path in profile.protected_places(tmp_path)}
    assert found == {".git", ".github/workflows", ".claude", "callsheet.toml", "LEFTHOOK.yml", "pkg/.vscode"}


@pytest.mark.parametrize(
    ("allow", "deny", "ask", "network"),
    [
        ((), (), (), NetworkOff()),
        (("WebFetch(domain:a.com)", "WebFetch(domain:*.b.org)"), (), (), NetworkHosts(hosts=("a.com", "*.b.org"))),
        (("WebFetch",), (), (), NetworkOff()),
        (("WebFetch(domain:*)",), (), (), NetworkOff()),
        (("Bash(curl:*)", "WebSearch"), (), (), NetworkOff()),
        (("WebFetch(domain:a.c)", "WebFetch(domain:b.c)"), ("WebFetch(domain:a.c)",), (), NetworkHosts(hosts=("b.c",))),
        (("WebFetch(domain:*.a.com)",), ("WebFetch(domain:x.a.com)",), (), NetworkOff()),
        (("WebFetch(domain:x.a.com)",), ("WebFetch(domain:*.a.com)",), (), NetworkOff()),
        (("WebFetch(domain:a.com)",), ("WebFetch(domain:*.a.com)",), (), NetworkHosts(hosts=("a.com",))),
        (("WebFetch(domain:a.com)",), ("WebFetch",), (), NetworkOff()),
        (("WebFetch(domain:a.com)",), (), ("WebFetch(domain:a.com)",), NetworkOff()),
        (("WebFetch(domain:*.a.com)",), ("WebFetch(domain:*.x.a.com)",), (), NetworkOff()),
        (("WebFetch(domain:a.com:8443)",), (), (), NetworkHosts(hosts=("a.com:8443",))),
        (("WebFetch(domain:a.com)",), ("WebFetch(domain:a.com:8443)",), (), NetworkOff()),
        (("WebFetch(domain:a.com:8443)",), ("WebFetch(domain:*.com)",), (), NetworkOff()),
    ],
)  # fmt: skip
def test_commands_reach_the_hosts_that_rules_allow_by_name(
    tmp_path: Path, allow: tuple[str, ...], deny: tuple[str, ...], ask: tuple[str, ...], network: CommandNetwork
) -> None:
    found = settings(tmp_path, allow=allow, deny=deny, ask=ask)
    assert profile.network_of(found.rules) == network


def test_rules_open_places_outside_but_never_the_system_the_whole_home_or_a_link(tmp_path: Path) -> None:
    root, home, data = tmp_path / "ws", tmp_path / "home", tmp_path / "data"
    for folder in (root / "src", home / "lib", data):
        folder.mkdir(parents=True)
    (data / "link").symlink_to(home)
    (root / "inside").symlink_to(home)
    places = ("//**", f"/{tmp_path}/**", f"/{home}/**", f"/{data}/link/**", "src/**", "./inside/**", f"/{data}/**")
    allow = (*(f"Edit({place})" for place in places), f"Read(/{home}/lib)", "Edit(//absent)")
    rules = settings(root, allow=allow).rules
    assert profile.granted_outside(rules, Family.EDIT, root=root, home=home) == (data,)
    assert profile.granted_outside(rules, Family.READ, root=root, home=home) == (home / "lib",)


def test_only_what_a_rule_names_in_full_is_hidden_from_programs(tmp_path: Path) -> None:
    rules = settings(tmp_path, deny=("Read(./.env)", "Read(./secrets/**)", "Read(.env)", "Edit(./x)")).rules
    assert profile.denied_places(rules, folder=tmp_path) == (tmp_path / ".env",)


def test_programs_of_the_home_folder_are_seen_and_nothing_beside_them(tmp_path: Path) -> None:
    for folder in (".local/bin", ".cargo/bin", ".pyenv/versions", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    path = f"/usr/bin:{tmp_path}/.local/bin:{tmp_path}/.cargo/bin:{tmp_path}:relative:{tmp_path}/absent"
    found = profile.program_places(path, tmp_path)
    assert found == (tmp_path / ".local/bin", tmp_path / ".cargo/bin", tmp_path / ".pyenv")
