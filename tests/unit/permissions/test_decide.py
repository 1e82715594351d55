"""What a decision tells those who act on it, beside the decision itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.model.call import Scope
from callsheet.permissions.decide import Decider
from callsheet.permissions.modes import Mode
from tests.support.workbench import settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "ws"
    (folder / "src").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "src/c.txt"):
        (folder / name).write_text("x", encoding="utf-8")
    (folder / "link").symlink_to("src")
    return folder


def decider(root: Path, **flags: Any) -> Decider:
    return Decider(settings(root, **flags), root=root, home=root)


@pytest.mark.parametrize(
    ("tool", "path", "leads_to"),
    [("read", "a.txt", "a.txt"), ("edit", "link/c.txt", "src/c.txt"), ("write", "new", "new"), ("grep", "link", "src")],
)
def test_a_decision_says_where_its_path_leads(root: Path, tool: str, path: str, leads_to: str) -> None:
    given = {"path": path, "pattern": "x"} if tool == "grep" else {"file_path": path}
    assert decider(root).decide(tool, given).path == root / leads_to


@pytest.mark.parametrize(
    "command",
    ["ls", "cat a.txt | head -3", "cd src && cat c.txt", "git log", "grep x a.txt >/dev/null", "true", "find . -name x"]
)  # fmt: skip
@pytest.mark.parametrize("mode", [Mode.ACCEPT_EDITS, Mode.BYPASS])
def test_commands_that_only_read_are_known(root: Path, command: str, mode: Mode) -> None:
    assert decider(root, mode=mode).decide("bash", {"command": command}).is_read_only


@pytest.mark.parametrize(
    "command",
    [
        "touch x", "echo x > x", "cat a.txt >> b.txt", "rm a.txt", "sed -i s/x/y/ a.txt", "npm test", "make | cat",
        "bash -c 'touch x'", "ls; ./run", "$X", "if true; then rm a.txt; fi", "echo \"$(touch x)\"", "ls | tee x",
        "echo x | xargs rm", "find . -delete", "(rm a.txt)", "timeout 5 touch x", "echo 'open",
        "PATH=src ls", "LD_PRELOAD=x cat a.txt", "export PATH=src; ls", "cat < $X", "exec 3<>/dev/tcp/h/1", "`x`",
    ],
)  # fmt: skip
@pytest.mark.parametrize("flags", [{}, {"allow": ("Bash",)}, {"mode": Mode.BYPASS}], ids=["none", "allow", "bypass"])
def test_a_command_that_may_change_something_is_never_taken_for_one_that_only_reads(
    root: Path, command: str, flags: dict[str, Any]
) -> None:
    assert not decider(root, **flags).decide("bash", {"command": command}).is_read_only


def test_files_that_a_command_names_and_reads_are_told(root: Path) -> None:
    decision = decider(root).decide("bash", {"command": "cat a.txt link/c.txt | grep x && touch b.txt"})
    assert decision.reads == (root / "a.txt", root / "src" / "c.txt")


def test_a_command_is_judged_from_its_folder_and_rules_from_the_agents(root: Path) -> None:
    judge = decider(root, deny=("Read(./a.txt)",))
    assert judge.decide("bash", {"command": "cat c.txt"}, folder=root / "src").reads == (root / "src" / "c.txt",)
    assert judge.decide("bash", {"command": "cat ../a.txt"}, folder=root / "src").decision == "deny"


@pytest.mark.parametrize("command", ["touch x", "make", "$X"])
def test_an_agent_that_may_change_nothing_is_denied_without_a_question(root: Path, command: str) -> None:
    judge = Decider(settings(root, allow=("Bash",)), root=root, home=root, read_only=True)
    decision = judge.decide("bash", {"command": command})
    assert (decision.decision, decision.suggestions) == ("deny", ())
    assert judge.decide("bash", {"command": "cat a.txt"}).decision == "allow"


@pytest.mark.parametrize("tool", ["read", "write", "edit"])
def test_a_scope_is_not_widened_by_rules_or_added_folders(root: Path, tool: str) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    found = settings(root, allow=(f"Edit(/{outside}/**)", f"Read(/{outside}/**)"), folders=(outside,))
    given = {"file_path": str(outside / "x")}
    scope = Scope(read=("src/**",), write=("src/**",))
    assert Decider(found, root=root, home=root).decide(tool, given).decision == "allow"
    assert Decider(found, root=root, home=root, scope=scope).decide(tool, given).decision == "deny"


@pytest.mark.parametrize("tool", ["read", "write", "glob"])
def test_a_tilde_is_no_folder_of_the_workspace(root: Path, tool: str) -> None:
    given = {"file_path": "~/x", "path": "~/x", "pattern": "*"}
    assert decider(root).decide(tool, given).rule == "not a path"
