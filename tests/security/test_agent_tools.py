"""Agents' file tools against a workspace that changes under them, and against links that lead out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.agents.tools.names import ToolFailure, ToolName
from callsheet.agents.tools.ripgrep import Ripgrep
from callsheet.agents.tools.workbench import Workbench
from callsheet.model.reports import ToolCalled
from callsheet.permissions.paths import PathDecision, PathPolicy
from tests.support.agents import RecordingReporter
from tests.support.deadline import within

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


def bench(policy: PathPolicy, reporter: RecordingReporter | None = None) -> Workbench:
    return Workbench(policy=policy, ripgrep=Ripgrep(), reporter=reporter or RecordingReporter())


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
    with within(), pytest.raises(ToolFailure, match="outside"):
        await bench(PathPolicy(root)).call(name, {"file_path": path, **ARGUMENTS[name]})
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret needle"


class Swapping(PathPolicy):
    """Says yes, and then the folder becomes a link to somewhere else: what a program that races with us would do."""

    def __init__(self, root: Path, outside: Path) -> None:
        super().__init__(root)
        self._elsewhere = outside

    def read(self, path: str) -> PathDecision:
        return self._swapped(super().read(path))

    def write(self, path: str) -> PathDecision:
        return self._swapped(super().write(path))

    def _swapped(self, decision: PathDecision) -> PathDecision:
        folder = self.root / "src"
        if decision.relative == "src/secret.txt" and not folder.is_symlink():
            folder.rename(self.root / "was-src")
            folder.symlink_to(self._elsewhere)
        return decision


@pytest.mark.parametrize("name", ARGUMENTS)
async def test_a_link_put_there_after_the_decision_is_not_followed(root: Path, outside: Path, name: ToolName) -> None:
    (root / "src" / "secret.txt").write_text("harmless", encoding="utf-8")
    reporter = RecordingReporter()
    with within(), pytest.raises(ToolFailure, match="link"):
        await bench(Swapping(root, outside), reporter).call(name, {"file_path": "src/secret.txt", **ARGUMENTS[name]})
    assert (root / "src").is_symlink(), "the folder was swapped in between"
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret needle"
    assert _names(outside) == ["secret.txt"]
    assert reporter.of(ToolCalled)[-1].state == "denied"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_searches_do_not_follow_links_out_of_the_workspace(root: Path, outside: Path) -> None:
    (root / "folder").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "secret.txt")
    tools = bench(PathPolicy(root))
    with within():
        assert "secret" not in str(await tools.call("grep", {"pattern": "needle"}))
        assert "secret" not in str(await tools.call("glob", {"pattern": "**"}))
    for name in ("grep", "glob"):
        with within(), pytest.raises(ToolFailure, match="outside"):
            await tools.call(name, {"pattern": "*", "path": "folder"})


async def test_a_repository_cannot_configure_the_search(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "ripgreprc").write_text("--pre=/bin/false\n--files-with-matches\n", encoding="utf-8")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(root / "ripgreprc"))
    (root / "rg").write_text("#!/bin/sh\necho hijacked\n", encoding="utf-8")
    (root / "rg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}:{os.environ['PATH']}")
    with within():
        assert await bench(PathPolicy(root)).call("grep", {"pattern": "^needle$"}) == f"{root}/src/a.txt:1:needle"
