from __future__ import annotations

from pathlib import Path

from callsheet.programs import USUAL, host_path


def test_folders_of_the_workspace_relative_ones_and_links_into_it_are_left_out(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to(workspace / "bin")
    path = f"{workspace}/bin:{tmp_path}/link:bin:.::/usr/bin:{workspace}2/bin"

    assert host_path(path, outside=(workspace,)) == f"/usr/bin:{workspace}2/bin"


def test_a_path_of_which_nothing_is_left_is_the_usual_one(tmp_path: Path) -> None:
    assert host_path(str(tmp_path), outside=(tmp_path,)) == USUAL
    assert host_path(None, outside=()) == USUAL


def test_the_whole_system_as_a_workspace_excludes_nothing() -> None:
    assert host_path("/usr/bin", outside=(Path("/"),)) == "/usr/bin"
