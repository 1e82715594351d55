"""Agents' file tools against a workspace that changes under them, and against links that lead out of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from callsheet.agents.tools.bounds import Bounds
from callsheet.agents.tools.names import ToolName
from callsheet.model.call import AgentTask
from callsheet.model.reports import ToolCalled
from callsheet.permissions.decide import Decider, Decision
from tests.support.workbench import Bench

pytestmark = pytest.mark.anyio


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret needle", encoding="utf-8")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.txt").write_text("needle", encoding="utf-8")
    return folder


ARGUMENTS: dict[ToolName, dict[str, str]] = {
    "read": {},
    "write": {"content": "x"},
    "edit": {"old_string": "secret", "new_string": "x"},
}


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("path", ["link.txt", "folder/secret.txt", "src/../folder/secret.txt"])
async def test_links_that_lead_out_are_refused(root: Path, outside: Path, name: ToolName, path: str) -> None:
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "folder").symlink_to(outside)
    assert "outside" in await Bench(root).refusal(name, file_path=path, **ARGUMENTS[name])
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret needle"


class Swapping(Decider):
    """Says yes, and then the folder becomes a link to somewhere else: what a program that races with us would do."""

    elsewhere: Path
    swapped: Path

    def decide(self, tool: str, given: Mapping[str, object], *, folder: Path | None = None) -> Decision:
        decision = super().decide(tool, given, folder=folder)
        place = self.swapped / "src"
        if not place.is_symlink():
            place.rename(self.swapped / "was-src")
            place.symlink_to(self.elsewhere)
        return decision


class SwappingBounds(Bounds):
    def __init__(self, outside: Path) -> None:
        super().__init__()
        self._elsewhere = outside

    def decider(self, task: AgentTask) -> Decider:
        swapping = Swapping(self.settings, root=Path(task.workspace.root), home=self.home)
        swapping.elsewhere, swapping.swapped = self._elsewhere, Path(task.workspace.root)
        return swapping


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_a_link_put_there_after_the_decision_is_not_followed(root: Path, outside: Path, name: ToolName) -> None:
    (root / "src" / "secret.txt").write_text("harmless", encoding="utf-8")
    bench = Bench(root, bounds=SwappingBounds(outside))
    assert "link" in await bench.refusal(name, file_path="src/secret.txt", **ARGUMENTS[name])
    assert (root / "src").is_symlink(), "the folder was swapped in between"
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret needle"
    assert _names(outside) == ["secret.txt"]
    assert bench.reporter.of(ToolCalled)[-1].state == "denied"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_searches_do_not_follow_links_out_of_the_workspace(root: Path, outside: Path) -> None:
    (root / "folder").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "secret.txt")
    tools = Bench(root)
    assert "secret" not in await tools("grep", pattern="needle")
    assert "secret" not in await tools("glob", pattern="**")
    assert "outside" in await tools.refusal("grep", pattern="*", path="folder")
    assert "outside" in await tools.refusal("glob", pattern="*", path="folder")


async def test_a_repository_cannot_configure_the_search(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "ripgreprc").write_text("--pre=/bin/false\n--files-with-matches\n", encoding="utf-8")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(root / "ripgreprc"))
    (root / "rg").write_text("#!/bin/sh\necho hijacked\n", encoding="utf-8")
    (root / "rg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}:{os.environ['PATH']}")
    assert await Bench(root)("grep", pattern="^needle$") == f"{root}/src/a.txt:1:needle"
