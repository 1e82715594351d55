"""Whether a path may be read or written: rules, workspace, scope, protected paths, mode, in one place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path

from callsheet.model.dataclass import dataclass
from callsheet.model.names import KEY_ENDING
from callsheet.permissions.matching import covers_path
from callsheet.permissions.modes import Mode
from callsheet.permissions.paths import PathDecision, PathPolicy, as_written, protection_of, where
from callsheet.permissions.rules import Effect, Family, Rule

MAX_WALKED = 50_000
RECORD = ".callsheet"

_READING = frozenset({Family.READ, Family.EVERYTHING})
_EDITING = frozenset({Family.EDIT, Family.EVERYTHING})


class Want(Enum):
    """What is to be done with a path."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one part of a tool call.

    Attributes:
        effect: Allow, ask or deny.
        reason: For people and the agent: why.
        advice: For the agent alone: what it can do instead; empty where there is nothing special to say.
        rule: The rule that decided, as written, or what decided in a few words.
        source: The file or flag that the rule stands in; None where no rule decided.
        is_confined: It may run only under confinement.
        is_lasting: No `allow` rule for a program changes it: a rule said so, a protected path.
        suggestion: A rule that would have allowed it.
        path: Where the path that was judged leads, all links followed.
    """

    effect: Effect
    reason: str
    rule: str
    source: str | None = None
    advice: str = ""
    is_confined: bool = False
    is_lasting: bool = False
    suggestion: str | None = None
    path: Path | None = None


def by_rule(rule: Rule, what: str) -> Finding:
    """What a rule decides about something."""
    verb = {Effect.ALLOW: "allows", Effect.ASK: "wants to be asked about", Effect.DENY: "denies"}[rule.effect]
    broken = ", which cannot be read and so stands for all it may mean," if rule.is_broken else ""
    return Finding(
        effect=rule.effect,
        reason=f"The rule {rule.text!r} of {rule.origin.name}{broken} {verb} {what}.",
        advice="Go another way." if rule.effect is Effect.DENY else "",
        rule=rule.text,
        source=rule.origin.name,
        is_lasting=rule.effect is not Effect.ALLOW,
    )


def worst(findings: Iterable[Finding]) -> Finding | None:
    """The finding that decides: deny before ask before allow, the first of them; a lasting one before others."""
    ranked = sorted(findings, key=lambda finding: (-finding.effect.weight, not finding.is_lasting))
    return ranked[0] if ranked else None


class Access:
    """Decides about paths.

    Args:
        policy: The workspace, the agent's folder in it, its scope.
        rules: All rules that hold.
        mode: What is accepted where no rule says anything.
        folders: Further folders in which files may be read and edited.
        is_scoped: The agent may read only part of the workspace.
        narrowed: What the agent may do in part of the workspace only, or not at all: outside it nothing of that is
            possible, whatever rules say.
    """

    def __init__(
        self,
        policy: PathPolicy,
        rules: Sequence[Rule],
        *,
        mode: Mode,
        cwd: Path,
        folders: Sequence[Path] = (),
        is_scoped: bool = False,
        narrowed: frozenset[Want] = frozenset(),
    ) -> None:
        self._policy = policy
        self._mode = mode
        self._cwd = cwd
        self._folders = tuple(Path(os.path.realpath(folder)) for folder in folders)
        self._reading = [rule for rule in rules if rule.family in _READING]
        self._editing = [rule for rule in rules if rule.family in _EDITING]
        self._narrowed = narrowed
        self.is_scoped = is_scoped

    @property
    def root(self) -> Path:
        """The root of the workspace."""
        return self._policy.root

    @property
    def has_hidden(self) -> bool:
        """Whether a rule denies reading something."""
        return any(rule.effect is Effect.DENY for rule in self._reading)

    @property
    def is_restricted(self) -> bool:
        """Whether a rule denies or asks about paths."""
        return any(rule.effect is not Effect.ALLOW for rule in (*self._reading, *self._editing))

    def resolve(self, path: str, *, cwd: Path) -> Path | None:
        """Where a path leads."""
        return where(cwd, path) if path and "\0" not in path else None

    def judge(self, want: Want, path: str, *, cwd: Path, changes_anyway: bool = False) -> Finding:
        """Whether a path may be read or written from a folder.

        Args:
            want: What is to be done.
            path: As written; relative to `cwd`.
            cwd: A real folder.
            changes_anyway: A rule already allows the change as such; only what lasts counts.
        """
        joined = path if path.startswith("/") or not path else f"{cwd}/{path}"
        decided = self._policy.read(joined) if want is Want.READ else self._policy.write(joined)
        resolved = decided.path or self.resolve(path, cwd=cwd)
        if resolved is None:
            return _denied(decided) if decided.rule == "not a path" else _asked(decided)
        found = self._judged(want, path, resolved, decided, cwd=cwd, changes_anyway=changes_anyway)
        return replace(found, path=resolved)

    def _judged(
        self, want: Want, path: str, resolved: Path, decided: PathDecision, *, cwd: Path, changes_anyway: bool
    ) -> Finding:
        found = self._by_rules(want, path, (resolved, as_written(cwd, path)))
        if found is not None and found.effect is Effect.DENY:
            return found
        if resolved.name.endswith(KEY_ENDING):
            return _denied(replace(decided, reason=f"{path} lets people control a run; leave it alone.", rule=RECORD))
        if decided.rule in (RECORD, "scope", "read-only agent") and not decided.allowed:
            return _denied(decided)
        if decided.rule == "outside the workspace" and want in self._narrowed:
            return replace(_denied(decided), rule="scope")
        if self._mode is Mode.BYPASS:
            return found or _allowed("mode bypass", "The mode bypass allows what no rule names.")
        if want is Want.WRITE and self._mode is Mode.PLAN:
            return plan_denies(f"changing {path}")
        guarded = self._protection(want, path, resolved, decided, cwd)
        if guarded is not None:
            return guarded
        if found is not None:
            return found
        return self._by_default(want, path, resolved, decided, changes_anyway=changes_anyway)

    def hides(self, path: Path) -> bool:
        """Whether a `deny` rule keeps a path, all links followed, out of what glob, grep and commands show."""
        return path.name.endswith(KEY_ENDING) or any(
            rule.effect is Effect.DENY and covers_path(rule, path, cwd=self._cwd) for rule in self._reading
        )

    def beneath(self, folder: Path, *, hidden_too: bool = True) -> Iterable[Path] | None:
        """Everything in a folder, links not followed; None where it is more than can be looked at."""
        found: list[Path] = []
        for here, folders, files in os.walk(folder):
            if not hidden_too:
                folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(here, name) for name in (*folders, *files)]
            if len(found) > MAX_WALKED:
                return None
        return found

    def _by_rules(self, want: Want, path: str, forms: Sequence[Path]) -> Finding | None:
        rules = self._reading if want is Want.READ else self._editing
        matching = [
            rule
            for rule in rules
            if covers_path(rule, forms[0], cwd=self._cwd)
            or (rule.effect is not Effect.ALLOW and any(covers_path(rule, form, cwd=self._cwd) for form in forms))
        ]
        if not matching:
            return None
        strongest = max(matching, key=lambda rule: rule.effect.weight)
        return by_rule(strongest, f"{'reading' if want is Want.READ else 'changing'} {path}")

    def _protection(self, want: Want, path: str, resolved: Path, decided: PathDecision, cwd: Path) -> Finding | None:
        """Protected paths, by where they lead and by the name they are called by."""
        if want is Want.READ:
            return None
        if decided.rule.startswith("protected path"):
            return replace(_asked(decided), is_lasting=True)
        named = as_written(cwd, path)
        for form in (named, resolved):
            inside = form.relative_to(self.root) if form.is_relative_to(self.root) else form.relative_to("/")
            entry = protection_of(str(inside))
            if entry is not None:
                return Finding(
                    effect=Effect.ASK,
                    reason=f"{path} is protected: {entry.name} may not be changed by agents, because {entry.why}.",
                    rule=f"protected path {entry.name}",
                    is_lasting=True,
                )
        return None

    def _by_default(
        self, want: Want, path: str, resolved: Path, decided: PathDecision, *, changes_anyway: bool
    ) -> Finding:
        is_added = any(resolved.is_relative_to(folder) for folder in self._folders)
        if not decided.allowed and not is_added:
            tool = "Read" if want is Want.READ else "Edit"
            if decided.rule != "outside the workspace":
                return _denied(decided)
            return replace(_asked(decided), suggestion=f"{tool}(/{resolved})")
        if want is Want.WRITE and self._mode is Mode.ASK and not changes_anyway:
            shown = decided.relative or f"/{resolved}"
            return Finding(
                effect=Effect.ASK,
                reason=f"In mode ask each change is asked: {path}.",
                rule="mode ask",
                suggestion=f"Edit({shown})",
            )
        where_ = "an added folder" if is_added else decided.rule
        return _allowed(where_, f"{path} lies in {'an added folder' if is_added else f'the {decided.rule}'}.")


def plan_denies(what: str) -> Finding:
    """What the mode plan says about changes."""
    return Finding(
        effect=Effect.DENY,
        reason=f"The mode plan only reads; {what} is not possible.",
        advice="Say in your answer what should be done.",
        rule="mode plan",
        is_lasting=True,
    )


def _allowed(rule: str, reason: str) -> Finding:
    return Finding(effect=Effect.ALLOW, reason=reason, rule=rule)


def _asked(decided: PathDecision) -> Finding:
    return Finding(effect=Effect.ASK, reason=decided.reason, rule=decided.rule)


def _denied(decided: PathDecision) -> Finding:
    return Finding(effect=Effect.DENY, reason=decided.reason, rule=decided.rule, is_lasting=True)
