"""A question as a person reads it on a terminal, and what the line means that they type. Knows no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.cells import cell_len, chop_cells

from callsheet.app.quantities import parse_more_usd
from callsheet.cli.summary import Line
from callsheet.model.approval import Answer, Question, ScriptShown, Verdict
from callsheet.views.figures import count, money
from callsheet.views.safe_text import one_line, visible

PROMPT = "answer: "
BY = "person at the terminal"

_MOST_ROWS = 60
"""Rows of an input that are shown at first; `s` shows all of them."""
_GUTTER = "  │ "
_FEWEST_CELLS = 20
_NAME_CHARS = 60
_MOST_PLAN_CHARS = 300
LABEL_CELLS = 10
"""A line of a plan begins with what it is about, so wide."""

_WORDS: dict[str, Verdict] = {
    "y": "once", "yes": "once", "o": "once", "once": "once",
    "r": "run", "run": "run",
    "p": "project", "project": "project",
    "n": "deny", "no": "deny",
}  # fmt: skip


def question_lines(question: Question, *, agents: int, more: int, width: int, is_whole: bool = False) -> Iterator[Line]:
    """The question. Every row of what an agent wrote begins with a bar, so that none of it looks like a line of ours.

    Args:
        question: What is asked.
        agents: How many wait for the answer.
        more: How many questions come after it.
        width: Of the terminal, in cells.
        is_whole: Whether a long input is shown to its end.
    """
    after = f" · {count(more, 'more question')} after it" if more else ""
    who = f"{count(agents, 'agent')} {'waits' if agents == 1 else 'wait'}"
    yield Line("")
    if question.script is not None:
        yield from _script_lines(question, question.script, after, width, is_whole=is_whole)
        return
    yield Line(f"? {question.id} · {one_line(question.tool)} · {who}{after}", "bold yellow")
    if question.kind == "cost":
        yield from _cost_lines(question, width)
        return
    rows = [row for line in question.input.split("\n") for row in _rows(one_line(line), width)]
    yield from _barred(rows, is_whole=is_whole)
    labelled = [cut_words(f"why asked: {one_line(question.reason)}", width)]
    labelled += [_rows(f"always would add: {one_line(rule)}", width) for rule in question.rules]
    for first, *rest in labelled:
        yield Line(f"  {first}", "dim")
        yield from _barred(rest, is_whole=is_whole, style="dim")
    if question.rules:
        yield Line("  y once · r this run · p this project · n no, or n and a word to the agent")
    else:
        yield Line("  no rule can allow it for longer", "dim")
        yield Line("  y once · n no, or n and a word to the agent")


def _script_lines(question: Question, script: ScriptShown, after: str, width: int, *, is_whole: bool) -> Iterator[Line]:
    """Whether a script runs: what it says of itself, behind a bar, and what a rehearsal told of it."""
    yield Line(f"? {question.id} · run the script {one_line(script.name, _NAME_CHARS)}?{after}", "bold yellow")
    rows = [row for line in script.description.split("\n") for row in cut_words(one_line(line), width)]
    yield from _barred(rows, is_whole=is_whole)
    lines = script.text.count("\n") + (not script.text.endswith("\n"))
    cut = f", and {script.left_out:,} characters that are not shown here" if script.left_out else ""
    for line in (*script.plan, f"{'script':<{LABEL_CELLS}}{count(lines, 'line')}{cut} · sha256 {script.sha256[:12]}"):
        label, words = one_line(line[:LABEL_CELLS]), one_line(line[LABEL_CELLS:], _MOST_PLAN_CHARS)
        first, *rest = cut_words(words, width - LABEL_CELLS)
        yield Line(f"  {label:<{LABEL_CELLS}}{first}")
        yield from (Line(f"  {'':<{LABEL_CELLS}}{row}") for row in rest)
    yield from (Line(f"  {row}", "dim") for row in cut_words(f"why asked: {one_line(question.reason)}", width))
    choices = "y run it · r run it, and ask no more in this run · v view it · n no, or n and a word to its author"
    yield from (Line(f"  {row}") for row in cut_words(choices, width))


def script_text_lines(script: ScriptShown) -> Iterator[str]:
    """The script as text, each line with its number: nothing in it moves the cursor. What is cut off is said."""
    for number, line in enumerate(visible(script.text.removesuffix("\n")).split("\n"), start=1):
        yield f"{number:>5}  {line}"
    if script.left_out:
        yield f"    …  {script.left_out:,} characters more, which are on record (nested_scripts) and not shown here"


def _cost_lines(question: Question, width: int) -> Iterator[Line]:
    """Whether a run goes on: what it has cost, and what may be said to it. All of it is ours, no word is an agent's."""
    for line in question.input.split("\n"):
        yield from (Line(f"  {row}") for row in cut_words(one_line(line), width))
    yield from (Line(f"  {row}", "dim") for row in cut_words(f"why asked: {one_line(question.reason)}", width))
    more = "" if question.more_usd is None else f"y {money(question.more_usd)} more · "
    choices = f"{more}an amount, such as $10, for so much more · r without a limit · n stop here, to be resumed"
    yield from (Line(f"  {row}") for row in cut_words(choices, width))


def _barred(rows: Sequence[str], *, is_whole: bool, style: str = "") -> Iterator[Line]:
    """Rows behind a bar; of very many those in the middle are left out, visibly."""
    hidden = 0 if is_whole else len(rows) - _MOST_ROWS
    if hidden <= 1:
        yield from (Line(f"{_GUTTER}{row}", style) for row in rows)
        return
    half = _MOST_ROWS // 2
    yield from (Line(f"{_GUTTER}{row}", style) for row in rows[:half])
    yield Line(f"  ┆ {hidden:,} rows in between are not shown: s shows them", "bold red")
    yield from (Line(f"{_GUTTER}{row}", style) for row in rows[-half:])


def _rows(text: str, width: int) -> list[str]:
    """Rows of what counts to the letter: broken where the room ends."""
    return chop_cells(text, _room(width)) or [""]


def cut_words(text: str, width: int) -> list[str]:
    """Rows of what is read: broken between words, and within one only where it needs more than a row."""
    room, rows = _room(width), [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows[-1] else word
        if cell_len(longer) <= room:
            rows[-1] = longer
        else:
            rows = [*(rows if rows[-1] else rows[:-1]), *chop_cells(word, room)]
    return rows


def _room(width: int) -> int:
    return max(_FEWEST_CELLS, width - len(_GUTTER) - 1)


def meaning(typed: str, question: Question) -> Answer | Literal["show", "view"] | str:
    """What a typed line means: an answer, `show` for the whole input, `view` for the script, or why it is neither."""
    word, _, rest = typed.strip().partition(" ")
    word, rest = word.lower().rstrip(":,"), " ".join(one_line(rest).split())
    verdict = _WORDS.get(word)
    if question.kind == "cost":
        return _cost_meaning(typed.strip(), word, verdict, question)
    if question.kind == "script":
        return _script_meaning(word, verdict, rest)
    if word in {"s", "show"} and not rest:
        return "show"
    if verdict == "deny":
        return Answer(verdict="deny", words=rest or None, by=BY)
    choices = "y, r, p or n" if question.rules else "y or n"
    if verdict is None or rest:
        return f"type {choices}, then Enter"
    if verdict in ("run", "project") and not question.rules:
        return f"no rule can allow this for longer: type {choices}, then Enter"
    return Answer(verdict=verdict, by=BY)


def _script_meaning(word: str, verdict: Verdict | None, rest: str) -> Answer | Literal["show", "view"] | str:
    """What a line means to a question about a script."""
    if verdict == "deny":
        return Answer(verdict="deny", words=rest or None, by=BY)
    if rest or word not in {*_WORDS, "v", "view", "s", "show"} or verdict == "project":
        return "type y, r, v or n, then Enter"
    if verdict is None:
        return "view" if word in {"v", "view"} else "show"
    return Answer(verdict=verdict, by=BY)


def _cost_meaning(typed: str, word: str, verdict: Verdict | None, question: Question) -> Answer | str:
    """What a line means to a question about cost; an amount is so many dollars more."""
    if (usd := parse_more_usd(typed)) is not None:
        return Answer(verdict="once", by=BY, more_usd=usd)
    if verdict == "deny":
        return Answer(verdict="deny", by=BY)
    if verdict == "run" and typed.lower() == word:
        return Answer(verdict="run", by=BY)
    if verdict == "once" and typed.lower() == word and question.more_usd is not None:
        return Answer(verdict="once", by=BY)
    return f"type {'' if question.more_usd is None else 'y, '}an amount such as $10, r or n, then Enter"
