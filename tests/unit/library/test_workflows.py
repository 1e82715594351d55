from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.errors import NotFoundError, ScriptRefusedError
from callsheet.library.library import Library
from callsheet.model.script import Script
from callsheet.script.reader import read_script


class Folders:
    """A workspace with a folder in it, a home, and a library over them."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "work"
        self.start = self.root / "packages" / "web"
        self.home = tmp_path / "home"
        self.outside = tmp_path / "outside"
        for folder in (self.start, self.home, self.outside):
            folder.mkdir(parents=True)
        self.parsed: list[str] = []

    def save(self, folder: Path, file: str, name: str | None = None, text: str | None = None) -> Path:
        path = folder / ".claude" / "workflows" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script(name or path.stem) if text is None else text, encoding="utf-8")
        return path

    def library(self, config_dir: Path | None = None, start: Path | None = None) -> Library:
        return Library(
            workspace=self.root,
            start=start or self.start,
            home=self.home,
            config_dir=config_dir,
            read=self.read,
            has_bundled=False,
        )

    def read(self, data: bytes, *, origin: str, path: str | None) -> Script:
        self.parsed.append(Path(path or "").name)
        return read_script(data, origin=origin, path=path)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def script(name: str) -> str:
    return f"export const meta = {{ name: '{name}', description: 'does {name}' }}\nreturn 1\n"


def missing(library: Library, name: str) -> NotFoundError:
    with pytest.raises(NotFoundError) as caught:
        library.workflow(name)
    return caught.value


def refused(library: Library, name: str) -> str:
    with pytest.raises(ScriptRefusedError) as caught:
        library.workflow(name)
    return caught.value.message


@pytest.mark.contract("W01", "S09")
def test_a_workflow_is_found_by_its_meta_name_in_js_and_mjs_files(folders: Folders) -> None:
    path = folders.save(folders.root, "one.js", "review")
    folders.save(folders.root, "two.mjs", "triage")
    library = folders.library()
    found = library.workflow("review")
    assert (found.meta.name, found.origin, found.path) == ("review", "review", str(path))
    assert library.workflow("triage").meta.description == "does triage"


def test_the_nearest_folder_wins_from_the_start_to_the_root_and_then_the_user(folders: Folders) -> None:
    for folder in (folders.start, folders.root, folders.home):
        folders.save(folder, "review.js", text=script("review").replace("does review", f"of {folder.name}"))
    assert folders.library().workflow("review").meta.description == "of web"
    assert folders.library(start=folders.root).workflow("review").meta.description == "of work"
    assert folders.library(start=folders.home).workflow("review").meta.description == "of work"
    assert [(one.source, one.shadowed_by is not None) for one in folders.library().workflows()] == [
        ("project", False),
        ("project", True),
        ("user", True),
    ]


def test_nothing_above_the_workspace_is_a_project(folders: Folders) -> None:
    folders.save(folders.root.parent, "above.js")
    assert missing(folders.library(), "above").name == "above"


def test_the_config_dir_takes_the_place_of_the_home_folder(folders: Folders) -> None:
    folders.save(folders.home, "mine.js")
    other = folders.outside / "config"
    (other / "workflows").mkdir(parents=True)
    (other / "workflows" / "theirs.js").write_text(script("theirs"), encoding="utf-8")
    library = folders.library(config_dir=other)
    assert library.workflow("theirs").meta.name == "theirs"
    missing(library, "mine")


def test_a_home_that_is_the_workspace_is_listed_once(folders: Folders) -> None:
    folders.save(folders.root, "one.js")
    library = Library(
        workspace=folders.root,
        start=folders.start,
        home=folders.root,
        config_dir=None,
        read=folders.read,
        has_bundled=False,
    )
    assert [(one.name, one.source) for one in library.workflows()] == [("one", "user")]


def test_a_meta_name_beats_the_stem_of_a_nearer_file(folders: Folders) -> None:
    folders.save(folders.start, "deploy.js", "release")
    folders.save(folders.home, "other.js", "deploy")
    assert folders.library().workflow("deploy").meta.name == "deploy"


def test_a_stem_works_while_it_is_unique(folders: Folders) -> None:
    folders.save(folders.start, "deploy.js", "release")
    library = folders.library()
    assert library.workflow("deploy").meta.name == "release"
    folders.save(folders.root, "deploy.mjs", "ship")
    fault = missing(library, "deploy")
    assert 'Use "release" or "ship".' in fault.message
    assert "packages/web/.claude/workflows/deploy.js" in fault.message
    assert fault.near == ("release", "ship")


def test_a_stem_of_a_shadowed_file_does_not_count(folders: Folders) -> None:
    folders.save(folders.start, "deploy.js", "release")
    folders.save(folders.start, "near.js", "ship")
    folders.save(folders.root, "deploy.js", "ship")
    assert folders.library().workflow("deploy").meta.name == "release"


def test_of_two_files_in_one_folder_with_one_name_the_first_wins(folders: Folders) -> None:
    first = folders.save(folders.root, "a.js", "same")
    second = folders.save(folders.root, "b.js", "same")
    library = folders.library()
    assert library.workflow("same").path == str(first)
    assert [(one.path, one.shadowed_by) for one in library.workflows()] == [
        (str(first), None),
        (str(second), str(first)),
    ]


@pytest.mark.contract("W02")
def test_an_unknown_name_lists_those_there_are_and_the_near_ones_and_where_it_looked(folders: Folders) -> None:
    folders.save(folders.root, "review-changes.js")
    folders.save(folders.home, "triage.js")
    fault = missing(folders.library(), "Review-Change")
    assert fault.message == (
        'there is no workflow "Review-Change". Did you mean "review-changes"? There are: review-changes, triage. '
        "Looked in packages/web/.claude/workflows, packages/.claude/workflows, .claude/workflows, ~/.claude/workflows."
    )
    assert fault.near == ("review-changes",)


def test_where_there_are_no_workflows_it_says_so(folders: Folders) -> None:
    assert 'there is no workflow "x". There are none. Looked in' in missing(folders.library(), "x").message


def test_names_are_case_sensitive(folders: Folders) -> None:
    folders.save(folders.root, "review.js")
    assert missing(folders.library(), "Review").near == ("review",)


def test_broken_files_are_listed_with_the_reason_and_hide_nothing(folders: Folders) -> None:
    near = folders.save(folders.start, "review.js", text="export const meta = { name: 'review' }\n")
    folders.save(folders.start, "bytes.js").write_bytes(b"\xff\xfe")
    folders.save(folders.start, "large.js").write_bytes(b"//" + b"x" * (512 * 1024))
    (folders.start / ".claude/workflows/folder.js").mkdir()
    os.mkfifo(folders.start / ".claude/workflows/pipe.js")
    (folders.start / ".claude/workflows/dangling.js").symlink_to("nowhere.js")
    folders.save(folders.root, "review.js")
    library = folders.library()
    assert library.workflow("review").meta.description == "does review"
    listed = {Path(one.path).name if one.path != str(near) else "near": one for one in library.workflows()}
    assert {name for name, one in listed.items() if one.problem is None} == {"review.js"}
    assert listed["review.js"].shadowed_by is None
    assert "description" in (listed["near"].problem or "")
    assert "directory" in (listed["folder.js"].problem or "")
    assert "not a regular file" in (listed["pipe.js"].problem or "")
    assert "no such file" in (listed["dangling.js"].problem or "")
    assert "UTF-8" in (listed["bytes.js"].problem or "")
    assert all(listed[name].problem for name in ("large.js", "bytes.js"))
    assert "Cannot be used: packages/web/.claude/workflows/bytes.js, " in missing(library, "nope").message


def test_a_name_that_only_broken_files_have_is_refused_with_their_reason(folders: Folders) -> None:
    folders.save(folders.root, "bad.js", text="return 1\n")
    folders.save(
        folders.root, "file.js", text="export const meta = { name: 'named', description: 'd' }\nimport x from 'y'\n"
    )
    os.mkfifo(folders.root / ".claude/workflows/pipe.js")
    library = folders.library()
    assert "meta" in refused(library, "bad")
    assert "import" in refused(library, "named")
    assert "import" in refused(library, "file")
    assert "is not a regular file" in refused(library, "pipe")


def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_not_parsed_twice(folders: Folders) -> None:
    path = folders.save(folders.root, "a.js", "first")
    library = folders.library()
    library.workflows()
    library.workflows()
    assert folders.parsed == ["a.js"]
    path.write_text(script("second") + "// longer", encoding="utf-8")
    assert [one.name for one in library.workflows()] == ["second"]


def test_files_that_do_not_hold_a_name_are_not_parsed_to_find_it(folders: Folders) -> None:
    for number in range(20):
        folders.save(folders.root, f"f{number}.js", f"flow-{number}")
    folders.save(folders.home, "x.js", "wanted")
    folders.library().workflow("wanted")
    assert folders.parsed == ["x.js", "x.js"]  # once to find its name, once to run it


def test_a_name_written_with_escapes_is_found(folders: Folders) -> None:
    folders.save(folders.root, "a.js", text="export const meta = { name: 'w\\u0061nted', description: 'd' }\n")
    assert folders.library().workflow("wanted").meta.name == "wanted"


def test_hidden_files_and_other_endings_do_not_count(folders: Folders) -> None:
    for file in (".hidden.js", "._fork.js", "notes.md", "x.ts", "x.cjs", "x.js.bak"):
        folders.save(folders.root, file, text=script("x"))
    assert folders.library().workflows() == ()


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_link_out_of_the_workspace_is_not_followed_and_its_text_is_not_read(folders: Folders) -> None:
    secret = folders.outside / "secret.js"
    secret.write_text(script("secret"), encoding="utf-8")
    link = folders.save(folders.root, "x.js")
    link.unlink()
    link.symlink_to(secret)
    library = folders.library()
    (listed,) = library.workflows()
    assert "is a link out of the workspace" in (listed.problem or "")
    assert "is a link out of the workspace" in refused(library, "x")
    missing(library, "secret")
    assert folders.parsed == []


def test_links_inside_the_workspace_and_in_the_users_own_folder_are_followed(folders: Folders) -> None:
    shared = folders.root / "tools" / "shared.js"
    shared.parent.mkdir()
    shared.write_text(script("shared"), encoding="utf-8")
    link = folders.save(folders.root, "x.js")
    link.unlink()
    link.symlink_to(shared)
    dotfiles = folders.outside / "mine.js"
    dotfiles.write_text(script("mine"), encoding="utf-8")
    mine = folders.save(folders.home, "m.js")
    mine.unlink()
    mine.symlink_to(dotfiles)
    assert [folders.library().workflow(name).meta.name for name in ("shared", "mine")] == ["shared", "mine"]


# --- workflows by path ------------------------------------------------------------------------------------------------


def not_at(library: Library, path: str, relative_to: Path | None = None) -> NotFoundError:
    with pytest.raises(NotFoundError) as caught:
        library.workflow_at(path, relative_to=None if relative_to is None else str(relative_to))
    return caught.value


@pytest.mark.contract("W01")
def test_a_path_counts_from_the_workspace_and_from_the_calling_script(folders: Folders) -> None:
    (folders.root / "flows").mkdir()
    (folders.root / "flows" / "child.js").write_text(script("child"), encoding="utf-8")
    (folders.root / "flows" / "other.mjs").write_text(script("other"), encoding="utf-8")
    caller = folders.root / "flows" / "parent.js"
    library = folders.library()
    assert library.workflow_at("flows/child.js", relative_to=None).meta.name == "child"
    found = library.workflow_at("./child.js", relative_to=str(caller))
    assert (found.meta.name, found.origin, found.path) == ("child", "./child.js", str(folders.root / "flows/child.js"))
    assert library.workflow_at("../flows/other.mjs", relative_to=str(caller)).meta.name == "other"
    assert library.workflow_at(str(folders.root / "flows/child.js"), relative_to=None).meta.name == "child"
    assert not_at(library, "child.js").near == ()


@pytest.mark.contract("W01")
def test_a_script_of_the_users_folder_reaches_its_neighbours(folders: Folders) -> None:
    caller = folders.save(folders.home, "parent.js")
    folders.save(folders.home, "child.js")
    assert folders.library().workflow_at("child.js", relative_to=str(caller)).meta.name == "child"


@pytest.mark.contract("W01", "W02")
def test_a_path_out_of_the_workspace_is_not_found_whether_it_is_there_or_not(folders: Folders) -> None:
    (folders.outside / "x.js").write_text(script("x"), encoding="utf-8")
    (folders.root / "link.js").symlink_to(folders.outside / "x.js")
    (folders.root / "up").symlink_to(folders.outside)
    library = folders.library()
    for path in (
        "../outside/x.js",
        "link.js",
        "up/x.js",
        str(folders.outside / "x.js"),
        "../outside/none.js",
        "/etc/x.js",
    ):
        assert "leads out of the workspace" in not_at(library, path).message
    assert folders.parsed == []


@pytest.mark.contract("W01", "W02")
def test_what_is_no_workflow_file_is_not_found_and_says_why(folders: Folders) -> None:
    (folders.root / "notes.txt").write_text("secret", encoding="utf-8")
    (folders.root / "as.js").symlink_to(folders.root / "notes.txt")
    (folders.root / "folder.js").mkdir()
    os.mkfifo(folders.root / "pipe.js")
    library = folders.library()
    assert "its name ends in .js or .mjs" in not_at(library, "notes.txt").message
    assert "its name ends in .js or .mjs" in not_at(library, "").message
    assert "leads out of" in not_at(library, "as.js").message
    assert "is a directory" in not_at(library, "folder.js").message
    assert "is not a regular file" in not_at(library, "pipe.js").message
    assert "NUL" in not_at(library, "a\0.js").message
    assert "does not exist" in not_at(library, "nope.js").message


@pytest.mark.contract("W02")
def test_a_misspelt_path_names_its_neighbours(folders: Folders) -> None:
    folders.save(folders.root, "review.js")
    fault = not_at(folders.library(), ".claude/workflows/reviw.js")
    assert fault.near == ("review.js",)
    assert 'Did you mean "review.js"?' in fault.message


@pytest.mark.contract("W02")
def test_a_file_that_is_refused_says_so_without_its_text(folders: Folders) -> None:
    (folders.root / "bad.js").write_text("const secret = 'hunter2'\n", encoding="utf-8")
    with pytest.raises(ScriptRefusedError) as caught:
        folders.library().workflow_at("bad.js", relative_to=None)
    assert "hunter2" not in caught.value.message


# --- installed packages -----------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that declares workflows, and must not be imported to find them."""
    site = tmp_path / "site"
    flows = site / "acme_flows" / "saved"
    flows.mkdir(parents=True)
    (site / "acme_flows" / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    (flows / "a.js").write_text(script("triage"), encoding="utf-8")
    (flows / "b.js").write_text("broken", encoding="utf-8")
    info = site / "acme_flows-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-flows\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[callsheet.workflows]\nacme = acme_flows.saved\ngone = not_installed_anywhere\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(site)
    return flows


def test_workflows_of_a_package_are_found_by_package_and_name_without_importing_it(
    folders: Folders, package: Path
) -> None:
    library = folders.library()
    assert library.workflow("acme:triage").path == str(package / "a.js")
    assert library.workflow("acme:a").meta.name == "triage"
    assert "meta" in refused(library, "acme:b")
    listed = {one.name: one.source for one in library.workflows()}
    assert listed == {"acme:triage": "package", "acme:b": "package"}


def test_a_workflow_of_a_package_is_not_found_without_its_prefix(folders: Folders, package: Path) -> None:
    fault = missing(folders.library(), "triage")
    assert "acme:triage" in fault.message
    missing(folders.library(), "gone:triage")
    missing(folders.library(), "acme:nope")


@pytest.mark.contract("W01")
def test_a_script_of_a_package_reaches_its_neighbours(folders: Folders, package: Path) -> None:
    assert folders.library().workflow_at("./a.js", relative_to=str(package / "b.js")).meta.name == "triage"
    assert not (package.parent / "__pycache__").exists()
