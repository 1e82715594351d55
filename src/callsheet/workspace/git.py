"""All git that the host runs, through one function: a repository's files can make git run programs (DESIGN 15).

What a repository says about itself is read once, before any agent starts: which folder holds its data, and a hash of
everything that configures it. Git is then told both by name, and refuses to work once the hash has changed. What could
run a program is switched off besides, for what the repository's owner configured before that is not ours to run either.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from callsheet.errors import GitRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.programs import host_path
from callsheet.workspace.git_process import GitAnswer, ask

__all__ = ["COMMANDS", "Git", "GitAnswer", "GitPlace", "check_unchanged", "git_place", "own_place"]

_CONFIG_BYTES = 4 * 1024 * 1024
_SMALL_BYTES = 64 * 1024
_SETTINGS_WITHIN_S = 20.0
_NOWHERE = "/nonexistent"

_OFF = (
    "core.fsmonitor=false", "core.untrackedCache=false", "core.hooksPath=/dev/null", "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null", "core.sshCommand=/bin/false", "core.askPass=/bin/false", "core.editor=/bin/false",
    "core.pager=cat", "core.alternateRefsCommand=/bin/false", "core.gitProxy=/bin/false", "credential.helper=",
    "diff.ignoreSubmodules=all", "submodule.recurse=false", "fetch.recurseSubmodules=false",
    "status.submoduleSummary=false", "protocol.allow=never", "gc.auto=0", "maintenance.auto=false",
    "commit.gpgSign=false", "tag.gpgSign=false", "log.showSignature=false", "gpg.program=/bin/false",
    "gpg.ssh.program=/bin/false", "gpg.x509.program=/bin/false", "gpg.ssh.defaultKeyCommand=/bin/false",
    "sequence.editor=/bin/false", "rerere.enabled=false", "advice.detachedHead=false",
    "color.ui=false", "safe.bareRepository=explicit",
)  # fmt: skip
"""Whatever could start a program, or talk to anybody. Drivers with names of the repository's choosing are switched off
by name, as they are found."""

_DIFFING = frozenset({"diff", "log", "show", "format-patch", "diff-tree", "diff-index", "diff-files"})
_SAFELY = ("--no-ext-diff", "--no-textconv", "--ignore-submodules=all")
COMMANDS = _DIFFING | {
    "status", "rev-parse", "ls-files", "ls-tree", "cat-file", "hash-object", "update-index", "read-tree", "write-tree",
    "commit-tree", "update-ref", "symbolic-ref", "for-each-ref", "show-ref", "merge-base", "rev-list", "apply", "add",
    "checkout-index", "worktree", "branch", "merge-tree", "check-ignore", "count-objects", "var", "init", "fast-import",
}  # fmt: skip
"""Commands that the host uses. An alias cannot take the name of one, and another name could be an alias."""

_MAY_START_GIT = frozenset({"worktree"})
"""Commands that do part of their work by starting git again. The others find no program to start at all: a nested
repository's own configuration, of which nobody knows, cannot be asked."""

_DRIVERS = re.compile(
    r"(?:filter\..+\.(?:clean|smudge|process)|diff\..+\.(?:command|textconv)|merge\..+\.driver|trailer\..+\.(?:command|cmd)"
    r"|tar\..+\.command|remote\..+\.(?:uploadpack|receivepack|vcs|proxy)|(?:diff|merge)tool\..+\.cmd"
    r"|credential\..+\.helper|url\..+\.(?:insteadof|pushinsteadof))",
    re.DOTALL,
)
_REQUIRED = re.compile(r"filter\..+\.required", re.DOTALL)
_INCLUDES = re.compile(r"include\.path|includeif\..+", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitPlace:
    """A repository as it was before any agent started.

    Attributes:
        work_tree: Absolute, without links.
        git_dir: The folder with this working tree's own data.
        common_dir: That of the whole repository; `git_dir` itself but in a linked worktree.
        configured: A hash of all files that configure git here.
        settings: A hash of what git makes of them, and of those that they include.
        switched_off: Settings of the repository's that name programs, each to be set to nothing.
        includes: Its configuration names further files, so that its own do not say all.
        dot_git: What leads from the working tree to `git_dir`; None for a folder of ours that nothing leads to.
    """

    work_tree: Path
    git_dir: Path
    common_dir: Path
    configured: str
    settings: str
    switched_off: tuple[str, ...]
    includes: bool = True
    dot_git: Path | None = None


class Git:
    """Runs git on one working tree.

    Args:
        place: As `git_place` found it before the run's first agent.
        environ: The host's environment: only `PATH` and the language are taken from it.
        excludes: The user's own file of what is ignored everywhere; None for none.

    Raises:
        GitRefusedError: Git is not installed.
    """

    def __init__(self, place: GitPlace, environ: Mapping[str, str], *, excludes: Path | None = None) -> None:
        self._place = place
        self._excludes = () if excludes is None else (f"core.excludesFile={excludes}",)
        self._environ = _environment(environ, place)
        self._program = _program(self._environ)

    @property
    def place(self) -> GitPlace:
        """Where it works."""
        return self._place

    async def run(
        self,
        command: str,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 60.0,
        limit_bytes: int = 64 * 1024 * 1024,
        index: Path | None = None,
    ) -> GitAnswer:
        """Runs one git command. Cancelling kills it.

        Args:
            command: One of `COMMANDS`.
            arguments: Its arguments; paths after a `--`.
            stdin: What it reads.
            timeout_s: Then it is killed.
            limit_bytes: Of its output; more is an error.
            index: Another index than the working tree's own (for snapshots).

        Raises:
            GitRefusedError: Configuration or layout changed since the place was made (the command was not run), it
                took too long, or said too much.
        """
        if command not in COMMANDS:
            raise GitRefusedError(f"git {command} is not a command that is used here.")
        await anyio.to_thread.run_sync(check_unchanged, self._place)
        if self._place.includes:  # else `configured` says all that git can read
            await _check_settings(self._place, self._program, self._environ)
        argv = [self._program, *_words(self._place), command]
        argv += _SAFELY if command in _DIFFING else ["--ignore-submodules=all"] if command == "status" else []
        environ = {**self._environ, **_settings(self._place.switched_off, (*_OFF, *self._excludes))}
        if command not in _MAY_START_GIT:
            environ |= {"PATH": _NOWHERE, "GIT_EXEC_PATH": _NOWHERE}
        if index is not None:
            environ["GIT_INDEX_FILE"] = os.fspath(index)
        answer: GitAnswer | None = None
        with anyio.move_on_after(timeout_s):
            answer = await ask([*argv, *arguments], environ, self._place.work_tree, stdin, limit_bytes)
        if answer is None:
            raise GitRefusedError(f"git {command} did not end within {timeout_s:g} s and was killed.")
        if len(answer.output) > limit_bytes:
            raise GitRefusedError(f"git {command} said more than {limit_bytes} bytes and was killed.")
        return answer


# --- a repository's description of itself -----------------------------------------------------------------------------


async def git_place(work_tree: Path, environ: Mapping[str, str]) -> GitPlace:
    """Looks at a working tree, and lets git say what it is configured to. To be called before any agent starts.

    Args:
        work_tree: Its root.
        environ: As for `Git`.

    Raises:
        GitRefusedError: It is not the root of a working tree, or its layout is one that is not trusted.
    """
    place = await anyio.to_thread.run_sync(_layout, work_tree)
    safe = _environment(environ, place)
    settings = await _ask_settings(place, _program(safe), safe)
    keys = _keys(settings)
    return replace(
        place,
        settings=_hash(settings),
        switched_off=tuple(key for key in keys if _DRIVERS.fullmatch(key) or _REQUIRED.fullmatch(key)),
        includes=any(_INCLUDES.fullmatch(key) for key in keys),
    )


def _layout(work_tree: Path) -> GitPlace:
    work_tree = work_tree.resolve()
    git_dir = _git_dir(work_tree)
    common = _first_line(git_dir / "commondir")
    common_dir = (git_dir / common).resolve() if common else git_dir
    if not (common_dir / "objects").is_dir() or not (git_dir / "HEAD").exists():
        raise GitRefusedError(f"{git_dir} holds no git data: git is not used in {work_tree}.")
    return GitPlace(
        work_tree=work_tree,
        git_dir=git_dir,
        common_dir=common_dir,
        configured=_configuration(work_tree / ".git", git_dir, common_dir),
        settings="",
        switched_off=(),
        dot_git=work_tree / ".git",
    )


def own_place(work_tree: Path, git_dir: Path) -> GitPlace:
    """A git folder of ours, beside a working tree that need not know of it. We wrote its configuration.

    Args:
        work_tree: Whose files it is about; a repository of its own, or none.
        git_dir: The folder, which nobody else writes.
    """
    git_dir = git_dir.resolve()
    return GitPlace(
        work_tree=work_tree.resolve(), git_dir=git_dir, common_dir=git_dir,
        configured=_configuration(None, git_dir, git_dir), settings="", switched_off=(), includes=False,
    )  # fmt: skip


def check_unchanged(place: GitPlace) -> None:
    """Makes sure that nothing which configures git is other than it was.

    Raises:
        GitRefusedError: It is; says which place to look at.
    """
    try:
        configured = _configuration(place.dot_git, place.git_dir, place.common_dir)
    except OSError as error:
        raise GitRefusedError(f"Git is no longer used: its configuration cannot be read ({error}).") from None
    if configured != place.configured:
        raise _changed(place)


async def _check_settings(place: GitPlace, program: str, environ: dict[str, str]) -> None:
    if _hash(await _ask_settings(place, program, environ)) != place.settings:
        raise _changed(place)


async def _ask_settings(place: GitPlace, program: str, environ: dict[str, str]) -> bytes:
    """What git is configured to here, with what its files include. Asking starts nothing: it is a reader of files."""
    argv = [program, *_words(place), "config", "--list", "--includes", "--show-origin", "--null"]
    answer: GitAnswer | None = None
    environ = {**environ, "PATH": _NOWHERE, "GIT_EXEC_PATH": _NOWHERE}
    with anyio.move_on_after(_SETTINGS_WITHIN_S):
        answer = await ask(argv, environ, place.work_tree, b"", _CONFIG_BYTES)
    if answer is None or answer.exit_status != 0 or len(answer.output) > _CONFIG_BYTES:
        why = "it did not answer" if answer is None else answer.errors.strip() or "it is too large"
        raise GitRefusedError(f"Git is not used in {place.work_tree}: its configuration cannot be read ({why}).")
    return answer.output


def _changed(place: GitPlace) -> GitRefusedError:
    return GitRefusedError(
        f"Git is no longer used in {place.work_tree}: its configuration changed while agents were at work. "
        f"Look at {place.common_dir / 'config'} and {place.work_tree / '.git'} before you run git there yourself."
    )


def _git_dir(work_tree: Path) -> Path:
    dot_git = work_tree / ".git"
    if dot_git.is_symlink():
        raise GitRefusedError(f"{dot_git} is a symbolic link: git is not used.")
    if dot_git.is_dir():
        return dot_git
    named = _first_line(dot_git)
    if named is None or not named.startswith("gitdir: "):
        words = f"{work_tree} is not the root of a git working tree."
        raise GitRefusedError(f"{words} `git init` there and a first commit make it one.")
    return (work_tree / named.removeprefix("gitdir: ")).resolve()


def _configuration(dot_git: Path | None, git_dir: Path, common_dir: Path) -> str:
    """A hash of all files that configure git beside its own data."""
    found = hashlib.sha256()
    files = [] if dot_git is None else [dot_git]
    files += [git_dir / "commondir", git_dir / "gitdir"]
    for folder in (common_dir, git_dir):
        files += [folder / "config", folder / "config.worktree"]
        files += [folder / "info" / name for name in ("attributes", "grafts", "sparse-checkout")]
    files += [common_dir / "objects" / "info" / name for name in ("alternates", "http-alternates")]
    for path in files:
        kind, text = _content(path)
        found.update(os.fsencode(f"{path}\0{kind}\0{len(text)}\0") + text)
    return found.hexdigest()


def _content(path: Path) -> tuple[str, bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"error {error.errno}", b""
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            return f"folder {found.st_dev} {found.st_ino}", b""
        if not stat.S_ISREG(found.st_mode) or found.st_size > _CONFIG_BYTES:
            return "strange", b""
        return "file", os.pread(descriptor, _CONFIG_BYTES, 0)
    finally:
        os.close(descriptor)


def _first_line(path: Path) -> str | None:
    _, text = _content(path)
    return os.fsdecode(text[:_SMALL_BYTES].split(b"\n")[0].rstrip(b"\r")) or None


def _keys(settings: bytes) -> list[str]:
    """The names of all settings, by git's own reading of them."""
    return sorted({os.fsdecode(entry.partition(b"\n")[0]) for entry in settings.split(b"\0")[1::2]})


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


# --- the process ------------------------------------------------------------------------------------------------------


def _program(environ: Mapping[str, str]) -> str:
    program = shutil.which("git", path=environ["PATH"])
    if program is None:
        raise GitRefusedError(
            "git is not installed, or not on PATH. Install it (apt install git, dnf install git, brew install git)."
        )
    return program


def _words(place: GitPlace) -> list[str]:
    return [
        f"--git-dir={place.git_dir}", f"--work-tree={place.work_tree}",
        "--no-pager", "--no-optional-locks", "--literal-pathspecs",
    ]  # fmt: skip


def _settings(switched_off: Sequence[str], said: Sequence[str]) -> dict[str, str]:
    """What is switched off or said besides, as git's environment takes it: a name may hold any character there."""
    pairs = [(key, "false" if _REQUIRED.fullmatch(key) else "") for key in switched_off]
    pairs += [(key, value) for key, _, value in (each.partition("=") for each in said)]
    numbered = {f"GIT_CONFIG_KEY_{n}": key for n, (key, _) in enumerate(pairs)}
    numbered |= {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in enumerate(pairs)}
    return {"GIT_CONFIG_COUNT": str(len(pairs)), **numbered}


def _environment(environ: Mapping[str, str], place: GitPlace) -> dict[str, str]:
    kept = {name: environ[name] for name in ("LANG", "LC_ALL") if name in environ}
    return {
        **kept,
        "PATH": host_path(environ.get("PATH"), outside=(place.work_tree, place.common_dir.parent)),
        "HOME": _NOWHERE,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "Callsheet"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "callsheet@localhost"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": "",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
    }
