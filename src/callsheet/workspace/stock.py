"""Checkpoints in a git folder of our own: nothing enters the user's repository, and nothing of it decides what is kept.

Files are put in as bytes, told apart by the name that git gives to such bytes, so that no filter and no line end has a
say. What the user's repository holds already is read there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal, Self

import anyio.to_thread

from callsheet.errors import CheckpointError
from callsheet.model.dataclass import dataclass
from callsheet.workspace.git import Git, GitAnswer, GitPlace, own_place
from callsheet.workspace.git_words import checked, line, split

BATCH_BYTES = 32 * 1024 * 1024
"""Content that is held in memory at once; a single file may be larger."""

_REFS = "refs/checkpoints/"
_LINK_MODE, _PLAIN_MODE, _EXECUTABLE_MODE = "120000", "100644", "100755"
_USUAL = {_PLAIN_MODE: stat.S_IFREG | 0o644, _EXECUTABLE_MODE: stat.S_IFREG | 0o755, _LINK_MODE: stat.S_IFLNK | 0o777}
_QUOTED = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')
_WHO = b"Callsheet <callsheet@localhost>"
_MOST_BYTES = 256 * 1024 * 1024
_STALE_S = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or link of a checkpoint.

    Attributes:
        mode: As the system has it, kind and all.
        blob: The name of its bytes; of a link, of what it says.
    """

    mode: int
    blob: str

    @property
    def is_link(self) -> bool:
        """It is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def git_mode(self) -> str:
        """What git keeps of the mode."""
        if self.is_link:
            return _LINK_MODE
        return _EXECUTABLE_MODE if self.mode & stat.S_IXUSR else _PLAIN_MODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a checkpoint holds. Paths are relative, as the system has them.

    Attributes:
        entries: Its files and links.
        left_out: What was there and is not kept: why, by path.
        folders: Those without any file: their modes, by path.
    """

    entries: Mapping[str, Entry]
    left_out: Mapping[str, str]
    folders: Mapping[str, int] = field(default_factory=dict)


class Stock:
    """One git folder of ours. Made by `open`.

    Attributes:
        git: Git on it, with the workspace as its working tree.
        algorithm: What bytes are named by.
    """

    def __init__(self, git: Git, algorithm: Literal["sha1", "sha256"], *, is_new: bool = False) -> None:
        self._is_new = is_new
        self.git = git
        self.algorithm: Literal["sha1", "sha256"] = algorithm

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        root: Path,
        user: GitPlace | None,
        environ: Mapping[str, str],
        excludes: Path | None,
    ) -> Self:
        """Opens it; made where it is not there yet.

        Args:
            folder: Where it is, for nobody else's eyes.
            root: The workspace.
            user: The user's repository, as it was before any agent started; None without one.
            environ: For `Git`.
            excludes: The user's own file of what is ignored everywhere.

        Raises:
            GitRefusedError: There is no git.
            OSError: The folder cannot be written.
        """
        algorithm: Literal["sha1", "sha256"] = "sha1"
        if user is not None:
            said = line(checked(await Git(user, environ).run("rev-parse", "--show-object-format"), "name its format"))
            algorithm = "sha256" if said == "sha256" else "sha1"
        is_new = not (folder / "HEAD").exists()
        await anyio.to_thread.run_sync(_lay_out, folder, user, algorithm)
        return cls(Git(own_place(root, folder), environ, excludes=excludes), algorithm, is_new=is_new)

    def name_of(self, content: bytes) -> str:
        """What git calls these bytes."""
        found = hashlib.new(self.algorithm, b"blob %d\0" % len(content), usedforsecurity=False)
        found.update(content)
        return found.hexdigest()

    async def put(self, contents: Iterable[bytes]) -> None:
        """Keeps bytes, on disk when this returns.

        Raises:
            GitRefusedError: Git would not.
        """
        stream = b"".join(b"blob\ndata %d\n%b\n" % (len(each), each) for each in contents)
        await self._import(stream)

    async def commit(self, number: int, manifest: Manifest, *, before: tuple[str, Manifest] | None, at_s: int) -> str:
        """Makes a checkpoint of what was put, or is in the user's repository.

        Args:
            number: Of it, new.
            manifest: What it holds.
            before: The commit and content of the one before it.
            at_s: The time, in seconds of Unix time.

        Returns:
            Its commit.

        Raises:
            GitRefusedError: Git would not, as where bytes are not there; nothing is changed then.
        """
        message = b"Checkpoint %d\n" % number
        parts = [b"commit %b%d\nmark :1\ncommitter %b %d +0000\n" % (_REFS.encode("ascii"), number, _WHO, at_s)]
        parts.append(b"data %d\n%b" % (len(message), message))
        if before is not None:
            parts.append(b"from %b\n" % before[0].encode("ascii"))
        parts += _changes({} if before is None else before[1].entries, manifest.entries)
        for name, of in (("modes", _modes), ("left-out", _left_out), ("folders", _folders)):
            value = of(manifest)
            if before is not None and value == of(before[1]):
                continue
            text = json.dumps(value, indent=0, sort_keys=True).encode("ascii")
            parts.append(b"M 100644 inline %b\ndata %d\n%b\n" % (name.encode("ascii"), len(text), text))
        parts.append(b"\nget-mark :1\n")
        return line(await self._import(b"".join(parts)))

    async def commits(self) -> Mapping[int, tuple[str, int]]:
        """Commit and time of all checkpoints, in seconds of Unix time, by number.

        Raises:
            GitRefusedError: Git would not.
        """
        if self._is_new:
            return {}
        words = ("--format=%(refname) %(objectname) %(committerdate:unix)", _REFS)
        answer = checked(await self.git.run("for-each-ref", *words), "list checkpoints")
        entries = (each.split() for each in answer.output.decode("ascii", "replace").splitlines())
        return {int(ref.removeprefix(_REFS)): (commit, int(at)) for ref, commit, at in entries}

    async def load(self, commit: str) -> Manifest:
        """What a checkpoint holds.

        Raises:
            CheckpointError: It is damaged.
            GitRefusedError: Git would not.
        """
        words = ("-r", "-z", "--full-tree", commit)
        answer = checked(await self.git.run("ls-tree", *words, limit_bytes=_MOST_BYTES), "read a checkpoint")
        found: dict[str, tuple[str, str]] = {}
        for each in answer.output.split(b"\0")[:-1]:
            said, _, path = each.partition(b"\t")
            mode, _, blob = said.decode("ascii").split(" ")
            found[os.fsdecode(path)] = (mode, blob)
        try:
            apart = [found.pop(name)[1] for name in ("modes", "left-out", "folders")]
            texts = dict([each async for each in self.contents(apart)])
            modes, left_out, folders = (json.loads(texts[blob]) for blob in apart)
            entries = {
                path.removeprefix("files/"): Entry(int(modes.get(path.removeprefix("files/"), _USUAL[mode])), blob)
                for path, (mode, blob) in found.items()
            }
        except (KeyError, ValueError, AttributeError) as error:
            raise CheckpointError(f"checkpoint {commit[:12]} is damaged: {error}") from None
        return Manifest(
            entries=entries,
            left_out={str(path): str(why) for path, why in left_out.items()},
            folders={str(path): int(mode) for path, mode in folders.items()},
        )

    async def lines(self, earlier: str, later: str) -> Mapping[str, tuple[int | None, int | None]]:
        """The lines that were added and removed between two checkpoints, by path; None for what is no text.

        Raises:
            GitRefusedError: Git would not.
        """
        words = ("--numstat", "-z", "--no-renames", earlier, later, "--", "files")
        answer = checked(await self.git.run("diff", *words, limit_bytes=_MOST_BYTES), "compare checkpoints")
        found: dict[str, tuple[int | None, int | None]] = {}
        for entry in split(answer.output):
            added, removed, path = entry.split("\t", 2)
            counts = [int(each) if each.isdigit() else None for each in (added, removed)]
            found[path.removeprefix("files/")] = (counts[0], counts[1])
        return found

    async def contents(self, blobs: Iterable[str]) -> AsyncIterator[tuple[str, bytes]]:
        """The bytes of these names, each looked at: what does not fit its name is not given.

        Raises:
            CheckpointError: One is missing, or damaged.
            GitRefusedError: Git would not.
        """
        for batch in _batches(await self._sizes(sorted(set(blobs)))):
            limit = sum(size for _, size in batch) + 200 * len(batch)
            stdin = "".join(f"{blob}\n" for blob, _ in batch).encode("ascii")
            answer = checked(await self.git.run("cat-file", "--batch", stdin=stdin, limit_bytes=limit), "read files")
            at = 0
            for blob, size in batch:
                at = answer.output.index(b"\n", at) + 1
                content = answer.output[at : at + size]
                at += size + 1
                if self.name_of(content) != blob:
                    raise CheckpointError(f"the checkpoint's file {blob[:12]} is damaged; nothing of it is written.")
                yield blob, content

    async def _sizes(self, blobs: Sequence[str]) -> list[tuple[str, int]]:
        stdin = "".join(f"{blob}\n" for blob in blobs).encode("ascii")
        words = "--batch-check=%(objectname) %(objecttype) %(objectsize)"
        answer = checked(await self.git.run("cat-file", words, stdin=stdin), "look at files")
        sizes = []
        for blob, said in zip(blobs, answer.output.decode("ascii", "replace").splitlines(), strict=True):
            name, kind, *size = said.split()
            if name != blob or kind != "blob":
                raise CheckpointError(
                    f"the checkpoint's file {blob[:12]} is missing: was git gc or prune run in the repository since?"
                )
            sizes.append((blob, int(size[0])))
        return sizes

    async def _import(self, stream: bytes) -> GitAnswer:
        said = ("--quiet", "--done", "--date-format=raw")
        limit = 16 * 1024 * 1024
        answer = await self.git.run("fast-import", *said, stdin=stream + b"done\n", limit_bytes=limit)
        return checked(answer, "keep files")


def _lay_out(folder: Path, user: GitPlace | None, algorithm: str) -> None:
    """The few files that make a folder a git folder; git itself would put examples and hooks there."""
    for name in ("refs", "objects/info", "objects/pack", "info"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in (folder / _REFS).glob("*.lock"):  # of a machine that went down: git would wait for nobody
        if time.time() - left.stat().st_mtime > _STALE_S:
            left.unlink(missing_ok=True)
    settings = (
        "[core]\n\trepositoryformatversion = {}\n\tbare = false\n\tcompression = 1\n[fastimport]\n\tunpackLimit = 1\n"
    )
    settings = settings.format(1 if algorithm == "sha256" else 0)
    if algorithm == "sha256":
        settings += "[extensions]\n\tobjectFormat = sha256\n"
    ours = ["info/exclude"]
    _write(folder / "config", settings.encode("ascii"))
    if user is not None:
        objects = os.fsencode(user.common_dir / "objects")
        if b"\n" not in objects and not objects.startswith((b'"', b"#")):
            _write(folder / "objects" / "info" / "alternates", objects + b"\n")
        exclude = user.common_dir / ours[0]
        if exclude.is_file():
            _write(folder / ours[0], exclude.read_bytes())
    _write(folder / "HEAD", b"ref: refs/heads/none\n")


def _write(path: Path, text: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(text)
    temporary.replace(path)


def _modes(manifest: Manifest) -> Mapping[str, int]:
    """Those that git does not keep."""
    return {path: each.mode for path, each in manifest.entries.items() if each.mode != _USUAL[each.git_mode]}


def _left_out(manifest: Manifest) -> Mapping[str, str]:
    return manifest.left_out


def _folders(manifest: Manifest) -> Mapping[str, int]:
    return manifest.folders


def _changes(before: Mapping[str, Entry], now: Mapping[str, Entry]) -> Iterator[bytes]:
    """What git is to do: removals first, since a folder may come in place of a file, or the other way round."""
    for path in before.keys() - now.keys():
        yield b"D %b\n" % _quoted(path)
    for path, entry in now.items():
        old = before.get(path)
        if old is None or (old.blob, old.git_mode) != (entry.blob, entry.git_mode):
            yield b"M %b %b %b\n" % (entry.git_mode.encode("ascii"), entry.blob.encode("ascii"), _quoted(path))


def _quoted(path: str) -> bytes:
    return b'"files/%b"' % _QUOTED.sub(lambda found: b"\\%03o" % found[0][0], os.fsencode(path))


def _batches(sizes: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    batch: list[tuple[str, int]] = []
    for each in sizes:
        if batch and sum(size for _, size in batch) + each[1] > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch
