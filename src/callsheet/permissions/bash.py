"""Whether a shell command may run: every part of it must be allowed (DESIGN 9)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from callsheet.permissions.access import Access, Finding, Want, by_rule, plan_denies, worst
from callsheet.permissions.matching import allows_command, names_command, program_name
from callsheet.permissions.modes import Mode
from callsheet.permissions.paths import as_written, protection_of
from callsheet.permissions.rules import Effect, Family, Rule
from callsheet.permissions.shell.effects import Effects, Inner, Touch, effects_of, inner_commands
from callsheet.permissions.shell.known import NotHarmlessError, catalogue
from callsheet.permissions.shell.syntax import Access as Direction
from callsheet.permissions.shell.syntax import Assignment, Command, Redirect, check_name, read_command
from callsheet.permissions.shell.words import NotUnderstoodError, Word

_STREAMS = frozenset({"/dev/null", "/dev/stdin", "/dev/stdout", "/dev/stderr"})
_NETWORK = re.compile(r"/dev/(?:tcp|udp)(?:/|$)")
_LOCAL_NAME = re.compile(r"(?!npm_|pip_|cargo_|git_)[a-z][a-z0-9_]*")
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NESTED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is decided about a command line.

    Attributes:
        finding: What decided.
        programs: The programs that it may run, as far as they are known.
        suggestions: Rules that would have allowed what was asked.
    """

    finding: Finding
    programs: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()


@dataclass(slots=True)
class _State:
    """What is known while a command line is gone through.

    Attributes:
        folders: Where the shell may be by now.
        moved: Paths to which links may have been moved, with the part of the line that does it.
        touched: Paths that are touched, with the part of the line.
        changing: Parts of the line that change files.
        git: Parts of the line that look for a repository below the root.
    """

    folders: set[Path]
    findings: list[Finding] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    assigned: set[str] = field(default_factory=set)
    moved: list[tuple[int, Path]] = field(default_factory=list)
    touched: list[tuple[int, Path]] = field(default_factory=list)
    changing: set[int] = field(default_factory=set)
    git: set[int] = field(default_factory=set)
    part: int = 0


class BashJudge:
    """Decides about command lines.

    Args:
        rules: All rules that hold.
        access: Decides about paths.
        mode: What is accepted where no rule says anything.
        cwd: The folder in which the shell starts, all links followed.
        home: What `~` stands for.
    """

    def __init__(self, rules: Sequence[Rule], access: Access, *, mode: Mode, cwd: Path, home: Path) -> None:
        families = (Family.BASH, Family.EVERYTHING)
        self._deny = [rule for rule in rules if rule.family in families and rule.effect is Effect.DENY]
        self._ask = [rule for rule in rules if rule.family in families and rule.effect is Effect.ASK]
        self._allow = [rule for rule in rules if rule.family is Family.BASH and rule.effect is Effect.ALLOW]
        self._access = access
        self._mode = mode
        self._cwd = cwd
        self._home = str(home)

    def decide(self, command: str) -> Verdict:
        """Decides about a command line; runs nothing."""
        if not command.strip():
            return Verdict(finding=Finding(effect=Effect.DENY, reason="The command is empty.", rule="no command"))
        whole = next((rule for rule in self._deny if rule.detail is None), None)
        if whole is not None:
            return Verdict(finding=by_rule(whole, "shell commands"))
        state = _State(folders={self._cwd})
        try:
            self._script(command, state, depth=0, plain_sh=False)
        except NotUnderstoodError as error:
            state.findings.append(self._not_understood(error.reason))
        self._check_order(state)
        found = worst(state.findings)
        if found is None:
            found = Finding(effect=Effect.ALLOW, reason="It does nothing.", rule="no command")
        if found.effect is Effect.ALLOW:
            by_rules = [finding for finding in state.findings if finding.source is not None]
            found = replace(
                by_rules[0] if by_rules else found, is_confined=any(each.is_confined for each in state.findings)
            )
        suggestions = dict.fromkeys(
            each.suggestion for each in state.findings if each.effect is Effect.ASK and each.suggestion
        )
        return Verdict(finding=found, programs=tuple(dict.fromkeys(state.programs)), suggestions=tuple(suggestions))

    @property
    def _is_restricted(self) -> bool:
        return bool(self._deny or self._ask or self._access.is_restricted)

    def _not_understood(self, reason: str) -> Finding:
        if self._mode is Mode.BYPASS and not self._is_restricted:
            return Finding(effect=Effect.ALLOW, reason="The mode bypass allows it.", rule="mode bypass")
        if self._mode is Mode.PLAN:
            return plan_denies("a command that is not understood")
        return Finding(
            effect=Effect.ASK,
            reason=f"What the command does cannot be told: {reason}. Write it more plainly, or in several commands.",
            rule="not understood",
            is_lasting=True,
        )

    # --- the parts of a line ------------------------------------------------------------------------------------------

    def _script(self, text: str, state: _State, *, depth: int, plain_sh: bool) -> None:
        if depth > _MAX_NESTED:
            raise NotUnderstoodError("it is nested too deeply")
        commands = read_command(text, home=self._home, plain_sh=plain_sh)
        state.assigned |= {each.name for command in commands if not command.words for each in command.assignments}
        for command in commands:
            state.part += 1
            self._command(command, state, depth=depth)

    def _command(self, command: Command, state: _State, *, depth: int) -> None:
        for assignment in command.assignments:
            state.findings += self._assignment(assignment, is_local=not command.words)
        for redirect in command.redirects:
            state.findings += self._redirect(redirect, state)
        if command.words:
            state.findings += self._words(
                command.words, state, depth=depth, is_in_loop=command.is_in_loop, is_sure=command.is_first
            )

    def _assignment(self, assignment: Assignment, *, is_local: bool) -> Iterator[Finding]:
        name, value = assignment.name, assignment.value.text
        if self._mode is Mode.BYPASS:
            return
        if is_local and _LOCAL_NAME.fullmatch(name) and "proxy" not in name:
            return
        if name in catalogue().harmless_variables and value is not None and "/" not in value:
            return
        yield Finding(
            effect=Effect.ASK,
            reason=f"Setting {name} may change what programs run. Leave it out.",
            rule=f"variable {name}",
            is_lasting=True,
        )

    def _redirect(self, redirect: Redirect, state: _State) -> Iterator[Finding]:
        target = redirect.target
        if target.text is None or target.is_split:
            yield self._not_understood(f"which file {target.source} stands for is known only when it runs")
            return
        if target.text in _STREAMS:
            return
        if _NETWORK.match(os.path.normpath(target.text)):
            yield self._not_understood(f"{target.text} is a connection")
            return
        want = Want.READ if redirect.access is Direction.READ else Want.WRITE
        if want is Want.WRITE:
            state.changing.add(state.part)
        for folder in sorted(state.folders):
            yield self._path(want, target.text, folder, state)

    # --- one command --------------------------------------------------------------------------------------------------

    def _words(
        self, words: tuple[Word, ...], state: _State, *, depth: int, is_in_loop: bool, is_sure: bool = False
    ) -> list[Finding]:
        """What is found about one command and those that it runs."""
        if depth > _MAX_NESTED:
            raise NotUnderstoodError("it is nested too deeply")
        check_name(words[0])
        name = words[0].text
        state.programs.append(program_name(name) if name is not None else words[0].source)
        found = [by_rule(rule, f"{_shown(words)}") for rule in self._deny if names_command(rule, words)]
        found += [by_rule(rule, f"{_shown(words)}") for rule in self._ask if names_command(rule, words)]
        if name is None or words[0].is_split:
            return [*found, self._not_understood("which program runs is known only when it does")]
        rule = next((rule for rule in self._allow if allows_command(rule, words)), None)
        inner = self._inner(words, state, depth=depth, is_in_loop=is_in_loop)
        if inner is not None:
            inside, is_harmless = inner
            if is_harmless and not any(each.effect is not Effect.ALLOW for each in inside):
                return [*found, *inside]
            if rule is None or rule.detail is None:
                found += inside
            else:
                found += [each for each in inside if each.is_lasting]
            if is_harmless and (rule is None or rule.detail is None):
                return found
        return [*found, *self._program(words, rule, state, is_in_loop=is_in_loop, is_sure=is_sure)]

    def _inner(
        self, words: tuple[Word, ...], state: _State, *, depth: int, is_in_loop: bool, is_sure: bool = False
    ) -> tuple[list[Finding], bool] | None:
        """What is found about the commands that a command runs; None where it runs none, or nobody can tell."""
        try:
            inner = inner_commands(words)
        except NotHarmlessError:
            return None
        if not inner:
            return None
        found: list[Finding] = []
        for each in inner:
            for text in each.assignments:
                name, _, value = text.partition("=")
                if not _ENVIRONMENT_NAME.fullmatch(name):
                    return None
                set_ = Assignment(name=name, value=Word(text=value, source=value))
                found += self._assignment(set_, is_local=False)
            found += self._inner_command(each, state, depth=depth, is_in_loop=is_in_loop)
        return found, all(each.is_harmless for each in inner)

    def _inner_command(
        self, inner: Inner, state: _State, *, depth: int, is_in_loop: bool, is_sure: bool = False
    ) -> list[Finding]:
        if inner.script is None:
            return self._words(inner.words, state, depth=depth + 1, is_in_loop=is_in_loop)
        inside = _State(folders=set(state.folders), part=state.part * 1000)
        try:
            self._script(inner.script, inside, depth=depth + 1, plain_sh=inner.plain_sh)
        except NotUnderstoodError as error:
            inside.findings.append(self._not_understood(error.reason))
        self._check_order(inside)
        state.programs += inside.programs
        state.touched += inside.touched
        state.moved += inside.moved
        state.changing |= inside.changing
        state.git |= inside.git
        return inside.findings

    def _program(
        self, words: tuple[Word, ...], rule: Rule | None, state: _State, *, is_in_loop: bool, is_sure: bool = False
    ) -> list[Finding]:
        """What is found about a program itself: by the list of what is harmless, else by the rule."""
        try:
            effects = effects_of(words, assigned=state.assigned)
            if effects.enters is not None and is_in_loop:
                raise NotHarmlessError("cd in a loop: the folder in which commands run cannot be told")
        except NotHarmlessError as error:
            return self._by_rule(words, rule, error.reason, state)
        if effects.is_change:
            state.changing.add(state.part)
            if self._mode is Mode.PLAN:
                return [plan_denies(_shown(words))]
        touched = [
            finding for folder in sorted(state.folders) for finding in self._effects(effects, rule, folder, state)
        ]
        if effects.enters is not None:
            touched += self._enter(effects.enters, state, is_sure=is_sure)
        if effects.is_git:
            touched += self._git(state)
        if rule is not None:
            allowed = replace(by_rule(rule, _shown(words)), is_confined=any(each.is_confined for each in touched))
            return [allowed, *(each for each in touched if each.is_lasting)]
        return touched or [
            Finding(effect=Effect.ALLOW, reason=f"{_shown(words)} is harmless.", rule="harmless command")
        ]

    def _by_rule(self, words: tuple[Word, ...], rule: Rule | None, why: str, state: _State) -> list[Finding]:
        """A command that is not harmless."""
        if self._mode is Mode.PLAN:
            return [plan_denies(_shown(words))]
        found = [each for folder in sorted(state.folders) for each in self._literal_paths(words, folder)]
        state.changing.add(state.part)
        name = program_name(words[0].text or "").casefold()
        runs_others = name in catalogue().run_others or name in catalogue().wrappers
        if self._mode is Mode.BYPASS or (rule is not None and rule.detail is None):
            if runs_others and self._is_restricted:
                reason = f"{words[0].source} can run other programs, and rules deny or ask about some"
                found.append(self._not_understood(reason))
            elif self._mode is Mode.BYPASS:
                found.append(Finding(effect=Effect.ALLOW, reason="The mode bypass allows it.", rule="mode bypass"))
        if rule is not None:
            found.append(replace(by_rule(rule, _shown(words)), is_confined=self._mode is not Mode.BYPASS))
        elif self._mode is not Mode.BYPASS:
            suggestion = _suggestion(words)
            found.append(
                Finding(
                    effect=Effect.ASK,
                    reason=f"{_shown(words)} needs a rule: {why}. Go another way, or do without it.",
                    rule="no rule",
                    suggestion=suggestion,
                )
            )
        return found

    def _literal_paths(self, words: Sequence[Word], folder: Path) -> Iterator[Finding]:
        """What `deny` and `ask` rules for paths say about the words of a command whose options are not known."""
        if not self._access.is_restricted:
            return
        for word in words[1:]:
            text = word.text
            if text is None:
                continue
            for path in {text, text.partition("=")[2], text[2:] if text.startswith("-") else ""} - {""}:
                for want in Want:
                    found = self._access.judge(want, path, cwd=folder)
                    if found.is_lasting and found.source is not None:
                        yield found

    # --- what it touches ----------------------------------------------------------------------------------------------

    def _path(self, want: Want, path: str, folder: Path, state: _State, *, by_rule_: bool = False) -> Finding:
        resolved = self._access.resolve(path, cwd=folder)
        if resolved is not None:
            state.touched.append((state.part, resolved))
        return self._access.judge(want, path, cwd=folder, changes_anyway=by_rule_)

    def _effects(self, effects: Effects, rule: Rule | None, folder: Path, state: _State) -> Iterator[Finding]:
        for touch, path in effects.touches:
            want = Want.WRITE if touch is Touch.WRITE else Want.READ
            yield self._path(want, path, folder, state, by_rule_=rule is not None)
            resolved = self._access.resolve(path, cwd=folder)
            if resolved is None or self._mode is Mode.BYPASS:
                continue
            if touch is Touch.READ_FILE and resolved.is_dir() and effects.transfer is None:
                yield self._asked(f"{path} is a folder; name the files in it", "folder instead of a file")
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
            yield self._asked(f"{path} is read whole, and the agent may read only part of it", "scope")
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
            yield self._asked(f"{path} holds more than can be looked through", "too many files")
            return
        hidden = next((each for each in inside if access.hides(Path(os.path.realpath(each)))), None)
        if hidden is not None:
            denied = access.judge(Want.READ, str(hidden), cwd=folder)
            yield replace(denied, reason=f"{denied.reason} It lies in {path}; name the files to be read.")

    def _transfer(self, effects: Effects, folder: Path, state: _State) -> Iterator[Finding]:
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
        for source in sources:
            name = source.rstrip("/").rpartition("/")[2]
            if name in (".", "..", ""):
                yield self._asked(f"{source} has no name of its own", "folder without a name")
                continue
            # Whether the target is a folder may change before it runs: both ends must be allowed.
            ends = (target,) if effects.target_is_file else (target, f"{target}/{name}")
            for end in ends:
                yield self._path(Want.WRITE, end, folder, state)
                if effects.is_recursive:
                    yield from self._contents(source, folder, as_=end)
                    if self._may_hold_links(folder / source):
                        state.moved.append((state.part, as_written(folder, end)))
            final = ends[-1] if is_folder else target
            if effects.transfer == "cp" and (folder / source).is_dir() and (folder / final).exists():
                yield self._asked(f"{final} is there already; links in it may lead anywhere", "copy onto a folder")

    def _contents(self, path: str, folder: Path, *, as_: str | None) -> Iterator[Finding]:
        """Whether what is in a folder is protected, where it is or where it will be."""
        start = folder / path
        if not start.is_dir() or start.is_symlink():
            return
        inside = self._access.beneath(start)
        if inside is None:
            yield self._asked(f"{path} holds more than can be looked through", "too many files")
            return
        for each in inside:
            forms = [each] if as_ is None else [each, folder / as_ / each.relative_to(start)]
            for form in forms:
                plain = as_written(Path("/"), str(form))
                relative = plain.relative_to(self._access.root) if plain.is_relative_to(self._access.root) else plain
                entry = protection_of(str(relative))
                if entry is not None:
                    yield replace(
                        self._asked(
                            f"{relative} in it is protected, because {entry.why}", f"protected path {entry.name}"
                        ),
                        is_lasting=True,
                    )
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

    def _enter(self, path: str, state: _State, *, is_sure: bool) -> Iterator[Finding]:
        for folder in sorted(state.folders):
            entered = self._access.resolve(path, cwd=folder)
            if entered is None or entered != as_written(folder, path):
                yield self._asked(f"cd {path}: links on the way make it unclear where it leads", "cd through a link")
            elif is_sure and entered.is_dir():
                state.folders = {entered}
            else:
                state.folders.add(entered)
                if len(state.folders) > 32:
                    yield self._asked("the folder changes too often", "too many folders")
                    return

    def _git(self, state: _State) -> Iterator[Finding]:
        """Git runs what a repository's configuration says, and takes any folder that looks like one for one."""
        for folder in sorted(state.folders):
            if folder == self._access.root and (folder / ".git").exists():
                continue
            state.git.add(state.part)
            below = [each for each in (folder, *folder.parents) if each.is_relative_to(self._access.root)]
            if not folder.is_dir() or any((each / "HEAD").exists() for each in below if not (each / ".git").exists()):
                yield self._asked(f"git in {folder.name}: which repository it finds cannot be told", "git in a folder")

    def _check_order(self, state: _State) -> None:
        """Refuses lines in which one part may change what another was judged by."""
        for part, moved in state.moved:
            for other, path in state.touched:
                if other != part and (path == moved or path.is_relative_to(moved)):
                    state.findings.append(
                        self._asked(
                            f"links may be moved to {moved.name} before it is used", "moved and used in one line"
                        )
                    )
                    return
        if state.git and state.changing - state.git:
            state.findings.append(
                self._asked("git runs in a folder that the same line changes", "changed and used in one line")
            )

    def _asked(self, why: str, rule: str) -> Finding:
        if self._mode is Mode.BYPASS:
            return Finding(effect=Effect.ALLOW, reason="The mode bypass allows it.", rule="mode bypass")
        return Finding(effect=Effect.ASK, reason=f"It cannot be told to be harmless: {why}.", rule=rule)


def _shown(words: Sequence[Word]) -> str:
    text = " ".join(word.source for word in words)
    return text if len(text) <= 120 else f"{text[:119]}…"


def _suggestion(words: Sequence[Word]) -> str | None:
    """A rule that would have allowed a command: its name and, where it has one, its subcommand."""
    name = words[0].text
    if name is None or not re.fullmatch(r"[\w./+-]+", name):
        return None
    second = words[1].text if len(words) > 1 else None
    if second is not None and re.fullmatch(r"[a-z][a-z0-9:-]*", second):
        return f"Bash({name} {second}:*)"
    return f"Bash({name}:*)"
