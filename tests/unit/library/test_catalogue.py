"""What is kept of workflow files between commands."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from callsheet.library.catalogue import catalogue_path, read_catalogue, write_catalogue
from callsheet.library.library import Library
from callsheet.library.workflows import Known
from callsheet.model.script import Script
from callsheet.script.reader import read_script


class Shelf:
    """A workspace of saved workflows whose files are old, and a count of what was parsed."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "work"
        self.kept = catalogue_path({"XDG_CACHE_HOME": str(folder / "cache")}, folder)
        self.parsed = 0

    def save(self, name: str) -> None:
        path = self.root / ".claude" / "workflows" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"export const meta = {{ name: '{name}', description: 'does' }}\n", encoding="utf-8")

    def names(self, known: Known) -> list[str]:
        library = Library(
            workspace=self.root,
            start=self.root,
            home=self.root,
            config_dir=None,
            read=self._read,
            known=known,
            has_bundled=False,
        )
        return [each.name for each in library.workflows()]

    def _read(self, data: bytes, *, origin: str, path: str | None) -> Script:
        self.parsed += 1
        return read_script(data, origin=origin, path=path)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf(tmp_path)
    for name in ("a", "b"):
        made.save(name)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 60_000_000_000)
    return made


def test_what_was_parsed_once_is_not_parsed_by_the_next_command(shelf: Shelf) -> None:
    known: Known = {}
    shelf.names(known)
    write_catalogue(shelf.kept, known)

    assert shelf.names(read_catalogue(shelf.kept)) == ["a", "b"]
    assert shelf.parsed == 2
    assert shelf.kept.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_just_written_is_not_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    known: Known = {}
    shelf.names(known)
    write_catalogue(shelf.kept, known)

    assert read_catalogue(shelf.kept) == {}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        json.dumps({"form": 1, "version": "0.0.0", "files": []}).encode(),
        b"[" * 100_000,
    ],
)
def test_a_damaged_catalogue_counts_as_none(shelf: Shelf, damage: bytes) -> None:
    shelf.kept.parent.mkdir(parents=True)
    shelf.kept.write_bytes(damage)

    assert read_catalogue(shelf.kept) == {}


@pytest.mark.parametrize("at", range(11))
def test_an_entry_with_a_value_of_another_kind_is_not_believed(shelf: Shelf, at: int) -> None:
    known: Known = {}
    shelf.names(known)
    write_catalogue(shelf.kept, known)
    kept = json.loads(shelf.kept.read_bytes())
    kept["files"][0][at] = {"not": "that"}
    shelf.kept.write_text(json.dumps(kept), encoding="utf-8")

    assert read_catalogue(shelf.kept) == {}


def test_where_nothing_can_be_kept_nothing_is_said(shelf: Shelf) -> None:
    known: Known = {}
    shelf.names(known)
    blocked = shelf.root / "file"
    blocked.write_text("", encoding="utf-8")

    write_catalogue(blocked / "sub" / "workflows.json", known)

    assert blocked.read_text(encoding="utf-8") == ""


def test_a_relative_cache_folder_does_not_count(tmp_path: Path) -> None:
    assert catalogue_path({"XDG_CACHE_HOME": "cache"}, tmp_path) == tmp_path / ".cache/callsheet/workflows.json"
