"""What a person is shown before a run, and what the line means that they type. Knows no terminal."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

from callsheet.app.approving import Foreseen, Standing
from callsheet.app.granted import Grant
from callsheet.cli.question import cut_words
from callsheet.cli.rehearsal_lines import cost_words, rehearsal_lines, token_words
from callsheet.cli.summary import Line
from callsheet.model.dataclass import dataclass
from callsheet.model.rehearsal import NamedUse, Range, Rehearsal
from callsheet.model.script import Finding, Script
from callsheet.views.figures import duration
from callsheet.views.safe_text import one_line, visible

Choice: TypeAlias = Literal["run", "always", "view", "edit", "details", "save", "no"]

PROMPT = "choice: "
EDIT_KEY, ESCAPE_KEY = "\x07", "\x1b"
"""Ctrl-G and Esc, which say something without Enter."""

_NAME_CHARS = 60
_TITLE_CHARS = 30
_DESCRIPTION_CHARS = 400
_MOST_PHASES, _MOST_NAMED, _MOST_WARNINGS = 12, 4, 3
_LABEL_CELLS = 10

_WORDS: dict[str, Choice] = {
    "r": "run", "run": "run", "y": "run", "yes": "run",
    "a": "always", "always": "always",
    "v": "view", "view": "view",
    "e": "edit", "edit": "edit",
    "d": "details", "details": "details",
    "w": "save", "write": "save", "save": "save",
    "n": "no", "no": "no", "q": "no", "quit": "no",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a person may choose beside running the script and leaving it.

    Attributes:
        why_not_always: Why no yes can be remembered; None where one can.
        saves_to: Where the edited script can be saved; None where there is nothing to save.
    """

    why_not_always: str | None = None
    saves_to: str | None = None
    is_edited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What is said to a line that is no choice."""

    words: str


def head_lines(script: Script, *, place: str, folder: str, standing: Standing, width: int) -> Iterator[Line]:
    """What is known at once: name, description, where the script is from, and what was said before of it."""
    yield Line("")
    yield Line(f"? Run {one_line(script.meta.name, _NAME_CHARS)}?", "bold yellow")
    # Behind a bar, so that none of it looks like a line of ours.
    description = one_line(script.meta.description, _DESCRIPTION_CHARS)
    yield from (Line(f"  │ {row}") for row in cut_words(description, width))
    yield from _about("script", f"{one_line(place)} · sha256 {script.sha256[:12]}", width)
    yield from _about("folder", one_line(folder), width)
    if standing.before is not None and standing.changes:
        when = one_line(standing.before.at[:16].replace("T", " "))
        said = "; ".join(one_line(change, 100) for change in standing.changes)
        yield from _about("changed", f"since you approved it, {when} UTC: {said}", width, "bold yellow")


def place_of(script: Script, *, start: str, home: str, comes_along: bool) -> str:
    """Where a script is from, as short as it is clear."""
    if comes_along:
        return "comes with Callsheet"
    if script.path is None:
        return script.origin
    relative = os.path.relpath(script.path, start)
    if not relative.startswith(os.pardir + os.sep):
        return relative
    inside = os.path.relpath(script.path, home)
    return script.path if inside.startswith(os.pardir + os.sep) else f"~/{inside}"


def plan_lines(
    foreseen: Foreseen, granted: Iterable[Grant], findings: Sequence[Finding], *, is_nested: bool, width: int
) -> Iterator[Line]:
    """What the rehearsal told, what agents may do, and what the checker has to say."""
    if foreseen.fault is not None:
        unknown = "what it would do is not known" if foreseen.told is None else "there may be more than is told here"
        yield from _about("foreseen", f"{one_line(foreseen.fault, 300)}: {unknown}", width, "yellow")
    if foreseen.told is not None:
        yield from _told(foreseen.told, width, is_whole=foreseen.fault is None)
    for grant in granted:
        yield from _about(grant.about, one_line(grant.words, 300), width, "yellow" if grant.is_wide else "")
    if foreseen.told is not None:
        yield from _asked(foreseen.told, width)
    if is_nested:
        words = "it runs other workflows too: v does not show those"
        yield from _about("nested", words, width)
    for finding in findings[:_MOST_WARNINGS]:
        line = "" if finding.place is None else f"line {finding.place.line}: "
        yield from _about("warning", f"{line}{one_line(finding.message, 200)}", width, "yellow")
    if len(findings) > _MOST_WARNINGS:
        yield from _about("", f"{len(findings) - _MOST_WARNINGS} more warnings (d shows them)", width, "yellow")


def _told(told: Rehearsal, width: int, *, is_whole: bool) -> Iterator[Line]:
    if told.error is not None:
        place = "" if told.error.line is None else f" (line {told.error.line})"
        words = f"the script did not return in the rehearsal{place}: {one_line(told.error.message, 200)}"
        yield from _about("foreseen", words, width, "yellow")
    phases = [f"{one_line(phase.title or 'no phase', _TITLE_CHARS)} {phase.agents:,}" for phase in told.phases]
    if len(phases) > 1 or any(phase.title is not None for phase in told.phases):
        more = [f"{len(phases) - _MOST_PHASES} more"] if len(phases) > _MOST_PHASES else []
        yield from _about("phases", " · ".join([*phases[:_MOST_PHASES], *more]), width)
    yield from _about("agents", _agent_words(told) if is_whole else f"at least {told.agents:,}", width)
    models = Counter[str]()
    for group in told.groups:
        models[(group.model or "") + (" (fast)" if group.speed == "fast" else "")] += group.agents
    named = [f"{one_line(name, 40)} {number:,}" for name, number in models.most_common() if name]
    if named:
        yield from _about("models", " · ".join(named[:_MOST_NAMED]), width)
    if told.agents:
        yield from _about("cost", _cost(told, is_whole=is_whole), width)


def _agent_words(told: Rehearsal) -> str:
    if told.is_exact and not told.agents:
        number = "none"
    elif told.is_exact:
        number = f"{told.agents:,}, whatever they answer"
    elif told.agents_low == told.agents_high:
        number = f"{told.agents:,} with made-up answers; real ones may lead to others"
    else:
        number = f"{told.agents:,} with made-up answers, {told.agents_low:,} to {told.agents_high:,} with others"
    return f"{number} · at most {told.most_at_once:,} at once" if told.agents > 1 else number


def _cost(told: Rehearsal, *, is_whole: bool) -> str:
    if told.cost_usd == Range():
        return "nothing"
    if not is_whole:
        return f"more than {cost_words(told.cost_usd)}"
    return f"{cost_words(told.cost_usd)} · {token_words(told.tokens)} tokens · about {duration(told.duration_s)}"


def _asked(told: Rehearsal, width: int) -> Iterator[Line]:
    """What prompts name and rules do not simply allow, and what calls want and will not get."""
    uses = (*told.commands.named, *told.hosts.named)
    for verdict, about in (("ask", "asks you"), ("deny", "denied")):
        named = [use for use in uses if use.verdict == verdict]
        if named:
            yield from _about(about, f"prompts name {_names(named)}", width)
    if told.violations:
        first = one_line(told.violations[0].message, 160)
        more = f" · {len(told.violations) - 1} more (d)" if len(told.violations) > 1 else ""
        yield from _about("not had", f"{first}{more}", width, "yellow")


def _names(named: Sequence[NamedUse]) -> str:
    more = f" and {len(named) - _MOST_NAMED} more (d)" if len(named) > _MOST_NAMED else ""
    return ", ".join(one_line(use.name, 40) for use in named[:_MOST_NAMED]) + more


def _about(about: str, words: str, width: int, style: str = "") -> Iterator[Line]:
    first, *rest = cut_words(words, width - _LABEL_CELLS)
    yield Line(f"  {about:<{_LABEL_CELLS}}{first}", style)
    yield from (Line(f"  {'':<{_LABEL_CELLS}}{row}", style) for row in rest)


def choice_lines(name: str, offered: Offered, *, width: int) -> Iterator[Line]:
    """What can be typed. Where a yes cannot be remembered it is said why."""
    yield Line("")
    run = "r run the edited script" if offered.is_edited else "r run"
    always = f"a run, and do not ask again for {one_line(name, 40)} in this folder"
    view = "v view the script · e or Ctrl-G edit it · d all that is foreseen · n no"
    if offered.is_edited:
        save = f" · w save it to {one_line(offered.saves_to)}" if offered.saves_to is not None else ""
        words = [f"{run}{save}", view]
    elif offered.why_not_always is not None:
        words = [f"{run} (it cannot be remembered: {one_line(offered.why_not_always, 200)})", view]
    else:
        words = [f"{run} · {always}", view]
    yield from (Line(f"  {row}") for each in words for row in cut_words(each, width))


def meaning(typed: str, offered: Offered) -> Choice | Remark:
    """What a typed line means: a choice, or what to type instead."""
    if typed.endswith(EDIT_KEY):
        return "edit"
    if typed.endswith(ESCAPE_KEY):
        return "no"
    choice = _WORDS.get(typed.strip().lower())
    if choice == "always" and offered.is_edited:
        return Remark(words="what is remembered is the script in its file: this one was edited, and is not there")
    if choice == "always" and offered.why_not_always is not None:
        return Remark(words="it cannot be remembered: type r, v, e, d or n, then Enter")
    if choice == "save" and offered.saves_to is None:
        choice = None
    if choice is not None:
        return choice
    letters = "r, w, v" if offered.saves_to is not None else "r, v" if offered.is_edited else "r, a, v"
    return Remark(words=f"type {letters}, e, d or n, then Enter")


def script_lines(text: str) -> Iterator[str]:
    """The script as text, each line with its number: nothing in it moves the cursor."""
    for number, line in enumerate(visible(text).split("\n"), start=1):
        yield f"{number:>5}  {line}"


def detail_lines(foreseen: Foreseen, granted: Iterable[Grant]) -> Iterator[str]:
    """All that is known of the run."""
    if foreseen.fault is not None:
        yield one_line(foreseen.fault)
    if foreseen.told is not None:
        yield from rehearsal_lines(foreseen.told)
    yield "agents may:"
    yield from (f"  {grant.about:<{_LABEL_CELLS}}{one_line(grant.words)}" for grant in granted)
