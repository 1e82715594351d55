"""The door to one model service, for all agents of the process: waits as its circuit says, and shows that it does."""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType
from typing import Literal

import anyio
from anyio.lowlevel import RunVar

from callsheet.agents.anthropic.circuit import Away, Circuit, Stage, Ticket
from callsheet.agents.anthropic.faults import SERVICE_ERRORS, judge
from callsheet.agents.timing import Timing
from callsheet.errors import BackendUnavailableError
from callsheet.model.call import ServiceName
from callsheet.model.reports import Waiting
from callsheet.ports import AgentReporter


class Door:
    """One circuit, and those who wait before it.

    Attributes:
        circuit: What decides. Nobody else may change it.
        service: Which one it is, for what people are told to do.
    """

    def __init__(self, timing: Timing, service: ServiceName = "anthropic") -> None:
        self._timing = timing
        self.service: ServiceName = service
        self.circuit = Circuit(now=timing.monotonic, chance=timing.chance)
        self._calls: dict[Ticket, anyio.Event] = {}
        self._keeper: Ticket | None = None
        self._sent_away: Away | None = None

    def request(self, reporter: AgentReporter, *, agent: str, goes_first: bool, is_silent: bool = False) -> Request:
        """A place for one request: `async with` waits for it, and the block's end says how the request was.

        Args:
            reporter: Is told of waiting.
            agent: Who asks.
            goes_first: It goes before those that wait already: the agent's last request failed.
            is_silent: The agent's last request met silence.

        Raises:
            BackendUnavailableError: On entering or on leaving: the service stays away for all (CONTRACT K05).
        """
        return Request(self, reporter, agent=agent, goes_first=goes_first, is_silent=is_silent)

    async def enter(self, reporter: AgentReporter, *, goes_first: bool) -> Ticket:
        """Waits for a place. Cancelling gives it up.

        Raises:
            BackendUnavailableError: The service stays away for all.
        """
        if (away := self.circuit.away) is not None:
            raise self.unavailable(away)
        ticket = self.circuit.ask(goes_first=goes_first)
        self.pump()
        if ticket.stage is Stage.WAITING:
            try:
                await self._wait(ticket, reporter)
            except BaseException:
                self.circuit.leave(ticket)
                raise
            finally:
                self._calls.pop(ticket, None)
                if self._keeper is ticket:
                    self._keeper = None
                self.pump()
        return ticket

    async def _wait(self, ticket: Ticket, reporter: AgentReporter) -> None:
        circuit = self.circuit
        said: tuple[str, float | None] | None = None
        # Between being let through and being called a pause may have begun.
        while ticket.stage is Stage.WAITING or circuit.take_back(ticket):
            if (away := circuit.away) is not None:
                raise self.unavailable(away)
            called = self._calls[ticket] = anyio.Event()
            why, until_s = self._why()
            if why is not None and (why, until_s) != said:
                said = (why, until_s)
                until = None if until_s is None else self._timing.iso_in(until_s - self._timing.monotonic())
                reason = None if until is None or circuit.fault is None else circuit.fault.message
                await reporter.report(Waiting(why=why, until=until, reason=reason))
            # One of those who wait minds the clock for all.
            if self._keeper is None:
                self._keeper = ticket
            await self._timing.wait(called, circuit.wakes_s if self._keeper is ticket else None)
            self.pump()
        if ticket.stage is Stage.OVER:
            assert self._sent_away is not None
            raise self.unavailable(self._sent_away)

    def _why(self) -> tuple[Literal["rate limit", "service"] | None, float | None]:
        """What is waited for, and until when; what is over in a moment has no name."""
        circuit = self.circuit
        until_s = circuit.paused_until_s
        if until_s is not None:
            return ("rate limit" if circuit.is_limited else "service"), until_s
        return ("rate limit" if circuit.at_work >= int(circuit.limit) else None), None

    def pump(self) -> None:
        """Lets through whoever may go, and sees that somebody minds the clock: after all that can change either."""
        circuit = self.circuit
        while (ticket := circuit.admit()) is not None:
            if (called := self._calls.get(ticket)) is not None:
                called.set()
        if self._keeper is None and circuit.wakes_s is not None:
            for ticket, called in self._calls.items():
                if ticket.stage is Stage.WAITING:
                    self._keeper = ticket
                    called.set()
                    return

    def send_away(self, away: Away) -> None:
        """Tells all who wait that the service stays away."""
        self._sent_away = away
        self.call_all()

    def call_all(self) -> None:
        """Calls all who wait: a pause has begun or grown."""
        for called in self._calls.values():
            called.set()

    def unavailable(self, away: Away) -> BackendUnavailableError:
        """The error for a failure that the next agent would meet too."""
        timing, fault = self._timing, away.fault
        now_s = timing.monotonic()
        retry_at = timing.iso_in(away.until_s - now_s) if away.until_s is not None and away.is_named else None
        tried = f" (tried {away.tries} times)" if away.tries > 1 else ""
        return BackendUnavailableError(
            f"{fault.message}{tried}", cause=fault.cause, retry_at=retry_at, since=timing.iso_in(away.since_s - now_s)
        )

    def now_s(self) -> float:
        """Unix time, for dates that a service names."""
        return self._timing.now().timestamp()


class Request:
    """One request through a door."""

    __slots__ = ("_agent", "_door", "_goes_first", "_is_silent", "_reporter", "_ticket")

    def __init__(self, door: Door, reporter: AgentReporter, *, agent: str, goes_first: bool, is_silent: bool) -> None:
        self._door = door
        self._reporter = reporter
        self._agent = agent
        self._goes_first = goes_first
        self._is_silent = is_silent
        self._ticket: Ticket | None = None

    async def __aenter__(self) -> Request:
        self._ticket = await self._door.enter(self._reporter, goes_first=self._goes_first)
        return self

    def opened(self) -> None:
        """The service has begun to answer."""
        assert self._ticket is not None
        self._door.circuit.opened(self._ticket)
        self._door.pump()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._ticket is not None
        door, circuit, ticket = self._door, self._door.circuit, self._ticket
        away: Away | None = None
        if error is None:
            circuit.answered(ticket)
        elif not isinstance(error, SERVICE_ERRORS):
            circuit.leave(ticket)
        else:
            fault, pause_s = judge(error, door.now_s(), service=door.service), circuit.paused_until_s
            match fault.kind:
                case "agent":
                    circuit.answered(ticket)
                case "stalled":
                    away = circuit.silent(ticket, self._agent, is_again=self._is_silent)
                case "again" | "run":
                    away = circuit.failed(ticket, fault)
            if away is not None:
                door.send_away(away)
            elif circuit.paused_until_s != pause_s:
                door.call_all()
        door.pump()
        if away is not None:
            raise door.unavailable(away) from error


class Doors:
    """The doors of a process, by service and model."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._doors: dict[tuple[Hashable, str], Door] = {}

    def door(self, service: Hashable, model: str, name: ServiceName = "anthropic") -> Door:
        """The door to a model of a service; whoever has another credential there has another door."""
        known = self._doors.get((service, model))
        if known is None:
            known = self._doors[(service, model)] = Door(self._timing, name)
        return known


_SHARED: RunVar[Doors] = RunVar("callsheet-doors")


def shared_doors() -> Doors:
    """The doors that all agents of this event loop share, whichever run or backend they belong to."""
    try:
        return _SHARED.get()
    except LookupError:
        doors = Doors(Timing())
        _SHARED.set(doors)
        return doors
