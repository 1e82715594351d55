"""Whether a shell command may run: every part of it must be allowed (DESIGN 9)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from callsheet.model.dataclass import dataclass
from callsheet.permissions.access import Access, Finding, Want, by_rule, plan_denies, worst
from callsheet.permissions.matching import allows_command, names_command, program_name
from callsheet.permissions.modes import Mode
from callsheet.permissions.reach import Reach, State
from callsheet.permissions.rules import Effect, Family, Rule
from callsheet.permissions.shell.effects import Inner, effects_of, inner_commands
from callsheet.permissions.shell.known import NotHarmlessError, catalogue
from callsheet.permissions.shell.simple import Access as Direction
from callsheet.permissions.shell.simple import Assignment, Command, Redirect
from callsheet.permissions.shell.syntax import check_name, read_command
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
        is_read_only: All of it is known, and changes nothing.
        reads: Paths that it names and reads.
    """

    finding: Finding
    programs: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    is_read_only: bool = False
    reads: tuple[Path, ...] = ()


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
        self._reach = Reach(access, mode=mode)
        self._mode = mode
        self._cwd = cwd
        self._home = str(home)

    def decide(self, command: str, *, folder: Path | None = None) -> Verdict:
        """Decides about a command line; runs nothing. It starts in `folder`, where one is given, else in `cwd`."""
        if not command.strip():
            return Verdict(finding=Finding(effect=Effect.DENY, reason="The command is empty.", rule="no command"))
        whole = next((rule for rule in self._deny if rule.detail is None), None)
        if whole is not None:
            return Verdict(finding=by_rule(whole, "shell commands"))
        state = State(folders={folder or self._cwd})
        is_understood = True
        try:
            self._script(command, state, depth=0, plain_sh=False)
        except NotUnderstoodError as error:
            is_understood = False
            state.findings.append(self._not_understood(error.reason))
        self._reach.check_order(state)
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
        return Verdict(
            finding=found,
            programs=tuple(dict.fromkeys(state.programs)),
            suggestions=tuple(suggestions),
            is_read_only=is_understood and not state.changing and not any(map(_is_guess, state.findings)),
            reads=tuple(dict.fromkeys(state.read)),
        )

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
            reason=f"What the command does cannot be told: {reason}.",
            advice="Write it more plainly, or in several commands.",
            rule="not understood",
            is_lasting=True,
        )

    # --- the parts of a line ------------------------------------------------------------------------------------------

    def _script(self, text: str, state: State, *, depth: int, plain_sh: bool) -> None:
        if depth > _MAX_NESTED:
            raise NotUnderstoodError("it is nested too deeply")
        commands = read_command(text, home=self._home, plain_sh=plain_sh)
        state.assigned |= {each.name for command in commands if not command.words for each in command.assignments}
        for command in commands:
            state.part += 1
            self._command(command, state, depth=depth)

    def _command(self, command: Command, state: State, *, depth: int) -> None:
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
        if is_local and _LOCAL_NAME.fullmatch(name) and "proxy" not in name:
            return
        if name in catalogue().harmless_variables and value is not None and "/" not in value:
            return
        if self._mode is Mode.BYPASS:
            yield Finding(effect=Effect.ALLOW, reason="The mode bypass allows it.", rule="mode bypass")
            return
        yield Finding(
            effect=Effect.ASK,
            reason=f"Setting {name} may change what programs run.",
            advice="Leave it out.",
            rule=f"variable {name}",
            is_lasting=True,
        )

    def _redirect(self, redirect: Redirect, state: State) -> Iterator[Finding]:
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
            yield self._reach.path(want, target.text, folder, state)

    # --- one command --------------------------------------------------------------------------------------------------

    def _words(
        self, words: tuple[Word, ...], state: State, *, depth: int, is_in_loop: bool, is_sure: bool = False
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
        self, words: tuple[Word, ...], state: State, *, depth: int, is_in_loop: bool, is_sure: bool = False
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
        self, inner: Inner, state: State, *, depth: int, is_in_loop: bool, is_sure: bool = False
    ) -> list[Finding]:
        if inner.script is None:
            return self._words(inner.words, state, depth=depth + 1, is_in_loop=is_in_loop)
        inside = State(folders=set(state.folders), part=state.part * 1000)
        try:
            self._script(inner.script, inside, depth=depth + 1, plain_sh=inner.plain_sh)
        except NotUnderstoodError as error:
            inside.findings.append(self._not_understood(error.reason))
            inside.changing.add(inside.part)
        self._reach.check_order(inside)
        state.programs += inside.programs
        state.touched += inside.touched
        state.read += inside.read
        state.moved += inside.moved
        state.changing |= inside.changing
        state.git |= inside.git
        state.opening |= inside.opening
        return inside.findings

    def _program(
        self, words: tuple[Word, ...], rule: Rule | None, state: State, *, is_in_loop: bool, is_sure: bool = False
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
            finding for folder in sorted(state.folders) for finding in self._reach.touches(effects, rule, folder, state)
        ]
        if effects.enters is not None:
            touched += self._reach.enter(effects.enters, state, is_sure=is_sure)
        if effects.is_git:
            touched += self._reach.git(state)
        if rule is not None:
            allowed = replace(by_rule(rule, _shown(words)), is_confined=any(each.is_confined for each in touched))
            return [allowed, *(each for each in touched if each.is_lasting)]
        return touched or [
            Finding(effect=Effect.ALLOW, reason=f"{_shown(words)} is harmless.", rule="harmless command")
        ]

    def _by_rule(self, words: tuple[Word, ...], rule: Rule | None, why: str, state: State) -> list[Finding]:
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
                    reason=f"{_shown(words)} needs a rule: {why}.",
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


def _is_guess(found: Finding) -> bool:
    """Whether nobody knows what a part of a command does, whatever was decided about it."""
    is_known = found.path is not None  # which path it is about; changes of it are counted elsewhere
    return not is_known and (found.rule in ("not understood", "mode bypass") or found.rule.startswith("variable "))


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
