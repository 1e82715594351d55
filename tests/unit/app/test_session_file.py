"""A session's file: private, whole lines only, one process at a time, and nobody else's."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from callsheet.app import session_file
from callsheet.app.own_record import check_own
from callsheet.app.session_file import SessionFile, new_session_id, session_ids, session_named, sessions_folder
from callsheet.errors import NotFoundError, StoreError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return sessions_folder(tmp_path / "work", {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})


@pytest.fixture
def file(folder: Path) -> Iterator[SessionFile]:
    made = SessionFile(folder, new_session_id())
    yield made
    made.close()


def kept(path: Path) -> tuple[dict[str, object], ...]:
    """What another process would read of a session that was left."""
    other = SessionFile(path.parent, path.stem)
    try:
        return other.read().lines
    finally:
        other.close()


def test_lines_come_back_as_they_were_added_and_nobody_else_can_read_them(file: SessionFile) -> None:
    file.append({"kind": "said", "text": "Grüße\n\u2028\udcff"})
    file.append({"n": 2})
    file.close()

    assert kept(file.path) == ({"kind": "said", "text": "Grüße\n\u2028\udcff"}, {"n": 2})
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_nothing_is_left_of_a_session_in_which_nothing_happened(file: SessionFile) -> None:
    assert session_ids(file.path.parent) == ()
    file.append({"n": 1})
    assert session_ids(file.path.parent) == (file.path.stem,)


@pytest.mark.parametrize("torn", [b'{"kind":"sa', b"\x00\xff", b'{"whole":"but no end of line"}'])
def test_a_last_line_that_a_crash_cut_off_is_taken_away(file: SessionFile, torn: bytes) -> None:
    file.append({"n": 1})
    file.close()
    with file.path.open("ab") as raw:
        raw.write(torn)

    again = SessionFile(file.path.parent, file.path.stem)
    assert again.read().lines == ({"n": 1},)
    again.append({"n": 2})
    again.close()

    assert kept(file.path) == ({"n": 1}, {"n": 2})


def test_lines_that_are_no_objects_are_passed_over_and_counted(file: SessionFile) -> None:
    file.append({"n": 1})
    with file.path.open("ab") as raw:
        raw.write(b"[1]\nnonsense\n" + b"[" * 5_000 + b"\n\xff\n")
        raw.write(json.dumps({"n": 2}).encode() + b"\n")
    file.close()

    found = SessionFile(file.path.parent, file.path.stem)
    read = found.read()
    found.close()
    assert (read.lines, read.unreadable) == (({"n": 1}, {"n": 2}), 4)


def test_a_session_that_is_open_is_not_opened_again(file: SessionFile) -> None:
    file.append({"n": 1})
    other = SessionFile(file.path.parent, file.path.stem)
    with pytest.raises(UsageError, match="open elsewhere"):
        other.read()
    file.close()
    assert other.read().lines == ({"n": 1},)
    other.close()


@contextmanager
def no_larger(size: int) -> Iterator[None]:
    """Within it no file of this process can grow beyond a size, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_of_a_line_that_cannot_be_written_whole_nothing_is_there(file: SessionFile) -> None:
    file.append({"n": 1})
    size = file.path.stat().st_size
    with no_larger(size + 10), pytest.raises(StoreError, match="cannot be used"):
        file.append({"text": "longer than that"})
    assert file.path.stat().st_size == size
    file.append({"n": 2})
    file.close()
    assert kept(file.path) == ({"n": 1}, {"n": 2})


def test_lines_and_files_have_a_largest_size(file: SessionFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_file, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(session_file, "MAX_FILE_BYTES", 250)
    with pytest.raises(StoreError, match="takes no line"):
        file.append({"text": "x" * 100})
    for _ in range(2):
        file.append({"text": "x" * 80})
    with pytest.raises(StoreError, match="full"):
        file.append({"text": "x" * 80})
    file.close()
    monkeypatch.setattr(session_file, "MAX_FILE_BYTES", 150)
    with pytest.raises(StoreError, match="larger than"):
        kept(file.path)


@pytest.mark.parametrize("how", ["link", "hard link", "folder", "fifo"])
def test_what_is_no_file_of_ones_own_is_neither_read_nor_written(file: SessionFile, tmp_path: Path, how: str) -> None:
    other = tmp_path / "other"
    other.write_text('{"n": 1}\n', encoding="utf-8")
    match how:
        case "link":
            file.path.symlink_to(other)
        case "hard link":
            file.path.hardlink_to(other)
        case "folder":
            file.path.mkdir()
        case _:
            os.mkfifo(file.path)

    with pytest.raises(StoreError):
        file.read()
    with pytest.raises(StoreError):
        file.append({"n": 2})
    assert other.read_text(encoding="utf-8") == '{"n": 1}\n'


def test_a_file_of_another_user_is_refused(file: SessionFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.append({"n": 1})
    file.close()
    me = file.path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(StoreError, match="another user"):
        file.read()


def test_a_folder_of_sessions_that_is_a_link_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "work"
    (root / ".callsheet").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (root / ".callsheet" / "sessions").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        sessions_folder(root, {"HOME": str(tmp_path), "PATH": os.environ["PATH"]})


def test_a_session_that_git_tracks_is_nobody_s_word(file: SessionFile, folder: Path) -> None:
    root = folder.parent.parent
    file.append({"n": 1})
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    environ = dict(os.environ)
    anyio.run(check_own, file.path, root, environ)
    subprocess.run([*git, "add", "-f", str(file.path)], check=True)
    with pytest.raises(UsageError, match="came with the repository"):
        anyio.run(check_own, file.path, root, environ)


def test_sessions_are_found_by_id_by_its_beginning_and_as_the_last_one(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no session here"):
        session_named("last", folder)
    names = sorted(new_session_id() for _ in range(2))
    for n, name in enumerate(names):
        made = SessionFile(folder, name)
        made.append({"n": 1})
        made.close()
        os.utime(made.path, ns=(0, 10 - n))
    (folder / "session_x.jsonl").write_text("{}", encoding="utf-8")

    assert session_named("last", folder) == names[0]
    assert session_named(names[1], folder) == names[1]
    assert session_named(names[1][:-1], folder) == names[1]
    with pytest.raises(UsageError, match="several sessions"):
        session_named("session_", folder)
    with pytest.raises(NotFoundError, match=names[0]):
        session_named("session_nope", folder)
    with pytest.raises(NotFoundError):
        session_named("../../x", folder)
