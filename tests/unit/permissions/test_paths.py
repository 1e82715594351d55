from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.errors import UsageError
from callsheet.model.call import Scope
from callsheet.permissions.paths import PathPolicy, protected_paths
from tests.support.users import unprivileged


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace `ws` with a few files, reached through no link, and a file outside it."""
    root = (tmp_path / "ws").resolve()
    for name in ("src/a.py", "src/b/c.py", "docs/d.md", ".git/config", ".github/workflows/ci.yml", ".callsheet/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (tmp_path / "outside.txt").touch()
    return root


# --- where a path leads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "relative"),
    [
        ("src/a.py", "src/a.py"),
        ("./src//b/../a.py", "src/a.py"),
        (".", "."),
        ("src/", "src"),
        ("new/file.txt", "new/file.txt"),
        ("src/../new/../src/b", "src/b"),
        ("./~odd", "~odd"),
        ("a\\..\\b", "a\\..\\b"),
    ],
)
def test_a_path_inside_the_workspace_may_be_read_and_written(workspace: Path, path: str, relative: str) -> None:
    policy = PathPolicy(workspace)
    for decision in (policy.read(path), policy.write(path)):
        assert decision.allowed, decision.reason
        assert decision.relative == relative
        assert decision.path == workspace / relative


def test_an_absolute_path_inside_the_workspace_is_fine_however_the_workspace_is_reached(
    workspace: Path, tmp_path: Path
) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(workspace)
    for root in (workspace, alias):
        for name in (workspace / "src/a.py", alias / "src/a.py"):
            decision = PathPolicy(root).read(str(name))
            assert decision.allowed
            assert decision.path == workspace / "src/a.py"


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "..", "../outside.txt", "src/../../outside.txt", "/", "../ws-neighbour/x", "/nowhere/at/all"],
)
def test_a_path_outside_the_workspace_is_denied(workspace: Path, path: str) -> None:
    for decision in (PathPolicy(workspace).read(path), PathPolicy(workspace).write(path)):
        assert not decision.allowed
        assert decision.path is None
        assert decision.rule == "outside the workspace"
        assert decision.reason == f"{path} lies outside the workspace {workspace}. Give a path inside it."


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("link", "../outside.txt"),
        ("link", "/etc/passwd"),
        ("src/up", "../.."),
        ("link", "/proc/self/root/etc"),
    ],
)
def test_a_link_that_leads_out_is_denied(workspace: Path, link: str, target: str) -> None:
    (workspace / link).symlink_to(target)
    for path in (link, f"{link}/x"):
        assert not PathPolicy(workspace).read(path).allowed
        assert not PathPolicy(workspace).write(path).allowed


def test_a_link_is_judged_by_where_it_leads(workspace: Path) -> None:
    (workspace / "to-hooks").symlink_to(".git/hooks")
    (workspace / "chain").symlink_to("to-hooks/pre-commit")
    (workspace / ".vscode").symlink_to("src")
    policy = PathPolicy(workspace)
    assert policy.write("chain").rule == "protected path .git"
    assert policy.write("chain").relative == ".git/hooks/pre-commit"
    assert policy.write(".vscode/a.py").relative == "src/a.py"
    assert policy.write(".vscode/a.py").allowed


def test_links_in_a_circle_are_denied(workspace: Path) -> None:
    (workspace / "one").symlink_to("two")
    (workspace / "two").symlink_to("one")
    decision = PathPolicy(workspace).read("one/x")
    assert not decision.allowed
    assert decision.reason == "one/x leads nowhere: its links go in a circle."


def test_what_the_system_refuses_to_follow_is_denied_with_its_reason(workspace: Path) -> None:
    policy = PathPolicy(workspace)
    assert policy.read("src/a.py/x").reason == "src/a.py/x leads nowhere: not a directory."
    assert policy.read("x" * 300).reason.endswith("leads nowhere: file name too long.")


def test_a_folder_that_may_not_be_entered_is_denied(shared_path: Path) -> None:
    with unprivileged():
        (shared_path / "ws" / "closed").mkdir(parents=True)
        (shared_path / "ws" / "closed").chmod(0)
        decision = PathPolicy(shared_path / "ws").read("closed/x")
        (shared_path / "ws" / "closed").chmod(0o700)
    assert decision.reason == "closed/x leads nowhere: permission denied."


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "The path is empty"),
        ("~/x", "~ is not expanded"),
        ("~root", "~ is not expanded"),
        ("a\0b", "NUL"),
        ("a\ud800b", "lone surrogate"),
    ],
)
def test_what_is_no_path_is_denied(workspace: Path, path: str, reason: str) -> None:
    for decision in (PathPolicy(workspace).read(path), PathPolicy(workspace).write(path)):
        assert not decision.allowed
        assert reason in decision.reason
        assert decision.rule == "not a path"


# --- the agent's folder -----------------------------------------------------------------------------------------------


@pytest.mark.contract("A14")
def test_relative_paths_begin_in_the_agents_folder(workspace: Path) -> None:
    policy = PathPolicy(workspace, cwd="src")
    assert policy.read("a.py").relative == "src/a.py"
    assert policy.read("../docs/d.md").relative == "docs/d.md"
    assert not policy.read("../../outside.txt").allowed


@pytest.mark.contract("A14")
@pytest.mark.parametrize("cwd", ["..", "/tmp", "src/a.py", "missing", ".callsheet", ""])
def test_a_folder_for_the_agent_that_is_none_inside_the_workspace_is_refused(workspace: Path, cwd: str) -> None:
    with pytest.raises(UsageError, match="is not a folder inside the workspace"):
        PathPolicy(workspace, cwd=cwd)


# --- what is protected ------------------------------------------------------------------------------------------------

DESIGNED = """
    .git .claude .mcp.json callsheet.toml .envrc .husky .vscode .devcontainer .github/workflows .gitattributes
    .gitmodules .npmrc .pre-commit-config.yaml .bashrc .bash_profile .profile .zshrc .zshenv
"""


@pytest.mark.parametrize("name", DESIGNED.split())
@pytest.mark.parametrize("place", ["{}", "deep/in/{}", "{}/x/y", "deep/{}/x"])
def test_a_protected_path_may_be_read_and_not_written_in_any_folder(workspace: Path, name: str, place: str) -> None:
    policy = PathPolicy(workspace)
    path = place.format(name)
    assert policy.read(path).allowed
    decision = policy.write(path)
    assert not decision.allowed
    assert decision.rule == f"protected path {name}"
    assert "Leave it as it is, and say in your answer what should be changed there." in decision.reason


DISGUISED = [
    *[".GIT/config", ".Git", "．git/x", ".g\u200cit/config", ".git\u200b/x", ".git. ", "GIT~1/config", "src/.gIt"],
    *[".GitHub/Workflows/x", ".ba\u017fhrc", ".BASHRC", "CallSheet.TOML", ".npmrc."],
]


@pytest.mark.parametrize("path", DISGUISED)
def test_capitals_and_unicode_do_not_get_around_protection(workspace: Path, path: str) -> None:
    assert not PathPolicy(workspace).write(path).allowed


@pytest.mark.parametrize(
    "path", [".gitignore", ".github/dependabot.yml", "workflows/x", "git", ".claude.md", "x.npmrc", ".gitlab-ci.yml"]
)
def test_names_that_only_look_protected_are_not(workspace: Path, path: str) -> None:
    assert PathPolicy(workspace).write(path).allowed


@pytest.mark.parametrize("path", [".callsheet", ".callsheet/callsheet.db", ".CallSheet/x", "src/.callsheet/x"])
def test_the_record_is_neither_read_nor_written(workspace: Path, path: str) -> None:
    for decision in (PathPolicy(workspace).read(path), PathPolicy(workspace).write(path)):
        assert not decision.allowed
        assert decision.rule == ".callsheet"


def test_a_workspace_below_a_protected_name_is_an_ordinary_one(tmp_path: Path) -> None:
    root = tmp_path / ".callsheet" / "worktrees" / "one"
    root.mkdir(parents=True)
    assert PathPolicy(root).write("src/a.py").allowed


def test_every_protected_path_says_why() -> None:
    entries = [entry for group in protected_paths().values() for entry in group]
    assert len(entries) > 40
    assert all(entry.why and entry.parts and "" not in entry.parts for entry in entries)


# --- scope ------------------------------------------------------------------------------------------------------------


@pytest.mark.contract("A14")
def test_a_scope_narrows_what_may_be_read_and_written(workspace: Path) -> None:
    policy = PathPolicy(workspace, scope=Scope(read=("src/**", "docs"), write=("src/b/**",)))
    assert policy.read("src/a.py").allowed
    assert policy.read("docs/d.md").allowed
    assert not policy.read("README.md").allowed
    assert policy.write("src/b/new.py").allowed
    decision = policy.write("src/a.py")
    assert not decision.allowed
    assert decision.rule == "scope"
    assert decision.reason == (
        "src/a.py is not in the scope that this agent may write (src/b/**). "
        "Change what is in it, and say in your answer what should be changed elsewhere."
    )


@pytest.mark.contract("A14")
def test_a_scope_for_one_of_the_two_leaves_the_other_as_it_is(workspace: Path) -> None:
    policy = PathPolicy(workspace, scope=Scope(write=()))
    assert policy.read("src/a.py").allowed
    assert "may write (nothing)" in policy.write("src/a.py").reason


@pytest.mark.contract("A14")
def test_a_scope_never_opens_what_is_protected_or_outside(workspace: Path) -> None:
    policy = PathPolicy(workspace, scope=Scope(read=("**", ".callsheet/**", "/etc/**"), write=("**", ".git/**")))
    assert not policy.write(".git/config").allowed
    assert not policy.read(".callsheet/x").allowed
    assert not policy.read("/etc/passwd").allowed


def test_folders_on_the_way_to_the_scope_may_be_listed(workspace: Path) -> None:
    policy = PathPolicy(workspace, scope=Scope(read=("src/b/*.py",)))
    assert [policy.read(path).allowed for path in (".", "src", "src/b", "docs", "src/a.py")] == [True] * 3 + [False] * 2


def test_a_link_is_in_scope_when_where_it_leads_is(workspace: Path) -> None:
    (workspace / "src" / "link.md").symlink_to("../docs/d.md")
    assert not PathPolicy(workspace, scope=Scope(read=("src/**",))).read("src/link.md").allowed
    assert PathPolicy(workspace, scope=Scope(read=("docs/**",))).read("src/link.md").allowed


def test_a_read_only_agent_may_write_nothing(workspace: Path) -> None:
    policy = PathPolicy(workspace, read_only=True)
    assert policy.read("src/a.py").allowed
    decision = policy.write("src/a.py")
    assert not decision.allowed
    assert decision.rule == "read-only agent"


def test_judging_a_path_changes_nothing(workspace: Path) -> None:
    before = sorted(os.walk(workspace))
    policy = PathPolicy(workspace)
    for path in ("new/x", ".git/config", "../x"):
        policy.read(path)
        policy.write(path)
    assert sorted(os.walk(workspace)) == before
