"""A session as its lines tell it: a pure reducer. What is live and what is read back come to the same transcript."""

from __future__ import annotations

from dataclasses import field, replace
from typing import assert_never

from callsheet.app.session_lines import (
    ContinuedLine,
    Line,
    NoteLine,
    OpenedLine,
    ProblemLine,
    RunEndedLine,
    RunStartedLine,
    RunStartingLine,
    SaidLine,
    SetLine,
    TurnBegunLine,
    TurnEndedLine,
)
from callsheet.app.session_model import SessionSettings
from callsheet.app.session_transcript import Entry, Note, Problem, RunEnded, RunStarted, Said, Turn
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import Usage

SAY_AGAIN = "Say it again to have it answered; the orchestrator knows all that was answered before."
_LOST = "Something that stood here cannot be read any more."
_MOST_LOST = 1_000
_OTHER_RECORD = "The record is another one now: the orchestrator knows nothing of what was said before."


@dataclass(slots=True, kw_only=True)
class Tale:
    """`apply` lines in order, read the fields.

    Attributes:
        workspace, record: Where it works, and where its runs are on record; empty before its first line.
        entries: The transcript.
        settings: What was set.
        last_turn: The run and agent in which the conversation stands; None before its first answer.
        going: The runs that were started here and have not ended, by id.
        pending: The numbers of the `RunEnded` that the orchestrator was not given.
        turns: How many turns were begun; `turns_usage` is theirs.
        bounded_usage: What turns have used since the budget was set; of the cost what is known.
        runs_usage: Of runs that ended, by id: one that was gone on with says its own sum.
        runs: How many runs were started here.
        starts: The runs that are being started, by number; `last_start` is the last of these.
    """

    workspace: str = ""
    record: str = ""
    entries: list[Entry] = field(default_factory=list)
    settings: SessionSettings = field(default_factory=SessionSettings)
    last_turn: tuple[str, str] | None = None
    going: dict[str, RunStarted] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)
    turns: int = 0
    turns_usage: Usage = field(default_factory=Usage)
    bounded_usage: Usage = field(default_factory=Usage)
    runs: int = 0
    runs_usage: dict[str, Usage] = field(default_factory=dict)
    starts: dict[int, RunStartingLine] = field(default_factory=dict)
    last_start: int = 0
    _given: tuple[int, ...] = ()

    @property
    def next_number(self) -> int:
        """The number of the next entry."""
        return len(self.entries) + 1

    def turn(self, number: int) -> Turn | None:
        """The turn of that number; None where there is none."""
        found = self.entries[number - 1] if 0 < number <= len(self.entries) else None
        return found if isinstance(found, Turn) else None

    def open_turns(self) -> tuple[Turn, ...]:
        """Those that are not over, in order."""
        return tuple(each for each in self.entries if isinstance(each, Turn) and not each.is_over)

    def put(self, entry: Entry) -> None:
        """Replaces an entry: what is no line of the session, since it only shows how a turn goes on."""
        self.entries[entry.number - 1] = entry

    def apply(self, line: Line) -> tuple[int, ...]:
        """Takes the next line; gives the numbers of the entries that it added or changed."""
        before = len(self.entries)
        changed: tuple[int, ...] = ()
        while self.next_number < min(line.n, before + _MOST_LOST):  # later lines name entries by their numbers
            self._problem(line.at, _LOST, None)
        match line:
            case OpenedLine():
                self._open(line)
            case ContinuedLine():
                changed = self._continue(line)
            case SaidLine():
                self._say(line)
            case TurnBegunLine():
                changed = self._begin(line)
            case TurnEndedLine():
                changed = self._end(line)
            case RunStartingLine():
                self.starts[line.start] = line
                self.last_start = max(self.last_start, line.start)
            case RunStartedLine():
                self._start_run(line)
            case RunEndedLine():
                self._end_run(line)
            case SetLine():
                self._set(line)
            case NoteLine():
                self.entries.append(Note(number=self.next_number, at=line.at, text=line.text))
                self.last_turn = None if line.forgets else self.last_turn
            case ProblemLine():
                self._problem(line.at, line.text, line.remedy)
                if line.start is not None:
                    self.starts.pop(line.start, None)
            case _:
                assert_never(line)
        return (*changed, *range(before + 1, len(self.entries) + 1))

    def _open(self, line: OpenedLine) -> None:
        if self.last_turn is not None and line.record != self.record:
            self.last_turn = None
            self.entries.append(Note(number=self.next_number, at=line.at, text=_OTHER_RECORD))
        self.workspace, self.record = line.workspace, line.record

    # --- turns ------------------------------------------------------------------------------------------------------

    def _say(self, line: SaidLine) -> None:
        said = Said(number=self.next_number, at=line.at, text=line.text, is_workflow=line.is_workflow)
        self.entries.append(said)
        if not line.is_workflow:
            self.entries.append(Turn(number=self.next_number, at=line.at, said=said.number))

    def _begin(self, line: TurnBegunLine) -> tuple[int, ...]:
        turn = self.turn(line.number)
        if turn is None or turn.is_over:
            return ()
        heard = tuple(each.run_id for each in self._ended(line.heard))
        self.put(replace(turn, state="working", run_id=line.run_id, heard=heard, began_at=line.at))
        self.turns += 1
        self._given = line.heard
        return (line.number,)

    def _end(self, line: TurnEndedLine) -> tuple[int, ...]:
        turn = self.turn(line.number)
        if turn is None or turn.is_over:
            return ()
        usage = line.usage.usage
        self.put(
            replace(
                turn,
                state=line.state,
                text=line.text,
                doing=None,
                tokens=usage.output_tokens,
                cost_usd=usage.cost_usd,
                model=line.model,
                error=line.error,
                remedy=line.remedy,
                ended_at=line.at,
            )
        )
        self.turns_usage += usage
        # One answer without a known price does not make what was spent before it unknown: the budget holds for that.
        self.bounded_usage += usage if usage.cost_usd is not None else replace(usage, cost_usd=0.0)
        if line.state != "done" or turn.run_id is None or line.agent_id is None:
            return (line.number,)
        # From here on the conversation holds what this turn was given: it is never given again.
        self.last_turn = (turn.run_id, line.agent_id)
        heard = self._ended(self._given)
        for each in heard:
            self.put(replace(each, heard_in=line.number))
            self.pending.remove(each.number)
        return (line.number, *(each.number for each in heard))

    def _ended(self, numbers: tuple[int, ...]) -> tuple[RunEnded, ...]:
        """Those of the numbers that are results which nobody was given."""
        found = (self.entries[number - 1] for number in numbers if number in self.pending)
        return tuple(each for each in found if isinstance(each, RunEnded))

    def _continue(self, line: ContinuedLine) -> tuple[int, ...]:
        changed = []
        for turn in self.open_turns():
            error = "The session ended before it was answered."
            self.put(replace(turn, state="interrupted", doing=None, error=error, remedy=SAY_AGAIN, ended_at=line.at))
            changed.append(turn.number)
        return tuple(changed)

    # --- runs and the rest ------------------------------------------------------------------------------------------

    def _start_run(self, line: RunStartedLine) -> None:
        started = RunStarted(
            number=self.next_number,
            at=line.at,
            run_id=line.run_id,
            kind=line.of,
            workflow=line.workflow,
            task=line.task,
            notes=line.notes,
            said=line.said,
        )
        self.entries.append(started)
        self.going[line.run_id] = started
        self.runs += 1
        if line.start is not None:
            self.starts.pop(line.start, None)

    def _end_run(self, line: RunEndedLine) -> None:
        if self.going.pop(line.run_id, None) is None:
            return
        number, usage = self.next_number, line.usage.usage
        fields = line.model_dump(exclude={"kind", "n", "usage"})
        self.entries.append(RunEnded(number=number, usage=usage, **fields))
        self.pending.append(number)
        self.runs_usage[line.run_id] = usage

    def _set(self, line: SetLine) -> None:
        self.settings = SessionSettings(model=line.model, effort=line.effort, budget=line.budget, mode=line.mode)
        if line.is_budget_new:
            self.bounded_usage = Usage()
        self.entries.append(Note(number=self.next_number, at=line.at, text=line.text))

    def _problem(self, at: str, text: str, remedy: str | None) -> None:
        self.entries.append(Problem(number=self.next_number, at=at, text=text, remedy=remedy))
