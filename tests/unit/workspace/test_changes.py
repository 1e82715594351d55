from __future__ import annotations

import os
import shutil
from pathlib import Path

import anyio
import pytest

from callsheet.permissions.paths import protection_of
from callsheet.workspace.changes import Changes, Snapshot, Watched, watch_changes
from tests.support.deadline import within

pytestmark = pytest.mark.anyio


def protected(path: str) -> bool:
    return protection_of(path) is not None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    for name in ("a.txt", "src/b.py", "src/deep/c.py", ".git/config", ".callsheet/x", "node_modules/m/.npmrc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("before", encoding="utf-8")
    return folder


def changes(root: Path, earlier: Snapshot) -> Changes:
    return Snapshot.take(root).changed_since(earlier)


def test_what_was_added_changed_and_removed_is_told(root: Path) -> None:
    before = Snapshot.take(root)
    (root / "new").mkdir()
    (root / "new" / "d.py").write_text("x", encoding="utf-8")
    (root / "src" / "b.py").write_text("after!", encoding="utf-8")
    shutil.rmtree(root / "src" / "deep")
    found = changes(root, before)
    assert found == Changes(added=("new/d.py",), changed=("src/b.py",), removed=("src/deep/c.py",))
    assert found.all == ("new/d.py", "src/b.py", "src/deep/c.py")


def test_where_nothing_changed_nothing_is_told(root: Path) -> None:
    before = Snapshot.take(root)
    (root / "a.txt").read_text(encoding="utf-8")
    assert changes(root, before) == Changes()


def test_a_change_that_keeps_size_and_time_is_told(root: Path) -> None:
    old = (root / "a.txt").stat()
    before = Snapshot.take(root)
    (root / "a.txt").write_text("aftre!", encoding="utf-8")
    os.utime(root / "a.txt", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert changes(root, before).changed == ("a.txt",)


def test_mode_bits_replaced_files_and_links_count(root: Path, tmp_path: Path) -> None:
    (root / "link").symlink_to("a.txt")
    before = Snapshot.take(root)
    (root / "src" / "b.py").chmod(0o755)
    (root / "link").unlink()
    (root / "link").symlink_to(tmp_path)
    (root / "src" / "other").write_text("before", encoding="utf-8")
    (root / "src" / "other").rename(root / "a.txt")
    assert changes(root, before) == Changes(changed=("a.txt", "link", "src/b.py"))


def test_links_to_folders_are_not_followed(root: Path) -> None:
    (root / "circle").symlink_to(".")
    assert sorted(Snapshot.take(root).files) == ["a.txt", "circle", "node_modules/", "src/b.py", "src/deep/c.py"]


def test_a_folder_that_becomes_a_file_is_told(root: Path) -> None:
    before = Snapshot.take(root)
    shutil.rmtree(root / "src")
    (root / "src").write_text("now a file", encoding="utf-8")
    assert changes(root, before) == Changes(added=("src",), removed=("src/b.py", "src/deep/c.py"))


def test_what_tools_keep_counts_as_one_and_git_and_the_record_not_at_all(root: Path) -> None:
    before = Snapshot.take(root)
    for name in ("node_modules/n", ".git/index", ".callsheet/y", "node_modules/m/z", "venv"):
        (root / name).mkdir()
    assert changes(root, before) == Changes(added=("venv/",), changed=("node_modules/",))


def test_a_name_that_is_no_text_is_shown_all_the_same(root: Path) -> None:
    before = Snapshot.take(root)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xc3\xa9")).write_text("x", encoding="utf-8")
    assert changes(root, before).added == ("\\xffé",)


def test_too_many_files_are_said_and_nothing_is_invented(root: Path) -> None:
    before = Snapshot.take(root)
    after = Snapshot.take(root, most=1)
    found = after.changed_since(before)
    assert found == Changes(is_whole=False)


# --- around a command -------------------------------------------------------------------------------------------------


async def watched(root: Path, *made: str, folder: bool = False) -> Watched:
    with within(20):
        async with watch_changes(root, protected=protected, quarantine=root / ".callsheet" / "quarantine") as found:
            for name in made:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text("evil", encoding="utf-8")
    return found


async def test_an_ordinary_command_leaves_no_note(root: Path) -> None:
    found = await watched(root, "a.txt", "src/new.py")
    assert (found.changes.added, found.changes.changed) == (("src/new.py",), ("a.txt",))
    assert (found.quarantined, found.notes) == ((), ())
    assert not (root / ".callsheet" / "quarantine").exists()


@pytest.mark.parametrize(
    ("made", "moved"),
    [
        (".envrc", ".envrc"),
        (".mcp.json", ".mcp.json"),
        ("src/.git/config", "src/.git"),
        ("clone/.git/hooks/pre-commit", "clone/.git"),
        (".husky/pre-commit", ".husky"),
        (".github/workflows/ci.yml", ".github/workflows"),
        ("src/.ENVRC", "src/.ENVRC"),
        ("src/deep/.gitattributes", "src/deep/.gitattributes"),
    ],
)
async def test_a_protected_path_made_by_a_command_is_moved_out(root: Path, made: str, moved: str) -> None:
    found = await watched(root, made, "src/new.py")
    (one,) = found.quarantined
    assert one.path == moved and one.moved_to is not None
    assert not (root / moved).exists()
    assert one.moved_to.name.endswith(".quarantined") and one.moved_to.is_relative_to(root / ".callsheet")
    kept = [path.read_text(encoding="utf-8") for path in [one.moved_to, *one.moved_to.rglob("*")] if path.is_file()]
    assert kept == ["evil"]
    assert found.changes.added == ("src/new.py",)
    assert found.protected_changed == ()
    (note,) = found.notes
    assert moved in note and str(one.moved_to) in note


async def test_a_protected_file_that_joins_a_folder_that_was_there_is_moved_alone(root: Path) -> None:
    (root / ".husky").mkdir()
    (root / ".husky" / "old").write_text("mine", encoding="utf-8")
    found = await watched(root, ".husky/new")
    assert [each.path for each in found.quarantined] == [".husky/new"]
    assert (root / ".husky" / "old").read_text(encoding="utf-8") == "mine"


async def test_a_protected_file_that_was_there_stays_and_its_change_is_told(root: Path) -> None:
    (root / ".npmrc").write_text("mine", encoding="utf-8")
    found = await watched(root, ".npmrc")
    assert found.quarantined == ()
    assert found.protected_changed == (".npmrc",)
    assert ".npmrc" in found.notes[0]


async def test_a_link_with_a_protected_name_is_moved_and_not_what_it_leads_to(root: Path) -> None:
    with within(20):
        async with watch_changes(root, protected=protected, quarantine=root / ".callsheet" / "q") as found:
            (root / ".vscode").symlink_to("src")
            (root / "src" / ".envrc").symlink_to("/etc/passwd")
    assert [each.path for each in found.quarantined] == [".vscode", "src/.envrc"]
    assert (root / "src" / "b.py").exists()


async def test_what_packages_bring_into_folders_of_tools_stays(root: Path) -> None:
    found = await watched(root, "node_modules/new/.npmrc", "node_modules/new/.github/workflows/x.yml")
    assert found.quarantined == () and found.changes.changed == ("node_modules/",)


async def test_a_command_that_failed_or_was_cancelled_is_looked_at_too(root: Path) -> None:
    seen: list[Watched] = []

    async def work(*, fails: bool) -> None:
        async with watch_changes(root, protected=protected, quarantine=root / ".callsheet" / "q") as found:
            seen.append(found)
            (root / ".envrc").write_text("evil", encoding="utf-8")
            if fails:
                raise ValueError
            await anyio.sleep_forever()

    with within(20):
        with pytest.raises(ValueError):
            await work(fails=True)
        assert not (root / ".envrc").exists()
        with anyio.move_on_after(0.1):
            await work(fails=False)
    assert not (root / ".envrc").exists()
    assert [len(each.quarantined) for each in seen] == [1, 1]


async def test_two_commands_at_a_time_move_it_once(root: Path) -> None:
    quarantine = root / ".callsheet" / "q"
    with within(20):
        async with (
            watch_changes(root, protected=protected, quarantine=quarantine) as outer,
            watch_changes(root, protected=protected, quarantine=quarantine) as inner,
        ):
            (root / ".envrc").write_text("evil", encoding="utf-8")
    assert [len(inner.quarantined), len(outer.quarantined)] == [1, 0]


async def test_a_quarantine_on_another_file_system_is_copied_to(root: Path) -> None:
    other = Path("/dev/shm") / f"callsheet-test-{os.getpid()}"
    try:
        with within(20):
            async with watch_changes(root, protected=protected, quarantine=other) as found:
                (root / ".husky").mkdir()
                (root / ".husky" / "x").write_text("evil", encoding="utf-8")
                (root / ".husky" / "out").symlink_to("/etc/passwd")
        (one,) = found.quarantined
        assert one.moved_to is not None and (one.moved_to / "out").is_symlink()
        assert not (root / ".husky").exists()
    finally:
        shutil.rmtree(other, ignore_errors=True)


def bury() -> None:
    """Makes a folder whose whole path is longer than the system takes."""
    for _ in range(25):
        Path("n" * 200).mkdir()
        os.chdir("n" * 200)


async def test_a_folder_that_nobody_can_read_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever runs this may read everything: a name that is too long stands for what cannot be read.
    with within(20):
        async with watch_changes(root, protected=protected, quarantine=root / ".callsheet" / "q") as found:
            monkeypatch.chdir(root)
            bury()
    monkeypatch.chdir(root)
    assert not found.changes.is_whole
    assert "cannot be read, or is too much" in found.notes[-1]
