"""Calls that share the beginning of their prompts: one goes first, so that the rest find it cached (CONTRACT K03)."""

from __future__ import annotations

from dataclasses import field
from types import TracebackType

import anyio

from callsheet.agents.timing import Timing
from callsheet.model.dataclass import dataclass
from callsheet.model.reports import Waiting
from callsheet.ports import AgentReporter

FEWEST_CALLS = 3
"""Fewer calls than this wait for nobody."""

GATHERING_S = 0.05
"""So long a second call waits to see whether it is one of many: those of one `parallel` come within milliseconds."""

LONGEST_WAIT_S = 5.0

CACHED_FOR_S = 300.0
"""How long the service keeps a prefix after its last use."""

MAX_PREFIXES = 256


@dataclass(slots=True, eq=False)
class _Prefix:
    """What is known of one prefix.

    Attributes:
        first_at_s: When the call went that warms it now; None where none does.
        calls: That call and those that wait for it.
        are_many: Set when there are enough of them to wait.
        is_decided: Set when it is warm, or the first call ended without having warmed it.
    """

    warm_until_s: float = float("-inf")
    first_at_s: float | None = None
    calls: int = 0
    are_many: anyio.Event = field(default_factory=anyio.Event)
    is_decided: anyio.Event = field(default_factory=anyio.Event)

    def decide(self) -> None:
        """Lets those who wait go on, or choose another one to go first."""
        self.is_decided.set()
        self.first_at_s = None
        self.calls = 0
        self.are_many, self.is_decided = anyio.Event(), anyio.Event()


class Warmups:
    """The prefixes that are warm, or being warmed, for the agents of one backend."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._prefixes: dict[object, _Prefix] = {}

    def turn(self, key: object | None, reporter: AgentReporter) -> WarmupTurn:
        """The turn of a call: `async with` waits until it may go. `key` stands for its prefix, None for no waiting."""
        if key is None:
            return WarmupTurn(None, self._timing, reporter)
        prefix = self._prefixes.pop(key, None) or _Prefix()
        self._prefixes[key] = prefix
        if len(self._prefixes) > MAX_PREFIXES:
            del self._prefixes[next(iter(self._prefixes))]
        return WarmupTurn(prefix, self._timing, reporter)


class WarmupTurn:
    """One call's turn."""

    __slots__ = ("_is_first", "_prefix", "_reporter", "_timing")

    def __init__(self, prefix: _Prefix | None, timing: Timing, reporter: AgentReporter) -> None:
        self._prefix = prefix
        self._timing = timing
        self._reporter = reporter
        self._is_first = False

    async def __aenter__(self) -> WarmupTurn:
        if self._prefix is not None:
            await self._wait(self._prefix)
        return self

    async def _wait(self, prefix: _Prefix) -> None:
        timing = self._timing
        while timing.monotonic() >= prefix.warm_until_s:
            if prefix.first_at_s is None:
                prefix.first_at_s, prefix.calls, self._is_first = timing.monotonic(), 1, True
                return
            until_s, decided, are_many = prefix.first_at_s + LONGEST_WAIT_S, prefix.is_decided, prefix.are_many
            if timing.monotonic() >= until_s:
                return
            prefix.calls += 1
            if prefix.calls >= FEWEST_CALLS:
                are_many.set()
            await timing.wait(are_many, GATHERING_S)
            if not are_many.is_set():
                return
            if not decided.is_set():
                left_s = until_s - timing.monotonic()
                await self._reporter.report(Waiting(why="cache warm-up", until=timing.iso_in(left_s)))
                await timing.wait(decided, left_s)
            if not decided.is_set():
                return

    def opened(self) -> None:
        """The service has begun to answer: the prefix is cached from now on."""
        if self._prefix is not None:
            self._prefix.warm_until_s = self._timing.monotonic() + CACHED_FOR_S
            self._prefix.decide()
            self._is_first = False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_first and self._prefix is not None:
            self._prefix.decide()
