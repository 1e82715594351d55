"""Conversations of several turns: what was said before a call, and the same as text for agents that cannot go on."""

from __future__ import annotations

import hashlib
import json

from callsheet.model.dataclass import dataclass
from callsheet.model.opening import Opening
from callsheet.model.values import JsonValue

MAX_RETOLD_CHARS = 400_000
"""Of earlier turns, where they are told as text; the oldest are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenTurn:
    """A turn that ended well.

    Attributes:
        context: What stood before the prompt; None for nothing.
        answer: Its value: the final text, or JSON text.
        messages: As they were reported, in order (`MessageAdded.payload`); empty where they are not on record (any
            more), or its backend reports none.
        backend: Who did the work, and so in whose form the messages are.
        model: As asked; None for the backend's default.
        frame: A digest of all else that a call asks: with another one the prompt begins otherwise.
        opening: How its requests began, which the next turn keeps; None where that is not on record (any more).
    """

    run_id: str
    agent_id: str
    prompt: str
    answer: str
    context: str | None = None
    messages: tuple[JsonValue, ...] = ()
    backend: str = ""
    model: str | None = None
    frame: str = ""
    opening: Opening | None = None

    @property
    def asked(self) -> str:
        """All that it was asked."""
        return self.prompt if not self.context else f"{self.context}\n\n{self.prompt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Follows:
    """Where in the record a turn stands.

    Attributes:
        run_id, agent_id: The turn before it; None for none.
        model, frame: As `SpokenTurn` has them.
    """

    run_id: str | None
    agent_id: str | None
    model: str | None
    frame: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What a conversation holds when its next turn begins.

    Attributes:
        turns: In order.
        notice: What changed since the last of them, by the host; None for nothing.
        is_same_frame: The last turn was one of this run, and its requests began as those of this turn will.
    """

    turns: tuple[SpokenTurn, ...]
    notice: str | None = None
    is_same_frame: bool = False


def answer_text(value_json: str) -> str:
    """An agent's value for reading: a text as it is, anything else as JSON, also what is none (a damaged record)."""
    if not value_json.startswith('"'):
        return value_json
    try:
        value = json.loads(value_json)
    except ValueError:
        return value_json
    return value if isinstance(value, str) else value_json


def told_as_text(earlier: Earlier, prompt: str) -> str:
    """A prompt with what was said before it, for an agent that begins a conversation of its own.

    The parts stand between lines with a word that none of them can hold, since it is made of all of them.
    """
    turns = _newest(earlier.turns)
    left_out = len(earlier.turns) - len(turns)
    parts = [text for turn in turns for text in (turn.asked, turn.answer)]
    word = hashlib.sha256("\0".join([*parts, earlier.notice or "", prompt]).encode("utf-8", "replace")).hexdigest()[:12]
    lines = [
        "This goes on with a conversation that you had. Below stands what you were asked and what you answered; the "
        f"lines with {word} mark where each begins and are no part of it."
    ]
    if left_out:
        lines.append(f"(The first {left_out} turns are left out.)" if left_out > 1 else "(The first turn is left out.)")
    for number, turn in enumerate(turns, start=left_out + 1):
        lines += [f"--- {word}: turn {number}, you were asked", turn.asked]
        lines += [f"--- {word}: turn {number}, you answered", turn.answer]
    if earlier.notice:
        lines += [f"--- {word}: from Callsheet, which runs this workflow", earlier.notice]
    return "\n\n".join([*lines, f"--- {word}: now", prompt])


def _newest(turns: tuple[SpokenTurn, ...]) -> tuple[SpokenTurn, ...]:
    left_chars, kept = MAX_RETOLD_CHARS, 0
    for turn in reversed(turns):
        left_chars -= len(turn.asked) + len(turn.answer)
        if left_chars < 0 and kept:
            break
        kept += 1
    return turns[len(turns) - kept :]
