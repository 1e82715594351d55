"""What a person is shown before a run, and what the line means that they type. Knows no terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

from callsheet.app.approving import Foreseen, Standing
from callsheet.app.granted import Grant
from callsheet.app.plan_words import plan_words
from callsheet.cli.question import cut_words
from callsheet.cli.rehearsal_lines import rehearsal_lines
from callsheet.cli.summary import Line
from callsheet.model.dataclass import dataclass
from callsheet.model.script import Finding, Script
from callsheet.views.safe_text import one_line, visible

Choice: TypeAlias = Literal["run", "always", "view", "edit", "details", "save", "no"]

PROMPT = "choice: "
EDIT_KEY, ESCAPE_KEY = "\x07", "\x1b"
"""Ctrl-G and Esc, which say something without Enter."""

_NAME_CHARS = 60
_DESCRIPTION_CHARS = 400
_MOST_WARNINGS = 3
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
    for said in plan_words(foreseen, granted, key="d"):
        yield from _about(said.about, said.words, width, "yellow" if said.is_striking else "")
    if is_nested:
        words = "it runs other workflows too: v does not show those"
        yield from _about("nested", words, width)
    for finding in findings[:_MOST_WARNINGS]:
        line = "" if finding.place is None else f"line {finding.place.line}: "
        yield from _about("warning", f"{line}{one_line(finding.message, 200)}", width, "yellow")
    if len(findings) > _MOST_WARNINGS:
        yield from _about("", f"{len(findings) - _MOST_WARNINGS} more warnings (d shows them)", width, "yellow")


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
