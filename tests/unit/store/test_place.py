from __future__ import annotations

import stat
from pathlib import Path

import pytest

from callsheet.errors import StoreError
from callsheet.store.place import StoreChoice, choose_store_path, file_system_fault, mounted_type
from tests.support.users import unprivileged

MOUNTS = (
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "40 22 0:41 / /home/jo rw,nosuid master:2 - nfs4 server:/export/a\\040b rw,vers=4.2\n"
    "broken line\n"
)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    folder.mkdir()
    return folder


def no_locks(folder: Path) -> str | None:
    return "lies on a network file system (nfs4)" if folder.name == ".callsheet" else None


def test_the_record_lies_in_the_workspace(workspace: Path) -> None:
    choice = choose_store_path(workspace, None, {})
    assert choice == StoreChoice(path=workspace / ".callsheet" / "callsheet.db")
    assert stat.S_IMODE(choice.path.parent.stat().st_mode) == 0o700
    assert [path.name for path in choice.path.parent.iterdir()] == [".gitignore"]


def test_a_place_that_is_asked_for_wins_over_the_environment_and_the_usual(workspace: Path, tmp_path: Path) -> None:
    environ = {"CALLSHEET_STORE": str(tmp_path / "env.db")}
    assert choose_store_path(workspace, tmp_path / "x.db", environ).path == tmp_path / "x.db"
    assert choose_store_path(workspace, None, environ).path == tmp_path / "env.db"
    assert not (workspace / ".callsheet").exists()


def test_an_empty_variable_counts_as_none(workspace: Path) -> None:
    assert choose_store_path(workspace, None, {"CALLSHEET_STORE": ""}).path.parent.name == ".callsheet"


def test_a_folder_that_is_asked_for_holds_the_record(workspace: Path, tmp_path: Path) -> None:
    assert choose_store_path(workspace, tmp_path, {}).path == tmp_path / "callsheet.db"


def test_a_relative_place_is_made_absolute(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    assert choose_store_path(workspace, Path("x.db"), {}).path == workspace / "x.db"


def test_where_locks_do_not_work_the_record_goes_to_the_state_folder_and_the_note_says_so(
    workspace: Path, tmp_path: Path
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path / "home")}
    choice = choose_store_path(workspace, None, environ, fault_of=no_locks)
    assert choice.path.parent.parent == tmp_path / "state" / "callsheet"
    assert choice.note == (
        f"The record is kept at {choice.path}: the folder {workspace / '.callsheet'} "
        "lies on a network file system (nfs4)."
    )
    assert stat.S_IMODE(choice.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("given", ["", "not/absolute"])
def test_without_a_usable_state_home_it_is_the_usual_one(workspace: Path, tmp_path: Path, given: str) -> None:
    environ = {"XDG_STATE_HOME": given, "HOME": str(tmp_path / "home")}
    choice = choose_store_path(workspace, None, environ, fault_of=no_locks)
    assert choice.path.is_relative_to(tmp_path / "home" / ".local" / "state" / "callsheet")


def test_each_workspace_has_a_state_folder_of_its_own_however_it_is_reached(workspace: Path, tmp_path: Path) -> None:
    other, alias = tmp_path / "other", tmp_path / "alias"
    other.mkdir()
    alias.symlink_to(workspace)
    environ = {"HOME": str(tmp_path / "home")}
    places = [choose_store_path(each, None, environ, fault_of=no_locks).path for each in (workspace, alias, other)]
    assert places[0] == places[1] != places[2]


def test_where_no_place_is_fit_both_are_named_with_the_way_out(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"neither in .*/ws/\.callsheet \(no\) nor in .*: name a place on a local disk"
    ):
        choose_store_path(workspace, None, {"HOME": str(tmp_path)}, fault_of=lambda _: "no")


def test_a_workspace_that_cannot_be_written_is_named_with_the_way_out(shared_path: Path) -> None:
    with unprivileged():
        closed = shared_path / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(StoreError, match=r"closed/\.callsheet/callsheet\.db: its folder is not writable"):
            choose_store_path(closed, None, {})


def test_a_local_folder_is_fit_and_the_trial_leaves_nothing(tmp_path: Path) -> None:
    assert file_system_fault(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("device", "kind"), [("254:0", "ext4"), ("0:41", "nfs4"), ("9:9", None)])
def test_the_type_of_a_file_system_is_found_by_its_device(device: str, kind: str | None) -> None:
    assert mounted_type(MOUNTS, device) == kind
