"""What a resumed run takes from its record: which outcomes answer again, and in which order (CONTRACT R02–R05, R08).

Decides only; what an outcome needs to hold again is put back by `effects`. A run that is not resumed has an empty
record, and so nothing to take.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from callsheet.engine.effects import Effects
from callsheet.engine.keys import KEY_VERSION, AskedKey
from callsheet.engine.timers import Armed, Timers
from callsheet.model.call import Scope
from callsheet.model.dataclass import dataclass
from callsheet.model.past import CallExplained, PastAgent, PastTimer, ResumeReport, Resumption, Seen
from callsheet.model.sandbox import RejectCall, ResolveCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A recorded outcome that the script waits for; `seen` is None where it never got it."""

    delivery: ResolveCall | RejectCall
    agent_id: str
    seen: Seen | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedTimer:
    """A timer that fired in an earlier attempt, and that the script has set again."""

    armed: Armed
    seen: Seen


Recorded: TypeAlias = Replayed | ReplayedTimer


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a call.

    Attributes:
        past: The recorded agent that it is: it answers again, or is asked once more; None for a new one.
        is_reused: It answers again.
        why: Why it does not, for people; None where it does, and in a run that is not resumed.
        goes_on: Its agent was in the middle, and goes on from there where it can.
    """

    past: PastAgent | None = None
    is_reused: bool = False
    why: str | None = None
    goes_on: bool = False


_NEW = Decision()
_NO_SEQ = float("inf")


class Replay:
    """The record of a run that is resumed, as far as its script has not asked for it yet.

    Attributes:
        is_resumed: There is a record.
        effects: Which files are other than recorded agents knew them.
    """

    def __init__(self, resumption: Resumption | None = None) -> None:
        self._resumption = resumption
        past = None if resumption is None else resumption.past
        self.past = past
        self.is_resumed = past is not None
        agents = () if past is None else past.agents
        self._agents = {(agent.key, agent.occurrence): agent for agent in agents}
        self._timers: dict[tuple[float, int], PastTimer] = {}
        self._timers_by_n: dict[int, PastTimer] = {}
        self._take_timers(() if past is None else past.timers)
        self._set: Counter[float] = Counter()
        self._waiting: list[tuple[float, str, int, Recorded]] = []
        self._asked = 0
        self._is_prefix_over = False
        self.effects = Effects(() if resumption is None else resumption.changed_since)
        self._taken: set[str] = set()
        self._explained: list[tuple[CallExplained, AskedKey | None, str | None]] = []
        self.last_agent = max((_number(agent.agent_id) for agent in agents), default=0)
        self.last_timer = max((timer.n for timer in (() if past is None else past.timers)), default=0)
        seen = [agent.seen.seq for agent in agents if agent.seen is not None]
        self.last_seq = max([*seen, *(timer.seen.seq for timer in (() if past is None else past.timers))], default=0)

    def _take_timers(self, timers: Iterable[PastTimer]) -> None:
        equal: Counter[float] = Counter()
        for timer in sorted(timers, key=lambda one: one.n):
            if timer.delay_ms is None:
                self._timers_by_n[timer.n] = timer
            else:
                equal[timer.delay_ms] += 1
                self._timers[(timer.delay_ms, equal[timer.delay_ms])] = timer

    # --- calls ------------------------------------------------------------------------------------------------------

    def knows(self, key: str) -> bool:
        """Whether anything that was asked like this is on record."""
        return (key, 1) in self._agents

    async def decide(
        self, asked: AskedKey, occurrence: int, *, call: int, label: str, scope: Scope | None = None
    ) -> Decision:
        """Whether a call is answered from the record (CONTRACT R02–R04).

        Args:
            asked: What it asks.
            occurrence: Its number among equal calls.
            call: Its number in the run.
            label: Its label.
            scope: What its agent may read and write.
        """
        resumption = self._resumption
        if resumption is None:
            return _NEW
        past = self._agents.get((asked.key, occurrence))
        if past is None:
            self._is_prefix_over = True
            return Decision(why="nothing that was asked like this is on record")
        why = self._why_not(resumption, past, call=call, label=label)
        if why is None and resumption.reuse != "all":
            why = await self.effects.why_not(past, scope)
        self._is_prefix_over |= why is not None
        goes_on = past.kept is not None and not self._is_named(resumption, past, label)
        return Decision(past=past, is_reused=why is None, why=why, goes_on=goes_on)

    @staticmethod
    def _is_named(resumption: Resumption, past: PastAgent, label: str) -> bool:
        return not resumption.rerun.isdisjoint({label, past.label, past.agent_id})

    def _why_not(self, resumption: Resumption, past: PastAgent, *, call: int, label: str) -> str | None:
        if self._is_named(resumption, past, label):
            return "it was to run again (--rerun)"
        if past.status in ("queued", "running"):
            return "it had not ended"
        if not past.has_answer:
            return f"it ended {past.status.replace('_', ' ')}, which is no result"
        if resumption.reuse == "prefix" and (self._is_prefix_over or past.call != call):
            return "a call before it is not as recorded (--reuse prefix)"
        return None

    def note(self, decision: Decision, asked: AskedKey, explained: CallExplained, *, phase: str | None) -> None:
        """Remembers what became of a call, for the report (CONTRACT R05)."""
        if not self.is_resumed:
            return
        is_known = decision.past is not None
        if decision.past is not None:
            self._taken.add(decision.past.agent_id)
        # What a known call asks is not looked at again, and can be large.
        self._explained.append((explained, None if is_known else asked, phase))

    def answered_by(self, agent: PastAgent) -> int:
        """How many questions to people had been answered when an agent ended."""
        answers = () if self.past is None else self.past.answers
        return sum(at < (agent.ended_at or "") for at, _ in answers)

    @property
    def is_waiting(self) -> bool:
        """Whether anything recorded is about to be delivered: no agent is to start before what it may make needless."""
        return bool(self._waiting)

    # --- deliveries -------------------------------------------------------------------------------------------------

    def await_outcome(self, past: PastAgent, delivery: ResolveCall | RejectCall) -> None:
        """Lets a recorded outcome wait for its place in the order of deliveries."""
        self._push(past.seen, past.ended_at or "", Replayed(delivery=delivery, agent_id=past.agent_id, seen=past.seen))

    def await_timer(self, armed: Armed) -> None:
        """Lets a timer that has just been set wait for its place, where it is on record that it fired."""
        if not self.is_resumed:
            return
        self._set[armed.delay_ms] += 1
        timer = self._timers.get((armed.delay_ms, self._set[armed.delay_ms])) or self._timers_by_n.get(armed.n)
        if timer is not None:
            self._push(timer.seen, "", ReplayedTimer(armed=armed, seen=timer.seen))

    def _push(self, seen: Seen | None, at: str, one: Recorded) -> None:
        self._asked += 1
        heapq.heappush(self._waiting, (_NO_SEQ if seen is None else seen.seq, at, self._asked, one))

    def has_next(self, timers: Timers) -> bool:
        """Whether the script waits for anything that is recorded."""
        while self._waiting:
            one = self._waiting[0][-1]
            if isinstance(one, Replayed) or timers.is_armed(one.armed):
                return True
            heapq.heappop(self._waiting)
        return False

    def next(self, timers: Timers) -> Recorded | None:
        """What the script waits for and got first, of all that is recorded; None where there is nothing (any more)."""
        return heapq.heappop(self._waiting)[-1] if self.has_next(timers) else None

    def ahead(self, most: int) -> tuple[Replayed, ...]:
        """What comes next as long as the script says nothing: outcomes that it got before, in the order of then."""
        found = []
        for *_, one in heapq.nsmallest(most, self._waiting):
            if isinstance(one, ReplayedTimer) or one.seen is None:
                break
            found.append(one)
        return tuple(found)

    # --- the report -------------------------------------------------------------------------------------------------

    def unasked(self) -> tuple[PastAgent, ...]:
        """Recorded agents that the script has not asked for, in order of their calls."""
        return tuple(agent for agent in self._agents.values() if agent.agent_id not in self._taken)

    def report(self, surroundings: Mapping[str, str | None]) -> ResumeReport | None:
        """What was taken from the record and what was not; None where there is none.

        Args:
            surroundings: What answers depend on and no key says, as it is now.
        """
        if self.past is None:
            return None
        candidates = _Candidates(self.unasked())
        calls = tuple(
            explained if asked is None else candidates.explain(explained, asked, phase)
            for explained, asked, phase in self._explained
        )
        reused = sum(1 for call in calls if call.reused)
        return ResumeReport(
            attempt=self.past.attempts + 1,
            reused=reused,
            live=len(calls) - reused,
            gone=tuple(agent.agent_id for agent in self.unasked() if agent.has_answer),
            differs=tuple(
                f"{name} {_brief(then)} → {_brief(surroundings.get(name))}"
                for name, then in self.past.surroundings.items()
                if then != surroundings.get(name)
            ),
            calls=calls,
        )


class _Candidates:
    """Recorded agents that no call is, to be held against calls that are like none of the record."""

    def __init__(self, agents: Iterable[PastAgent]) -> None:
        self._by_label: defaultdict[tuple[str, str | None], list[PastAgent]] = defaultdict(list)
        self._by_call: dict[int, PastAgent] = {}
        self._used: set[str] = set()
        for agent in agents:
            self._by_label[(agent.label, agent.phase)].append(agent)
            self._by_call[agent.call] = agent

    def explain(self, call: CallExplained, asked: AskedKey, phase: str | None) -> CallExplained:
        """Says which part of a call is other than recorded, where there is a recorded one to hold it against."""
        free = [agent for agent in self._by_label[(call.label, phase)] if agent.agent_id not in self._used]
        past = free[0] if free else self._by_call.get(call.call)
        if past is None or past.agent_id in self._used:
            return call
        self._used.add(past.agent_id)
        if not past.key.startswith(f"{KEY_VERSION}:"):
            why = f"{past.agent_id} was recorded under other rules of keys ({past.key.partition(':')[0]})"
            return _explained(call, past, why, ())
        if not past.parts:
            return _explained(call, past, f"it is not {past.agent_id}; the record does not say in what", ())
        changed = tuple(name for name in {**past.parts, **asked.parts} if past.parts.get(name) != asked.parts.get(name))
        if not changed:
            return _explained(call, past, f"it is asked once more than before (as {past.agent_id})", ())
        words = ", ".join(_change(name, past.parts.get(name), asked.parts.get(name)) for name in changed)
        return _explained(call, past, f"{words} since {past.agent_id}", changed)


def _explained(call: CallExplained, past: PastAgent, why: str, changed: tuple[str, ...]) -> CallExplained:
    return CallExplained(
        call=call.call,
        agent_id=call.agent_id,
        label=call.label,
        reused=False,
        why=why,
        before=past.agent_id,
        changed=changed,
    )


def _brief(text: str | None) -> str:
    return "none" if text is None else text[:12]


def _change(name: str, before: str | None, now: str | None) -> str:
    said = name.replace("_", " ")
    if any(text is not None and text.startswith("#") for text in (before, now)) or name == "prompt":
        return f"{said} changed"
    return f"{said} {before or 'not given'} → {now or 'not given'}"


def _number(agent_id: str) -> int:
    digits = agent_id.removeprefix("a")
    return int(digits) if digits.isascii() and digits.isdigit() else 0
