from __future__ import annotations

import os
import shutil
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest

from callsheet.permissions.paths import PathPolicy
from callsheet.workspace.errors import WorkspacePathError
from callsheet.workspace.files import open_beneath, read_bytes_beneath, write_bytes_beneath
from tests.support.users import unprivileged


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.txt").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_bytes(b"outside")
    return folder


def refused(action: Callable[..., object], *arguments: object) -> tuple[str, str]:
    with pytest.raises(WorkspacePathError) as error:
        action(*arguments)
    return error.value.fault, error.value.message


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_file_is_read_and_written_whole(root: Path) -> None:
    content = os.urandom(3_000_000)
    write_bytes_beneath(root, "new/deep/b.bin", content)
    assert read_bytes_beneath(root, "new/deep/b.bin") == content
    write_bytes_beneath(root, "./new//deep/b.bin", b"")
    assert read_bytes_beneath(root, "new/deep/b.bin") == b""
    assert [path.name for path in (root / "new" / "deep").iterdir()] == ["b.bin"]


def test_a_file_that_is_there_keeps_its_mode_and_a_new_one_gets_the_usual(root: Path) -> None:
    (root / "run.sh").write_bytes(b"old")
    (root / "run.sh").chmod(0o751)
    write_bytes_beneath(root, "run.sh", b"new")
    assert stat.S_IMODE((root / "run.sh").stat().st_mode) == 0o751
    umask = os.umask(0o027)
    try:
        write_bytes_beneath(root, "made/new.txt", b"x")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((root / "made" / "new.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "made").stat().st_mode) == 0o750


def test_a_write_that_fails_leaves_the_file_and_nothing_else(root: Path) -> None:
    with pytest.raises(TypeError):
        write_bytes_beneath(root, "src/a.txt", "text")  # type: ignore[arg-type]
    assert [path.name for path in (root / "src").iterdir()] == ["a.txt"]
    assert (root / "src" / "a.txt").read_bytes() == b"inside"


def test_a_file_larger_than_the_limit_is_refused(root: Path) -> None:
    assert read_bytes_beneath(root, "src/a.txt", limit_bytes=6) == b"inside"
    assert refused(lambda: read_bytes_beneath(root, "src/a.txt", limit_bytes=5)) == (
        "too_large",
        "src/a.txt is larger than 5 bytes; read a part of it.",
    )


@pytest.mark.parametrize("path", ["../outside/a.txt", "/etc/passwd", "src/../../outside/a.txt", "", "a\0b", "a\ud800b"])
def test_what_is_no_path_beneath_the_root_is_refused(root: Path, path: str) -> None:
    assert refused(read_bytes_beneath, root, path)[0] == "bad_path"
    assert refused(write_bytes_beneath, root, path, b"")[0] == "bad_path"


def test_no_link_is_followed_at_the_end_or_on_the_way(root: Path) -> None:
    (root / "end").symlink_to("src/a.txt")
    (root / "way").symlink_to("src")
    (root / "src" / "out").symlink_to(root.parent / "outside")
    for path in ("end", "way/a.txt", "src/out/a.txt", "way/new/b.txt"):
        assert refused(read_bytes_beneath, root, path)[0] == "link"
        assert refused(write_bytes_beneath, root, path, b"x")[0] == "link"
    assert refused(read_bytes_beneath, root, "way/a.txt")[1] == (
        "way/a.txt leads through a symbolic link (way), which is not followed here."
    )
    assert (root / "src" / "a.txt").read_bytes() == b"inside"
    assert (root.parent / "outside" / "a.txt").read_bytes() == b"outside"


def test_what_is_no_file_is_refused_without_waiting(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for path, message in (
        ("src", "src is a folder, not a file."),
        ("pipe", "pipe is a device, pipe or socket, not a file."),
    ):
        assert refused(read_bytes_beneath, root, path) == ("not_a_file", message)
        assert refused(write_bytes_beneath, root, path, b"x") == ("not_a_file", message)
    assert refused(write_bytes_beneath, root, ".", b"x")[0] == "not_a_file"


def test_what_is_not_there_or_no_folder_is_told_apart(root: Path) -> None:
    assert refused(read_bytes_beneath, root, "missing.txt") == ("missing", "missing.txt does not exist.")
    assert refused(read_bytes_beneath, root, "missing/x")[0] == "missing"
    assert refused(read_bytes_beneath, root, "src/a.txt/x")[0] == "not_a_folder"
    assert refused(write_bytes_beneath, root, "src/a.txt/x", b"")[0] == "not_a_folder"
    assert refused(read_bytes_beneath, root / "gone", "x")[0] == "missing"


def test_what_may_not_be_written_is_refused_and_kept(shared_path: Path) -> None:
    with unprivileged():
        (shared_path / "closed").mkdir()
        (shared_path / "closed" / "a.txt").write_bytes(b"old")
        (shared_path / "b.txt").write_bytes(b"old")
        (shared_path / "b.txt").chmod(0o444)
        (shared_path / "closed").chmod(0o500)
        assert refused(write_bytes_beneath, shared_path, "closed/a.txt", b"new")[0] == "read_only"
        assert refused(write_bytes_beneath, shared_path, "b.txt", b"new") == (
            "read_only",
            "b.txt is read-only for everybody.",
        )
        assert (shared_path / "b.txt").read_bytes() == (shared_path / "closed" / "a.txt").read_bytes() == b"old"
        (shared_path / "closed").chmod(0o700)


def test_a_hard_link_to_a_file_keeps_the_old_content(root: Path) -> None:
    os.link(root.parent / "outside" / "a.txt", root / "hard.txt")
    write_bytes_beneath(root, "hard.txt", b"new")
    assert (root.parent / "outside" / "a.txt").read_bytes() == b"outside"


def test_a_descriptor_is_not_inherited_and_none_is_left_open(root: Path) -> None:
    before = open_descriptors()
    descriptor = open_beneath(root, "src/a.txt", os.O_RDONLY)
    assert not os.get_inheritable(descriptor)
    assert os.read(descriptor, 10) == b"inside"
    os.close(descriptor)
    folder = open_beneath(root, ".", os.O_RDONLY | os.O_DIRECTORY)
    assert stat.S_ISDIR(os.fstat(folder).st_mode)
    os.close(folder)
    write_bytes_beneath(root, "x/y", b"")
    for path in ("src/missing", "src/a.txt/x", "src"):
        refused(read_bytes_beneath, root, path)
    assert open_descriptors() == before


# --- a link that is swapped in between check and use ------------------------------------------------------------------


def swapped_before_call(number: int, swap: Callable[[], object], action: Callable[[], object]) -> bool:
    """Does something with a swap just before its `number`-th call into the system or the interpreter's own functions.

    Says whether there were so many calls.
    """
    left = number

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal left
        if event == "c_call":
            left -= 1
            if left == 0:
                sys.setprofile(None)
                swap()

    sys.setprofile(count)
    try:
        action()
    except WorkspacePathError as error:
        assert error.fault == "link", error.message
    finally:
        sys.setprofile(None)
    return left <= 0


@pytest.mark.parametrize("use", ["read", "write"])
def test_a_link_that_is_swapped_in_at_any_moment_is_not_followed(root: Path, use: str) -> None:
    outside = root.parent / "outside"
    (outside / "deep").mkdir()
    (outside / "deep" / "a.txt").write_bytes(b"outside")

    def swap() -> None:
        (root / "src").rename(root / "hidden")
        (root / "src").symlink_to(outside)

    def act() -> None:
        if use == "read":
            assert read_bytes_beneath(root, "src/deep/a.txt") == b"inside"
        else:
            write_bytes_beneath(root, "src/deep/a.txt", b"inside")

    number = 0
    is_reached = True
    while is_reached:
        number += 1
        shutil.rmtree(root)
        (root / "src" / "deep").mkdir(parents=True)
        (root / "src" / "deep" / "a.txt").write_bytes(b"inside")
        is_reached = swapped_before_call(number, swap, act)
        assert (outside / "deep" / "a.txt").read_bytes() == b"outside"
        assert [path.name for path in (outside / "deep").iterdir()] == ["a.txt"]
    assert number > 10


@contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[None]:
    """A thread that makes a folder a link to another one and back, as fast as it can."""
    hidden = folder.with_name("hidden")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            folder.rename(hidden)
            with suppress(FileExistsError):
                folder.symlink_to(outside)
                folder.unlink()
            while hidden.exists():
                with suppress(OSError):
                    hidden.rename(folder)
                    break
                shutil.rmtree(folder, ignore_errors=True)  # a writer found no folder here and made one

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)


def test_a_link_that_is_put_there_after_the_decision_is_not_followed(root: Path) -> None:
    decision = PathPolicy(root).write("src/a.txt")
    assert decision.allowed and decision.relative is not None
    (root / "src").rename(root / "hidden")
    (root / "src").symlink_to(root.parent / "outside")
    assert refused(read_bytes_beneath, root, decision.relative)[0] == "link"
    assert refused(write_bytes_beneath, root, decision.relative, b"inside")[0] == "link"
    assert (root.parent / "outside" / "a.txt").read_bytes() == b"outside"


def test_a_link_that_is_swapped_in_all_the_time_is_never_followed(root: Path) -> None:
    outside = root.parent / "outside"
    policy = PathPolicy(root)
    seen: dict[str, int] = {}
    deadline = time.monotonic() + 60
    with swapping(root / "src", outside):
        while not {"read", "written", "link"} <= seen.keys():
            assert time.monotonic() < deadline, seen
            for name, use in (
                ("read", lambda path: read_bytes_beneath(root, path)),
                ("written", lambda path: write_bytes_beneath(root, path, b"inside")),
            ):
                decision = policy.write("src/a.txt")
                if not decision.allowed or decision.relative is None:
                    continue  # the policy itself met the link
                try:
                    assert use(decision.relative) in (b"inside", None)
                except WorkspacePathError as error:
                    name = error.fault
                seen[name] = seen.get(name, 0) + 1
    assert [path.name for path in outside.iterdir()] == ["a.txt"]
    assert (outside / "a.txt").read_bytes() == b"outside"
