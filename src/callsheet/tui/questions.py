"""A question to a person, as a dialog puts it: title, what is to be known, what can be said. Pure; made safe here."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import chop_cells
from rich.text import Text

from callsheet.app.quantities import MOST_MORE_USD
from callsheet.model.approval import PersonsVerdict, ScriptShown
from callsheet.model.events import ApprovalAsked
from callsheet.tui.dialogs import Option
from callsheet.tui.looks import DIALOG_COLUMNS
from callsheet.tui.wrapping import wrapped
from callsheet.views.figures import count, money
from callsheet.views.safe_text import indented, one_line, visible

VERDICTS: dict[str, PersonsVerdict] = {"y": "once", "r": "run", "p": "project", "n": "deny", "w": "deny", "a": "once"}
"""What the letters of `options_of` mean; `w` is a no with words, `a` a yes with an amount, `v` is no answer."""

_INPUT_CHARS = 16_384
_MOST_DESCRIBED = 400
_NAME_CHARS = 60
_FEWEST_COLUMNS = 10
_AROUND_INPUT = 8
"""Columns of a dialog that its body has not: border, padding, a bar, a scrollbar."""


def title_of(asked: ApprovalAsked, *, whose: str = "") -> str:
    """One line that says what is asked.

    Args:
        asked: What is asked.
        whose: The run's name where that is not plain; without it the question's id stands there.
    """
    name = one_line(whose, 40) or one_line(asked.id)
    if asked.script is not None:
        return f"? {name} · run the script {one_line(asked.script.name, _NAME_CHARS)}?"
    if asked.kind == "cost":
        return f"? {name} · may the run cost more?"
    who = f"{count(asked.agents, 'agent')} {'waits' if asked.agents == 1 else 'wait'}"
    return f"? {name} · {one_line(asked.tool, 40)} · {who}"


def body_of(asked: ApprovalAsked, *, columns: int, labels: Sequence[str] = ()) -> Text:
    """What is to be known.

    Args:
        asked: What is asked.
        columns: Of the terminal.
        labels: Of agents that wait for the answer, as far as they are known.
    """
    width = max(_FEWEST_COLUMNS, min(DIALOG_COLUMNS, columns) - _AROUND_INPUT)
    if asked.script is not None:
        return _script_body(asked, asked.script, width)
    said = visible(asked.input[:_INPUT_CHARS]).expandtabs(4)
    rows = [row for line in said.split("\n") for row in chop_cells(line, width) or [""]]
    # Each row behind a bar, so that none of what an agent wrote looks like a line of ours.
    body = Text("\n".join(f"│ {row}" for row in rows))
    if len(asked.input) > _INPUT_CHARS:
        body.append(f"\n… {len(asked.input) - _INPUT_CHARS:,} characters more", "bold red")
    body.append(f"\n\nwhy asked: {indented(visible(asked.reason))}", "dim")
    for rule in asked.rules:
        body.append(f"\nalways would add: {one_line(rule)}", "dim")
    if labels:
        more = f" and {len(asked.agent_ids) - len(labels)} more" if len(asked.agent_ids) > len(labels) else ""
        body.append(f"\nwho waits: {', '.join(one_line(label, 40) for label in labels)}{more}", "dim")
    return body


def _script_body(asked: ApprovalAsked, script: ScriptShown, width: int) -> Text:
    """What a script says of itself, behind a bar, and what a rehearsal told of it."""
    rows = wrapped(one_line(script.description, _MOST_DESCRIBED), width)
    body = Text("\n".join(f"│ {row}" for row in rows))
    for line in script.plan:
        body.append("".join(f"\n{row}" for row in wrapped(one_line(line, _MOST_DESCRIBED), width, is_table=True)))
    lines = script.text.count("\n") + (not script.text.endswith("\n"))
    cut = f", and {script.left_out:,} characters more" if script.left_out else ""
    body.append(f"\n{'script':<10}{count(lines, 'line')}{cut} · sha256 {script.sha256[:12]}")
    return body.append(f"\n\nwhy asked: {indented(visible(asked.reason))}", "dim")


def script_of(script: ScriptShown) -> tuple[str, Text]:
    """A title, and the script that is asked about, each line with its number."""
    lines = visible(script.text.removesuffix("\n")).expandtabs(4).split("\n")
    body = Text("\n".join(f"{number:>4}  {line}" for number, line in enumerate(lines, start=1)))
    if script.left_out:
        body.append(f"\n… {script.left_out:,} characters more, which are on record and not shown here", "bold red")
    return one_line(script.name, _NAME_CHARS), body


def options_of(asked: ApprovalAsked, *, is_before_start: bool = False) -> list[Option]:
    """What can be said.

    Args:
        asked: What is asked.
        is_before_start: It is about a saved workflow that is to be started: its yes can be kept, no author hears a no.
    """
    if is_before_start:
        return [
            Option("y", "yes, run it"),
            Option("p", "yes, and do not ask again for it in this folder"),
            Option("v", "view the script"),
            Option("n", "no"),
        ]
    if asked.kind == "cost":
        more = [] if asked.more_usd is None else [Option("y", f"yes, {money(asked.more_usd)} more")]
        return [
            *more,
            Option("a", "yes, another amount more"),
            Option("r", "yes, without a limit"),
            Option("n", "no: stop here, to be resumed"),
        ]
    if asked.kind == "script":
        return [
            Option("y", "yes, run it"),
            Option("r", "yes, and ask no more in this run"),
            Option("v", "view the script"),
            Option("n", "no"),
            Option("w", "no, and a word to its author"),
        ]
    longer = [Option("r", "yes, for the whole run"), Option("p", "yes, for this project from now on")]
    return [
        Option("y", "yes, this once"),
        *(longer if asked.rules else []),
        Option("n", "no"),
        Option("w", "no, and a word to the agent"),
    ]


def asked_for_words(asked: ApprovalAsked) -> str:
    """What is asked of who says no, and why."""
    return f"No. What should {'the agent' if asked.script is None else 'its author'} know?"


ASKED_FOR_AMOUNT = "How many dollars more may it cost?"
AMOUNT_HINT = "such as 10 or 2.50 · Enter answers · Esc leaves it"
NO_AMOUNT = f"Type dollars, such as 10 or 2.50: more than nothing, at most {money(MOST_MORE_USD)}."
