"""glob and grep: ripgrep walks, in a process of its own, and the path policy decides what of it is shown."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from anyio import to_thread

from callsheet.agents.tools.inputs import GlobInput, GrepInput
from callsheet.agents.tools.names import ToolFailure
from callsheet.agents.tools.patterns import PatternError, compile_glob, literal_prefix
from callsheet.agents.tools.ripgrep import Findings, Ripgrep
from callsheet.model.dataclass import dataclass

MAX_GLOB_RESULTS = 200
GREP_OUTPUT_BYTES = 32 * 1024
GREP_RAW_BYTES = 1024 * 1024
LISTING_BYTES = 32 * 1024 * 1024
MAX_COLUMNS = 500

_HIDDEN = ("--hidden", "--glob=!.git", "--glob=!.callsheet")

MayRead = Callable[[Path], str | None]
"""A path as outcomes name it, where an agent may read it, else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A search's answer.

    Attributes:
        text: What was found.
        note: Our own words on it, empty where there is nothing to say.
        files: Those whose text it shows, as outcomes name them.
    """

    text: str
    note: str = ""
    files: frozenset[str] = frozenset()


NOTHING = Found(text="", note="no matches")


async def glob(ripgrep: Ripgrep, arguments: GlobInput, folder: Path, may_read: MayRead) -> Found:
    """Files and folders beneath `folder` that match, newest first.

    Raises:
        ToolFailure: The pattern cannot be used, or the search did not work.
    """
    pattern = arguments.pattern
    try:
        matches = compile_glob(pattern)
    except PatternError as error:
        raise ToolFailure(f"glob: {error}") from None
    prefix = literal_prefix(pattern)
    start = folder / prefix
    only_folders = pattern.endswith("/")
    if may_read(start) is None or not _is_folder(start):
        return NOTHING
    command = ["--files", "--null", *_HIDDEN, "--", str(start)]
    listing = await ripgrep.run(command, cwd=folder, limit_bytes=LISTING_BYTES)
    return await to_thread.run_sync(_choose, listing, folder, matches, only_folders, may_read)


def _choose(
    listing: Findings, folder: Path, matches: Callable[[str], bool], only_folders: bool, may_read: MayRead
) -> Found:
    base = f"{folder}/"
    files = [os.fsdecode(raw).removeprefix(base) for raw in listing.output.split(b"\0")[:-1]]
    matching = [] if only_folders else [path for path in files if matches(path)]
    matching += [f"{path}/" for path in _folders_of(files) if matches(path)]
    shown: list[str] = []
    more = False
    for path in sorted(matching, key=lambda path: (-_modified_ns(base + path), path)):
        if may_read(folder / path) is None:
            continue
        if len(shown) == MAX_GLOB_RESULTS:
            more = True
            break
        shown.append(base + path)
    if not shown:
        return NOTHING
    note = ""
    if more or listing.cut:
        note = f"[only the newest {len(shown)} are shown; narrow the pattern or the path for the others]"
    return Found(text="\n".join(shown), note=note)


def _is_folder(path: Path) -> bool:
    return path.is_dir()


def _folders_of(files: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for path in files:
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return folders


def _modified_ns(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0


async def grep(ripgrep: Ripgrep, arguments: GrepInput, start: Path, may_read: MayRead) -> Found:
    """Lines beneath `start` that match, in order of path and line.

    Raises:
        ToolFailure: The expression is wrong, or the search did not work.
    """
    command = ["--line-number", "--no-heading", "--with-filename", "--null", "--sort=path"]
    command += [f"--max-columns={MAX_COLUMNS}", "--max-columns-preview", *_HIDDEN]
    if "\n" in arguments.pattern or r"\n" in arguments.pattern:
        command.append("--multiline")
    command += ["--regexp", arguments.pattern, "--", str(start)]
    cwd = start if _is_folder(start) else start.parent
    findings = await ripgrep.run(command, cwd=cwd, limit_bytes=GREP_RAW_BYTES)
    if findings.error and not findings.output:
        raise ToolFailure(f"grep: {findings.error}")
    return await to_thread.run_sync(_show, findings, may_read)


def _show(findings: Findings, may_read: MayRead) -> Found:
    lines = findings.output.decode(errors="replace").split("\n")[:-1]
    allowed: dict[str, str | None] = {}
    shown: list[str] = []
    files: set[str] = set()
    size = 0
    cut = findings.cut
    for line in lines:
        path, _, rest = line.partition("\0")
        if path not in allowed:
            allowed[path] = may_read(Path(path))
        relative = allowed[path]
        if relative is None:
            continue
        size += len(path) + len(rest) + 2
        if size > GREP_OUTPUT_BYTES:
            cut = True
            break
        shown.append(f"{path}:{rest}")
        files.add(relative)
    if not shown:
        return NOTHING
    note = "[there are more matches; narrow the expression or the path for the others]" if cut else ""
    return Found(text="\n".join(shown), note=note, files=frozenset(files))
