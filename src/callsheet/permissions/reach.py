"""Which paths the parts of a command line reach, and whether one part changes what another was judged by."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import field, replace
from pathlib import Path

from callsheet.model.dataclass import dataclass
from callsheet.permissions.access import Access, Finding, Want
from callsheet.permissions.modes import Mode
from callsheet.permissions.paths import as_written, begins_protected, protection_of
from callsheet.permissions.rules import Effect, Rule
from callsheet.permissions.shell.effects import Effects, Touch


@dataclass(slots=True)
class State:
    """What is known while a command line is gone through.

    Attributes:
        folders: Where the shell may be by now.
        moved: Paths to which links may have been moved, with the part of the line that does it.
        touched: Paths that are touched, with the part of the line.
        changing: Parts of the line that change files.
        git: Parts of the line that look for a repository below the root.
        read: Paths that are read, as far as they are named.
        opening: Parts of the line that put a folder where what is in it may become protected by its name.
    """

    folders: set[Path]
    findings: list[Finding] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    assigned: set[str] = field(default_factory=set)
    moved: list[tuple[int, Path]] = field(default_factory=list)
    touched: list[tuple[int, Path]] = field(default_factory=list)
    changing: set[int] = field(default_factory=set)
    git: set[int] = field(default_factory=set)
    read: list[Path] = field(default_factory=list)
    opening: set[int] = field(default_factory=set)
    part: int = 0


class Reach:
    """Decides about what harmless commands touch.

    Args:
        access: Decides about single paths.
        mode: What is accepted where no rule says anything.
    """

    def __init__(self, access: Access, *, mode: Mode) -> None:
        self._access = access
        self._mode = mode

    def path(self, want: Want, path: str, folder: Path, state: State, *, by_rule_: bool = False) -> Finding:
        """Whether one path may be read or written; it is noted as touched."""
        resolved = self._access.resolve(path, cwd=folder)
        if resolved is not None:
            state.touched.append((state.part, resolved))
            if want is Want.READ:
                state.read.append(resolved)
        return self._access.judge(want, path, cwd=folder, changes_anyway=by_rule_)

    def touches(self, effects: Effects, rule: Rule | None, folder: Path, state: State) -> Iterator[Finding]:
        """Whether what a command touches may be touched from a folder."""
        for touch, path in effects.touches:
            want = Want.WRITE if touch is Touch.WRITE else Want.READ
            yield self.path(want, path, folder, state, by_rule_=rule is not None)
            resolved = self._access.resolve(path, cwd=folder)
            if resolved is None or self._mode is Mode.BYPASS:
                continue
            if touch is Touch.READ_FILE and resolved.is_dir() and effects.transfer is None:
                yield self.asked(f"{path} is a folder; name the files in it", "folder instead of a file")
            elif touch in (Touch.TREE, Touch.VISIBLE_TREE):
                yield from self._tree(resolved, path, is_all=touch is Touch.TREE)
        if effects.transfer is not None and self._mode is not Mode.BYPASS:
            yield from self._transfer(effects, folder, state)

    def _tree(self, folder: Path, path: str, *, is_all: bool) -> Iterator[Finding]:
        """Whether everything in a folder may be read."""
        if not folder.is_dir():
            return
        access = self._access
        if access.is_scoped:
            yield self.asked(f"{path} is read whole, and the agent may read only part of it", "scope")
        if is_all and access.root.is_relative_to(folder) and not access.is_scoped:
            yield Finding(
                effect=Effect.ALLOW,
                reason=f"{path} holds the record, which confinement hides.",
                rule="workspace",
                is_confined=True,
            )
        if not access.has_hidden:
            return
        inside = access.beneath(folder, hidden_too=is_all)
        if inside is None:
            yield self.asked(f"{path} holds more than can be looked through", "too many files")
            return
        hidden = next((each for each in inside if access.hides(Path(os.path.realpath(each)))), None)
        if hidden is not None:
            denied = access.judge(Want.READ, str(hidden), cwd=folder)
            yield replace(denied, reason=f"{denied.reason} It lies in {path}.", advice="Name the files to be read.")

    def _transfer(self, effects: Effects, folder: Path, state: State) -> Iterator[Finding]:
        """`cp`, `mv`, `rm`: what is in the folders, and what they become."""
        written = [path for touch, path in effects.touches if touch is Touch.WRITE]
        if effects.transfer == "rm":
            for path in written if effects.is_recursive else []:
                yield from self._contents(path, folder, as_=None)
            return
        target = written[-1]
        sources = [path for touch, path in effects.touches if touch in (Touch.TREE, Touch.READ_FILE)]
        into = self._access.resolve(target, cwd=folder)
        is_folder = into is not None and into.is_dir() and not effects.target_is_file
        is_file = into is not None and into.exists() and not into.is_dir()
        for source in sources:
            name = source.rstrip("/").rpartition("/")[2]
            if name in (".", "..", ""):
                yield self.asked(f"{source} has no name of its own", "folder without a name")
                continue
            # Whether the target is a folder may change before it runs: both ends must be allowed.
            ends = (target,) if effects.target_is_file else (target, f"{target}/{name}")
            for end in ends:
                if end != target and is_file:  # it leads nowhere now, so only its name can be judged
                    yield from self._protected(folder / end)
                else:
                    yield self.path(Want.WRITE, end, folder, state)
                if begins_protected(str(as_written(folder, end))):
                    state.opening.add(state.part)
                if effects.is_recursive:
                    yield from self._contents(source, folder, as_=end)
                    if self._may_hold_links(folder / source):
                        state.moved.append((state.part, as_written(folder, end)))
            final = ends[-1] if is_folder else target
            if effects.transfer == "cp" and (folder / source).is_dir() and (folder / final).exists():
                yield self.asked(f"{final} is there already; links in it may lead anywhere", "copy onto a folder")

    def _protected(self, path: Path) -> Iterator[Finding]:
        """That a path is protected by its name, whether it leads anywhere or not."""
        plain = as_written(Path("/"), str(path))
        relative = plain.relative_to(self._access.root) if plain.is_relative_to(self._access.root) else plain
        entry = protection_of(str(relative))
        if entry is not None:
            reason = f"{relative} is protected, because {entry.why}"
            yield replace(self.asked(reason, f"protected path {entry.name}"), is_lasting=True)

    def _contents(self, path: str, folder: Path, *, as_: str | None) -> Iterator[Finding]:
        """Whether what is in a folder is protected, where it is or where it will be."""
        start = folder / path
        if not start.is_dir() or start.is_symlink():
            return
        inside = self._access.beneath(start)
        if inside is None:
            yield self.asked(f"{path} holds more than can be looked through", "too many files")
            return
        for each in inside:
            forms = [each] if as_ is None else [each, folder / as_ / each.relative_to(start)]
            for form in forms:
                found = next(self._protected(form), None)
                if found is not None:
                    yield found
                    return
        if self._access.is_restricted or self._access.is_scoped:
            for each in inside:
                found = self._access.judge(Want.WRITE, str(each), cwd=folder)
                if found.effect is not Effect.ALLOW:
                    yield found
                    return

    def _may_hold_links(self, path: Path) -> bool:
        if path.is_symlink() or not path.exists():
            return True
        if not path.is_dir():
            return False
        inside = self._access.beneath(path)
        return inside is None or any(each.is_symlink() for each in inside)

    def enter(self, path: str, state: State, *, is_sure: bool) -> Iterator[Finding]:
        """Follows `cd`: to the folder where that is certain, else to both."""
        for folder in sorted(state.folders):
            entered = self._access.resolve(path, cwd=folder)
            if entered is None or entered != as_written(folder, path):
                yield self.asked(f"cd {path}: links on the way make it unclear where it leads", "cd through a link")
            elif is_sure and entered.is_dir():
                state.folders = {entered}
            else:
                state.folders.add(entered)
                if len(state.folders) > 32:
                    yield self.asked("the folder changes too often", "too many folders")
                    return

    def git(self, state: State) -> Iterator[Finding]:
        """Git runs what a repository's configuration says, and takes any folder that looks like one for one."""
        for folder in sorted(state.folders):
            if folder == self._access.root and (folder / ".git").exists():
                continue
            state.git.add(state.part)
            below = [each for each in (folder, *folder.parents) if each.is_relative_to(self._access.root)]
            if not folder.is_dir() or any((each / "HEAD").exists() for each in below if not (each / ".git").exists()):
                yield self.asked(f"git in {folder.name}: which repository it finds cannot be told", "git in a folder")

    def check_order(self, state: State) -> None:
        """Refuses lines in which one part may change what another was judged by."""
        for part, moved in state.moved:
            for other, path in state.touched:
                if other != part and (path == moved or path.is_relative_to(moved)):
                    state.findings.append(
                        self.asked(
                            f"links may be moved to {moved.name} before it is used", "moved and used in one line"
                        )
                    )
                    return
        if any(state.changing - {part} for part in state.opening):
            state.findings.append(
                self.asked("a folder is put in place that the same line changes", "changed and used in one line")
            )
        if state.git and state.changing - state.git:
            state.findings.append(
                self.asked("git runs in a folder that the same line changes", "changed and used in one line")
            )

    def asked(self, why: str, rule: str) -> Finding:
        """What only a person can decide; in mode bypass nobody has to."""
        if self._mode is Mode.BYPASS:
            return Finding(effect=Effect.ALLOW, reason="The mode bypass allows it.", rule="mode bypass")
        return Finding(effect=Effect.ASK, reason=f"It cannot be told to be harmless: {why}.", rule=rule)
