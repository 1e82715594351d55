"""`--config-from REF`: configuration, memory and the workflow as a commit has them, not as the working tree does.

For pull requests in CI: what runs is what was reviewed, whatever the branch under test changed. Git is asked for raw
bytes of the commit's own files, so that no filter, hook or link of the working tree has a say.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread

from callsheet.app.run_config import MAX_CONFIG_BYTES
from callsheet.app.source import expanded, is_path
from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.script import MAX_SCRIPT_BYTES
from callsheet.permissions.sources import ProjectFiles

if TYPE_CHECKING:
    from callsheet.workspace.git import Git
    from callsheet.workspace.root import Workspace

MAX_FILES = 2_000
MAX_BYTES = 64 * 1024 * 1024
_ROOT_FILES = frozenset({"callsheet.toml", "pyproject.toml", ".mcp.json"})
_MEMORY = frozenset({"CLAUDE.md", "CLAUDE.local.md", "AGENTS.md"})
_SCRIPTS = (".js", ".mjs")
_LINK, _FILES = "120000", ("100644", "100755")
_REF_CHARS = re.compile(r"[^\x00-\x20\x7f]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigCopy:
    """What a commit has of configuration, in a private folder.

    Attributes:
        project: The folder, and the name of the ref for people.
        start: The caller's folder in it.
        script: Where the named script lies in it; None for a saved name.
        commit: The whole hash.
        notes: Links of the commit that were not followed.
    """

    project: ProjectFiles
    start: Path
    script: str | None
    commit: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    mode: str
    blob: str
    size_bytes: int
    path: str


@asynccontextmanager
async def open_config_copy(
    workspace: Workspace,
    ref: str,
    *,
    script: str | None,
    start: Path,
    environ: Mapping[str, str],
    config: Path | None = None,
) -> AsyncGenerator[ConfigCopy]:
    """Copies what a ref has of configuration to a folder of mode 0700, which is gone when the context is left.

    Args:
        workspace: The root of a git working tree.
        ref: A branch, tag or commit.
        script: The path or name of the workflow, as given; None where it comes from elsewhere.
        start: The caller's folder.
        environ: For the search for git.
        config: The run's own config, as given; what lies in the workspace comes from the ref, with the scripts beside
            and beneath it, and the one that it names.

    Raises:
        ConfigError: Something in that config cannot hold.
        UsageError: No such ref, no git, a script outside of the workspace or not in the ref, or too much to copy.
        GitRefusedError: Git cannot be used here.
    """
    if not workspace.git:
        raise UsageError(f"--config-from {ref}: {workspace.root} is not the root of a git working tree.")
    from callsheet.workspace.git import Git, git_place

    git = Git(await git_place(workspace.root, environ), environ)
    commit = await _commit(git, ref)
    wanted = _script_path(script, root=workspace.root, start=start) if script is not None else None
    entries = await _entries(git, commit)
    settings = None if config is None else _inside(expanded(os.fspath(config)), root=workspace.root, start=start)
    named = [each for each in (wanted, settings) if each is not None]
    if settings is not None and wanted is None:
        named += await _script_of_config(git, entries, settings)
    files, links = _chosen(entries, named)
    for each in named:
        if each not in {entry.path for entry in files}:
            raise UsageError(f"--config-from {ref}: {ref} has no file {each}. Name one that it has.")
    folder = _new_folder()
    try:
        await _write(git, files, folder)
        yield ConfigCopy(
            project=ProjectFiles(folder=folder, commit=f"{ref} ({commit[:12]})"),
            start=folder / _below(start, workspace.root),
            script=None if wanted is None else str(folder / wanted),
            commit=commit,
            notes=(
                f"configuration, memory and workflow are those of {ref} ({commit[:12]}), not of the working tree.",
                *(f"{link} is a link in {ref} and is not followed." for link in links[:20]),
            ),
        )
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def _new_folder() -> Path:
    return Path(os.path.realpath(tempfile.mkdtemp(prefix="callsheet-config-")))


def _below(start: Path, root: Path) -> Path:
    here = Path(os.path.realpath(start))
    return here.relative_to(root) if here.is_relative_to(root) else Path()


async def _commit(git: Git, ref: str) -> str:
    if ref.startswith("-") or not _REF_CHARS.fullmatch(ref):
        raise UsageError(f"--config-from {ref!r}: that is not the name of a branch, tag or commit.")
    answer = await git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    commit = answer.output.decode("ascii", "replace").strip()
    if answer.exit_status != 0 or not re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", commit):
        raise UsageError(
            f"--config-from {ref}: this repository has no such branch, tag or commit. In CI, fetch it first: "
            f"git fetch origin {ref.removeprefix('origin/')}."
        )
    return commit


def _script_path(script: str, *, root: Path, start: Path) -> str | None:
    """A script's path in the workspace; None where a saved name is meant."""
    if not is_path(script):
        return None
    path = _inside(expanded(script), root=root, start=start)
    if path is None:
        raise UsageError(f"--config-from reads {script} from the ref, and it lies outside of {root}.")
    return path


def _inside(named: Path, *, root: Path, start: Path) -> str | None:
    """A path in the workspace; None where it lies elsewhere."""
    path = Path(os.path.normpath(start.resolve() / named))
    return str(PurePosixPath(path.relative_to(root))) if path.is_relative_to(root) else None


async def _script_of_config(git: Git, entries: tuple[_Entry, ...], config: str) -> list[str]:
    """The script that a run config of the commit names, in the workspace; none where it names none."""
    entry = next((each for each in entries if each.path == config and each.mode in _FILES), None)
    if entry is None or entry.size_bytes > MAX_CONFIG_BYTES:
        return []
    from callsheet.app.run_config_text import said_of

    answer = await git.run("cat-file", "blob", entry.blob, limit_bytes=MAX_CONFIG_BYTES)
    said = await to_thread.run_sync(partial(said_of, answer.output, name=config))
    script = None if said.script is None else _beside(config, said.script)
    return [] if script is None else [script]


def _beside(config: str, script: str) -> str | None:
    """The place in the workspace of a script that a config names; None where it lies elsewhere."""
    path = os.path.normpath(PurePosixPath(config).parent / script)
    return None if path.startswith(("../", "/")) else path


async def _entries(git: Git, commit: str) -> tuple[_Entry, ...]:
    answer = await git.run("ls-tree", "-r", "-z", "--long", "--full-tree", commit)
    if answer.exit_status != 0:
        raise UsageError(f"--config-from: the files of {commit[:12]} cannot be listed: {answer.errors.strip()}")
    return tuple(_parsed(answer.output))


def _parsed(output: bytes) -> Iterator[_Entry]:
    for line in output.split(b"\0"):
        head, tab, path = line.partition(b"\t")
        fields = head.decode("ascii", "replace").split()
        if tab and len(fields) == 4 and fields[1] == "blob" and fields[3].isdigit():
            yield _Entry(mode=fields[0], blob=fields[2], size_bytes=int(fields[3]), path=os.fsdecode(path))


def _chosen(entries: tuple[_Entry, ...], named: Sequence[str]) -> tuple[list[_Entry], list[str]]:
    """The files that are copied, and the links that would have been among them.

    Raises:
        UsageError: There are too many.
    """
    wanted = [entry for entry in entries if _is_wanted(PurePosixPath(entry.path), named)]
    files = [entry for entry in wanted if entry.mode in _FILES and entry.size_bytes <= MAX_SCRIPT_BYTES]
    links = [entry.path for entry in wanted if entry.mode == _LINK]
    if len(files) > MAX_FILES or sum(entry.size_bytes for entry in files) > MAX_BYTES:
        raise UsageError(
            f"--config-from: {len(files)} files of configuration and scripts are more than are read "
            f"({MAX_FILES} files, {MAX_BYTES // 1024**2} MiB). Put the workflow in a folder of its own."
        )
    return files, links


def _is_wanted(path: PurePosixPath, named: Sequence[str]) -> bool:
    if not _is_safe(path):
        return False
    if ".claude" in path.parts[:-1] or path.name in _MEMORY or str(path) in _ROOT_FILES or str(path) in named:
        return True
    # Beside a script: what it may call by `scriptPath`. Beside one in the root that is only the root itself.
    folders = (PurePosixPath(each).parent for each in named)
    return path.suffix in _SCRIPTS and any(
        path.parent == folder if folder == PurePosixPath(".") else path.is_relative_to(folder) for folder in folders
    )


def _is_safe(path: PurePosixPath) -> bool:
    return not path.is_absolute() and not any(part in ("..", ".git") or "\0" in part for part in path.parts)


async def _write(git: Git, files: list[_Entry], folder: Path) -> None:
    asked = "".join(f"{entry.blob}\n" for entry in files).encode("ascii")
    answer = await git.run("cat-file", "--batch", stdin=asked, limit_bytes=2 * MAX_BYTES)
    if answer.exit_status != 0:
        raise UsageError(f"--config-from: files cannot be read from the repository: {answer.errors.strip()}")
    await to_thread.run_sync(_unpack, answer.output, files, folder)


def _unpack(output: bytes, files: list[_Entry], folder: Path) -> None:
    at = 0
    for entry in files:
        end = output.index(b"\n", at)
        words = output[at:end].split()
        if len(words) != 3 or words[1] != b"blob":
            raise UsageError(f"--config-from: {entry.path} cannot be read from the repository (a partial clone?).")
        size = int(words[2])
        path = folder / entry.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(output[end + 1 : end + 1 + size])
        at = end + 1 + size + 1
