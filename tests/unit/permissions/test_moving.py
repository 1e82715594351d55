from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.permissions.decide import Decider
from callsheet.permissions.moving import moved_settings
from callsheet.permissions.rules import Effect, Origin, read_rule
from callsheet.permissions.sources import PermissionSettings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("home/proj/src", "home/proj/.copy/src", "home/other"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "home"


def decided(home: Path, rule: str, path: str, *, effect: Effect = Effect.DENY, tool: str = "read") -> str:
    """What a rule of the project leads to, in the copy; paths may name {copy} and {root}."""
    root, copy = home / "proj", home / "proj" / ".copy"
    read, _ = read_rule(effect, rule.format(root=root), Origin(name="x", folder=root), home=home)
    assert read is not None
    settings = moved_settings(PermissionSettings(rules=(read,)), root=root, copy=copy)
    decider = Decider(settings, root=copy, home=home)
    given: dict[str, object] = {"file_path": path.format(root=root, copy=copy)}
    if tool == "write":
        given["content"] = "x"
    return str(decider.decide(tool, given).decision)


@pytest.mark.parametrize(
    "rule",
    [
        "Read(/src/x)",
        "Read(/src/**)",
        "Read(src/x)",
        "Read(x)",
        "Read(/{root}/src/x)",
        "Read(/{root}/**)",
        "Read(/{root})",
        "Read(~/proj/src/**)",
        "Read(~/proj)",
        "Read(~/*/src/x)",
        "Read(~/**/src/x)",
        "Read(~/**/proj/src/x)",
        "Read(//**/proj/src/x)",
        "Read(~/**)",
    ],
)
def test_what_is_denied_in_the_workspace_is_denied_in_the_copy(home: Path, rule: str) -> None:
    assert decided(home, rule, "src/x") == "deny"


@pytest.mark.parametrize("rule", ["Read(/other/**)", "Read(~/other/**)", "Read(~/proj/src/y)", "Read(//srv/src/x)"])
def test_what_is_not_is_not(home: Path, rule: str) -> None:
    assert decided(home, rule, "src/x") == "allow"


@pytest.mark.parametrize("rule", ["Edit(/src/**)", "Edit(/{root}/src/**)", "Edit(~/proj/**)"])
def test_what_is_allowed_is_allowed_in_the_copy_alone(home: Path, rule: str) -> None:
    assert decided(home, rule, "src/x", effect=Effect.ALLOW, tool="write") == "allow"
    assert decided(home, rule, "{root}/src/x", effect=Effect.ALLOW, tool="write") != "allow"


def test_a_denial_of_the_workspace_itself_goes_on_to_hold(home: Path) -> None:
    assert decided(home, "Read(/src/**)", "{root}/src/x") == "deny"
