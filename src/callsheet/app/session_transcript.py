"""The transcript of a session: what it is made of, for whoever shows one.

All of it is text of people, models and runs: redacted, but as it came. Times are ISO 8601 UTC with milliseconds.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage
from callsheet.model.run import RunStatus

TurnState: TypeAlias = Literal["queued", "working", "done", "failed", "over_budget", "stopped", "interrupted"]
"""Waits for the turn before it; at work; answered; could not be answered; no budget is left for it; a person stopped
it; the session ended while it was at work. The last four have a `remedy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the person said. Never changes.

    Attributes:
        number: Its place in the transcript, from 1; an entry that is replaced keeps it.
        is_workflow: It started a workflow: a `RunStarted` follows, or a `Problem` says why not. Else a `Turn` does.
    """

    number: int
    at: str
    text: str
    is_workflow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The orchestrator's answer to something said. Replaced as it goes from `queued` to its end, and as it works.

    Attributes:
        said: The number of the `Said` that it answers.
        text: The answer, Markdown; empty until it is `done`: answers come whole.
        doing: What it does while it works: a tool and its input in a line (`read docs/index.md`); None where it thinks.
        tokens: Output tokens so far.
        cost_usd: What it cost, once it has ended; None where that is not known (yet).
        run_id: The run that it is, once it has begun; `callsheet show` has all of it.
        model: That answered, as the service named it.
        error: Why there is no answer; None where there is one, or it is under way.
        remedy: What the person can do about that, in a sentence or two.
        heard: Runs whose result it was given, by id.
        ended_at: When it ended; it began to work at `began_at`, None while it is queued.
    """

    number: int
    at: str
    said: int
    state: TurnState = "queued"
    text: str = ""
    doing: str | None = None
    tokens: int = 0
    cost_usd: float | None = None
    run_id: str | None = None
    model: str | None = None
    error: str | None = None
    remedy: str | None = None
    heard: tuple[str, ...] = ()
    began_at: str | None = None
    ended_at: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.state not in ("queued", "working")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """A run that was started from here and goes on by itself, in a process of its own. Never changes.

    How it stands is in `Session.runs` while it goes on; how it ended, in a `RunEnded` of the same `run_id`.

    Attributes:
        kind: A task that the orchestrator writes workflows for (`task` has its words); a saved workflow (`/name`); or
            a run that was gone on with (`/resume`).
        workflow: Its name.
        notes: What held for it: limits, what was narrowed, where its record lies; a line each.
        said: The number of the `Said` that it came of; None where it came of a command.
    """

    number: int
    at: str
    run_id: str
    kind: Literal["task", "saved", "resumed"]
    workflow: str
    task: str | None = None
    notes: tuple[str, ...] = ()
    said: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """How a run ended that was started from here. Replaced once: when its result was given to the orchestrator.

    Attributes:
        status: As its result has it; `interrupted` also where its process is gone.
        text: Its result for reading: an answer in Markdown, else JSON; the first part of it where `is_cut`.
        is_markdown: `text` is Markdown.
        where: The command that shows all of it.
        error: Why it did not complete; None where it did.
        next: What can be done about that, ready to type here (`/resume run_…`); None for nothing.
        agents, ended_badly: How many there were, and how many of them ended otherwise than `ok`.
        problems: How many of its calls did not end well.
        heard_in: The `Turn` in which the orchestrator was given it; None before. It is given with the next turn,
            once: a turn that got no answer does not count.
    """

    number: int
    at: str
    run_id: str
    workflow: str
    status: RunStatus
    text: str = ""
    is_markdown: bool = False
    is_cut: bool = False
    where: str = ""
    error: str | None = None
    next: str | None = None
    agents: int = 0
    ended_badly: int = 0
    problems: int = 0
    usage: Usage = field(default_factory=Usage)
    duration_ms: int = 0
    heard_in: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A fact of the session, in a line: a setting that holds from now on, that it was continued. Never changes."""

    number: int
    at: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that did not work, and what to do. Never changes."""

    number: int
    at: str
    text: str
    remedy: str | None = None


Entry: TypeAlias = Said | Turn | RunStarted | RunEnded | Note | Problem
"""What the transcript is made of; `number` is the place of each, `Session.entries[number - 1]` the entry as it stands.
"""
