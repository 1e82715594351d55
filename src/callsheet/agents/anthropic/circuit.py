"""Whether a request to one model service may go now (CONTRACT K01, K02). Decides only: `door` waits, sends and tells.

A circuit is closed, paused, or half open. A failure pauses it, for as long as the service says or with backoff; after
the pause one request goes first, and once the service begins to answer it the rest may follow. How many are at work at
a time is halved by a rate limit and grows again, step by step, with each reply.

What fails together counts once: requests that were already on their way when a pause began can neither pause anew nor
halve again. Every step costs the same, however many wait (CONTRACT L02), but for a pause for which all are given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from callsheet.agents.anthropic.faults import Fault
from callsheet.model.dataclass import dataclass

RETRIES_IN_A_ROW = 10
MAX_OUTAGE_S = 15 * 60.0
FIRST_DELAY_S = 0.5
MAX_DELAY_S = 30.0

MAX_AT_WORK = 256
"""The most agents that a run may have at work (CONTRACT L01)."""

STEPS_BACK = 16
"""In so many rounds of replies the number at work would grow from nothing to what it was before it was first halved."""

PROBE_S = 20.0
"""So long the request that goes first after a pause may go unanswered; then another one may go too."""

UNPROVEN_AT_WORK = 16
UNPROVEN_S = 0.5
"""So many go to a service that has not answered yet, until it does or this time is over: a wrong key is said at once,
and should not be sent two hundred times."""


class Stage(Enum):
    """Where a request stands."""

    WAITING = "waiting"
    AT_WORK = "at work"
    OVER = "over"


class Ticket:
    """One request, from asking for a place to its end.

    Attributes:
        sent_in: The round in which it went; a round ends with the failure that begins a pause.
    """

    __slots__ = ("sent_in", "stage")

    def __init__(self) -> None:
        self.stage = Stage.WAITING
        self.sent_in = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Away:
    """The service stays away, for every agent (CONTRACT K05).

    Attributes:
        tries: How many failures in a row there were.
        since_s: When the first of them was, on the circuit's clock.
        until_s: Until then nobody need ask; None where waiting does not help.
        is_named: The service named that time.
    """

    fault: Fault
    tries: int
    since_s: float
    until_s: float | None
    is_named: bool


class Circuit:
    """One service and model, for all agents of the process.

    A ticket goes `ask` → `admit` → `opened` → `answered`, `failed` or `leave`; one that waits may `leave` at any time.

    Attributes:
        limit: How many requests may be at work at a time; its whole part counts.
        at_work: How many are.
        away: Why all who ask are sent away at once; None while requests are let through or wait.
        is_limited: The last failure was a rate limit.
        fault: The last failure; None before the first.
    """

    def __init__(self, *, now: Callable[[], float], chance: Callable[[], float], cap: int = MAX_AT_WORK) -> None:
        """Makes a closed one.

        Args:
            now: Seconds, never going back.
            chance: Between 0 and 1, spreads the pauses of many hosts.
            cap: The most requests at work at a time.
        """
        self._now = now
        self._chance = chance
        self._cap = cap
        self.limit = float(cap)
        self.at_work = 0
        self.is_limited = False
        self.fault: Fault | None = None
        self._queue: deque[Ticket] = deque()
        self._waiting = 0
        self._round = 0
        self._halved_in = -1
        self._before = 1.0
        self._paused_until_s: float | None = None
        self._probe: Ticket | None = None
        self._probe_until_s = 0.0
        self._is_proven = False
        self._unproven_until_s: float | None = None
        self._failures = 0
        self._failing_since_s = 0.0
        self._first_failed_round = 0
        self._silent: set[str] = set()
        self._away: Away | None = None

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiting

    @property
    def paused_until_s(self) -> float | None:
        """When the pause ends, on the circuit's clock; None where there is none, or it is over."""
        until_s = self._paused_until_s
        return until_s if until_s is not None and until_s > self._now() else None

    @property
    def away(self) -> Away | None:
        away = self._away
        if away is not None and (away.until_s is None or self._now() >= away.until_s):
            self._away = away = None
        return away

    @property
    def wakes_s(self) -> float | None:
        """Seconds until `admit` may let one go by the passing of time alone; None where something must happen first."""
        if not self._waiting:
            return None
        if self._paused_until_s is not None:
            until_s = self._paused_until_s if self._probe is None else self._probe_until_s
        elif not self._is_proven and self._unproven_until_s is not None and self.at_work < self.limit:
            until_s = self._unproven_until_s
        else:
            return None
        return max(0.0, until_s - self._now())

    # --- a request's way --------------------------------------------------------------------------------------------

    def ask(self, *, goes_first: bool = False) -> Ticket:
        """Lets a request wait for its turn: first come first served, but for one that goes before all others."""
        ticket = Ticket()
        self._queue.appendleft(ticket) if goes_first else self._queue.append(ticket)
        self._waiting += 1
        return ticket

    def admit(self) -> Ticket | None:
        """The next request that goes now; None where none may."""
        if not self._waiting or not self._may_go():
            return None
        while True:
            ticket = self._queue.popleft()
            if ticket.stage is Stage.WAITING:
                break
        self._waiting -= 1
        ticket.stage, ticket.sent_in = Stage.AT_WORK, self._round
        self.at_work += 1
        if self._paused_until_s is not None:
            self._probe, self._probe_until_s = ticket, self._now() + PROBE_S
        elif not self._is_proven and self._unproven_until_s is None:
            self._unproven_until_s = self._now() + UNPROVEN_S
        return ticket

    def _may_go(self) -> bool:
        if self.at_work >= int(self.limit):
            return False
        if self._paused_until_s is not None:
            return self._now() >= (self._paused_until_s if self._probe is None else self._probe_until_s)
        if self._is_proven or self.at_work < UNPROVEN_AT_WORK:
            return True
        return self._unproven_until_s is not None and self._now() >= self._unproven_until_s

    def take_back(self, ticket: Ticket) -> bool:
        """Whether a pause has begun since the ticket was let through; it then waits again, before all others."""
        if ticket.stage is not Stage.AT_WORK or ticket.sent_in == self._round or self.paused_until_s is None:
            return False
        self._over(ticket)
        ticket.stage = Stage.WAITING
        self._queue.appendleft(ticket)
        self._waiting += 1
        return True

    def opened(self, ticket: Ticket) -> None:
        """The service has begun to answer: a pause is over, if the request went after it began."""
        self._is_proven = True
        if ticket.sent_in == self._round and ticket.stage is Stage.AT_WORK:
            self._paused_until_s = self._probe = None

    def answered(self, ticket: Ticket) -> None:
        """The reply came whole."""
        self.opened(ticket)
        if self.at_work >= int(self.limit):
            self._grow()
        if ticket.sent_in > self._first_failed_round or not self._failures:
            self._failures = 0
            self._silent.clear()
        self._over(ticket)

    def leave(self, ticket: Ticket) -> None:
        """The request is given up, waiting or at work, and nothing was learned of the service. Idempotent."""
        if ticket.stage is Stage.WAITING:
            ticket.stage = Stage.OVER
            self._waiting -= 1
            if len(self._queue) > 64 and len(self._queue) > 2 * self._waiting:
                self._queue = deque(one for one in self._queue if one.stage is Stage.WAITING)
        elif ticket.stage is Stage.AT_WORK:
            self._over(ticket)

    def _over(self, ticket: Ticket) -> None:
        ticket.stage = Stage.OVER
        self.at_work -= 1
        if self._probe is ticket:
            self._probe = None

    # --- failures ---------------------------------------------------------------------------------------------------

    def failed(self, ticket: Ticket, fault: Fault) -> Away | None:
        """The service failed (kinds `again` and `run`); gives why all must go away where it will not be back soon."""
        now_s, is_news = self._now(), ticket.sent_in == self._round
        self.fault, self.is_limited = fault, fault.cause == "rate_limit"
        # One that went first after a pause was alone: it says that it is too early, not that they were too many.
        if self.is_limited and ticket.sent_in > self._halved_in and ticket is not self._probe:
            self._halve(ticket.sent_in)
        self._over(ticket)
        self._count(now_s, ticket.sent_in, is_news=is_news)
        if fault.kind == "run":
            return self._give_up(fault)
        delay_s = fault.retry_after_s
        if not delay_s:
            if not is_news:
                return self.away
            backoff_s = min(FIRST_DELAY_S * 2.0 ** min(self._failures - 1, 10), MAX_DELAY_S)
            delay_s = backoff_s * (1 - 0.25 * self._chance())
        self._pause(now_s + delay_s)
        left_s = MAX_OUTAGE_S - (now_s - self._failing_since_s)
        if self._failures > RETRIES_IN_A_ROW or delay_s > left_s:
            return self._give_up(fault)
        return self.away

    def _count(self, now_s: float, sent_in: int, *, is_news: bool) -> None:
        if not self._failures:
            self._failing_since_s, self._first_failed_round = now_s, sent_in
        self._failures += is_news

    def silent(self, ticket: Ticket, agent: str, *, is_again: bool) -> Away | None:
        """The service sent nothing for too long (CONTRACT K04).

        One agent's silences are its own; those of several, with no reply in between, are an outage.
        """
        self._over(ticket)
        self._silent.add(agent)
        if not is_again or len(self._silent) < 2:
            return None
        self._count(self._now(), self._round, is_news=False)
        message = f"the model service went silent, for {len(self._silent)} agents and without a reply to any"
        return self._give_up(Fault(kind="again", cause="outage", message=message))

    def _halve(self, sent_in: int) -> None:
        """Once a round: whatever was on its way by then belongs to the same event."""
        base = min(self.limit, float(self.at_work))
        self._before = max(base, self._before)
        self.limit = max(1.0, base // 2)
        self._halved_in = sent_in

    def _grow(self) -> None:
        step = max(1.0, self._before / STEPS_BACK)
        self.limit = min(float(self._cap), self.limit + step / self.limit)
        if self.limit >= self._before:
            self._before = 1.0

    def _pause(self, until_s: float) -> None:
        """Begins a round: what is on its way now can no longer end the pause."""
        if self._paused_until_s is None or until_s >= self._paused_until_s:
            self._paused_until_s, self._probe = until_s, None
            self._round += 1

    def _give_up(self, fault: Fault) -> Away:
        """Sends all away. Where waiting helps, nobody goes before its time; then one goes first, as always."""
        now_s = self._now()
        until_s: float | None = None
        if fault.is_passing:
            until_s = now_s + (fault.retry_after_s or MAX_DELAY_S)
            if (known := self.away) is not None and known.until_s is not None:
                until_s = max(until_s, known.until_s)
        self._pause(now_s if until_s is None else until_s)
        self._away = Away(
            fault=fault,
            tries=self._failures,
            since_s=self._failing_since_s,
            until_s=until_s,
            is_named=bool(fault.retry_after_s),
        )
        for ticket in self._queue:
            ticket.stage = Stage.OVER
        self._queue.clear()
        self._waiting = 0
        return self._away
