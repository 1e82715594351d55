"""What a session is, for whoever shows one: its transcript, what goes on in it, and what can be done.

    async with open_session(SessionOrder(), launcher=launcher, around=Surroundings(interactive=True)) as session:
        async for change in session.watch():
            draw(session.entries, session.questions, session.runs)

`open_session` (`app.session`) raises `UsageError` where there is no such session to continue, it is open elsewhere, or
its record is not one's own; leaving the context ends the turn that is at work, and lets runs go on.

All of it is text of people, models and runs: redacted, but as it came. Whoever shows it makes controls visible
(`views.safe_text`) and reads no markup out of it. Times are ISO 8601 UTC with milliseconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from callsheet.app.choices import Choices
from callsheet.app.naming import LAST
from callsheet.app.session_transcript import Entry
from callsheet.app.trusting import PermissionChoices
from callsheet.model.approval import PersonsVerdict
from callsheet.model.call import Effort
from callsheet.model.dataclass import dataclass
from callsheet.model.events import ApprovalAsked
from callsheet.model.outcome import Usage
from callsheet.permissions.modes import Mode

MAX_SAID_CHARS = 100_000
"""What a person says at a time has at most so many characters; more is refused, and nothing of it kept."""

ULTRACODE: Literal["ultracode"] = "ultracode"

SessionEffort: TypeAlias = Effort | Literal["ultracode"]
"""How hard the orchestrator thinks; `ultracode`: as hard as can be, and every prompt starts a workflow."""

# --- opening one ------------------------------------------------------------------------------------------------------

LAST_SESSION = LAST


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOrder:
    """What a caller asks for.

    Attributes:
        resumed: The session that is continued: an id, the beginning of one, or `LAST_SESSION`; None for a new one.
        workspace: Where it works; None to find it from where the caller stands.
        choices: Backend, model, service and record, as flags of a run say them: for turns and for runs.
        permissions: What holds for runs that are started; turns only read.
    """

    resumed: str | None = None
    workspace: Path | None = None
    choices: Choices = field(default_factory=Choices)
    permissions: PermissionChoices = field(default_factory=PermissionChoices)


# --- what goes on -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run that was started from here and goes on. Replaced about twice a second while something happens in it.

    Attributes:
        status: `starting`, `running`, `paused`, `waiting`, `stopping`; `reason` says why, where there is something.
        phase: The last one that has an agent at work; None for none.
        queued, running, waiting, ended, ended_badly: Agents.
        tokens: Output tokens so far.
        cost_usd: Of the agents that ended; None where one's is not known.
        questions: How many of `Session.questions` are its.
    """

    run_id: str
    workflow: str
    status: str = "starting"
    reason: str | None = None
    started_at: str | None = None
    phase: str | None = None
    queued: int = 0
    running: int = 0
    waiting: int = 0
    ended: int = 0
    ended_badly: int = 0
    tokens: int = 0
    cost_usd: float | None = 0.0
    questions: int = 0

    @property
    def agents(self) -> int:
        """All of them so far."""
        return self.queued + self.running + self.waiting + self.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQuestion:
    """A question to the person: of a run that goes on, of a turn, or of the session itself, before it starts a run.

    Attributes:
        id: Within the session; what `Session.answer` takes. Stays the same while the question does.
        run_id: Whose it is; None for the session's own (then `asked.kind` is `script`).
        workflow: The run's, or of what is to be started.
        asked: What is asked, as the run's events have it: `kind` says what the verdicts mean (`model.approval`), and
            for `script` it carries the plan and the script's text. `asked.until`: when it counts as not answered.
    """

    id: str
    run_id: str | None
    workflow: str
    asked: ApprovalAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What the person set in this session; on its record, and so restored by `--continue`.

    Attributes:
        model: For the orchestrator, in talk and in tasks; None for what settings say of it, else the default.
        effort: Likewise.
        budget: As it was written (`200k`, `$5`): the most that each run started from now on may use, and the most that
            all talk turns together may use from when it was set; None for what settings say.
        mode: What is accepted where no rule says anything, in runs started from now on; None for what settings say.
            Talk turns only read.
    """

    model: str | None = None
    effort: SessionEffort | None = None
    budget: str | None = None
    mode: Mode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFigures:
    """What the session has cost so far.

    Attributes:
        turns: How many talk turns were begun; `turns_usage` is theirs.
        runs: How many runs were started here; `runs_usage` is theirs, of those that go on what is known by now. A
            `cost_usd` of None: the price of a model is not known.
        left: What the budget leaves for further talk turns, in words (`$4.20`); None without a budget.
    """

    turns: int = 0
    turns_usage: Usage = field(default_factory=Usage)
    runs: int = 0
    runs_usage: Usage = field(default_factory=Usage)
    left: str | None = None

    @property
    def usage(self) -> Usage:
        """All of it."""
        return self.turns_usage + self.runs_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is other than when the same watcher was told last; the first one tells of everything.

    Attributes:
        entries: The numbers of entries that were added or replaced, in order.
        questions, runs, settings, figures: Whether that property is another now.
        is_closed: The session has ended; nothing more is told.
    """

    entries: tuple[int, ...] = ()
    questions: bool = False
    runs: bool = False
    settings: bool = False
    figures: bool = False
    is_closed: bool = False


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A command was done, or asked for something: `text` is the answer, plain lines; empty where an entry says it."""

    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A command was not done; `text` says why and what to do. `near` are names that exist and look alike, with `/`."""

    text: str
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDashboard:
    """The dashboard is to be opened (`/workflows`): of one run, or with None of all."""

    run_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quit:
    """The session is to be left; runs that were started from it go on. `text` says so, and how to come back."""

    text: str


Reply: TypeAlias = Told | Refused | OpenDashboard | Quit


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that can be typed, for help and completion.

    Attributes:
        name: Without `/`.
        usage: With it and with what it takes: `/save RUN [NAME]`.
        said: What it does, in a line.
        is_workflow: It is a saved workflow.
        values: Words that it takes, where they can be listed.
    """

    name: str
    usage: str
    said: str
    is_workflow: bool = False
    values: tuple[str, ...] = ()


# --- the session ------------------------------------------------------------------------------------------------------


class Session(Protocol):
    """A session that is open. Every method may be called from any task of its loop."""

    @property
    def id(self) -> str:
        """Its name: `callsheet --continue ID` opens it again."""
        ...

    @property
    def workspace(self) -> str:
        """The folder in which it works, absolute."""
        ...

    @property
    def path(self) -> str:
        """Where its record lies, absolute."""
        ...

    @property
    def is_continued(self) -> bool:
        """Whether it was there before."""
        ...

    @property
    def orchestrator(self) -> str:
        """Who answers in it, in a few words: backend, model, effort."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of it at its start, a line each: who answers, that a folder is not trusted."""
        ...

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The transcript, in order; entry `n` is at `n - 1`."""
        ...

    @property
    def questions(self) -> tuple[SessionQuestion, ...]:
        """What waits for the person's answer, oldest first."""
        ...

    @property
    def runs(self) -> tuple[LiveRun, ...]:
        """The runs that were started from here and go on, oldest first. Talk turns are none of them."""
        ...

    @property
    def settings(self) -> SessionSettings:
        """What was set in it."""
        ...

    @property
    def figures(self) -> SessionFigures:
        """What it has cost so far."""
        ...

    @property
    def commands(self) -> tuple[Command, ...]:
        """All that `command` knows, saved workflows behind the others. Looked up again when a session's run ended."""
        ...

    def watch(self) -> AsyncGenerator[Change]:
        """What changes, from how everything stands now until the session is closed. Any number of watchers.

        Several changes are told as one where a watcher is slower than they are: what it then reads is how things stand.
        """
        ...

    def starts_workflow(self, text: str) -> bool:
        """Whether `say(text)` would start a workflow: it has the word, or the effort is `ultracode`."""
        ...

    async def say(self, text: str, *, is_workflow: bool | None = None) -> Reply:
        """Says something; returns as soon as it is on record (or was refused): entries tell what becomes of it.

        One turn is at work at a time: further ones queue.

        Args:
            text: The person's words. `session_words.is_command` tells what is for `command` instead.
            is_workflow: Whether it is to start a workflow; None for what `starts_workflow` says.
        """
        ...

    async def command(self, text: str) -> Reply:
        """Does what a line says that begins with `/`. Errors are `Refused`.

        Starting a run takes seconds, and may put a question first: call it in a task of its own.
        """
        ...

    async def answer(
        self, question_id: str, verdict: PersonsVerdict, *, words: str | None = None, more_usd: float | None = None
    ) -> Reply:
        """Answers a question; `Refused` where it is open no more, which happens where it was answered elsewhere.

        `more_usd` goes with `once`, where it is about what a run may cost.
        """
        ...

    def stop_turn(self) -> bool:
        """Ends the turn that is at work (`stopped`); those that are queued follow. False where none is at work."""
        ...
