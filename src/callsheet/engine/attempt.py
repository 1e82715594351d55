"""One call at the executor, up to its `timeout`, over as many attempts as the service makes necessary."""

from __future__ import annotations

from dataclasses import replace

import anyio

from callsheet.engine.call import CANCELLED, Call
from callsheet.engine.outage import Outage
from callsheet.engine.pauses import Pauses
from callsheet.engine.pots import sound
from callsheet.errors import BackendUnavailableError
from callsheet.model.outcome import AgentOutcome, CancelReason, Usage
from callsheet.ports import AgentHandle, AgentReporter, Executor

CANCEL_WAIT_S = 2.5
"""How long an agent that is cancelled may take to say how it ended; a backend has 2 s."""


class Attempt:
    """Has one call done. Whatever happens, it has an outcome."""

    def __init__(
        self, call: Call, *, executor: Executor, reporter: AgentReporter, pauses: Pauses, outage: Outage
    ) -> None:
        self._call = call
        self._pauses = pauses
        self._executor = executor
        self._reporter = reporter
        self._outage = outage
        self._handle: AgentHandle | None = None
        self._lost: Usage | None = None

    async def outcome(self) -> AgentOutcome:
        """Does the call, and says how it ended. Only a cancelling, a restart or its `timeout` cut it short."""
        call, timeout_s = self._call, self._call.task.options.timeout_s
        with anyio.CancelScope() as scope:
            call.scope = scope
            if call.cancel_reason is not None:
                scope.cancel()
            try:
                await self._pauses.regain(call)
                call.is_restarting = False
                if timeout_s is not None:
                    scope.deadline = anyio.current_time() + timeout_s
                return self._in_all(await self._done())
            except BackendUnavailableError as error:
                call.cancel_reason = call.cancel_reason or "run_failed"
                message = f"the service stayed away: {error.message}"
                return self._in_all(AgentOutcome(status="cancelled", error=message))
        reason = call.cancel_reason or ("restart" if call.is_restarting else "timeout")
        outcome = self._in_all(await self._cut_short(reason))
        if outcome.status != "cancelled":
            return outcome
        if reason == "timeout":
            return replace(outcome, status="timed_out", error=f"it took longer than its timeout of {timeout_s:g} s")
        return replace(outcome, error=CANCELLED[call.cancel_reason or reason])

    async def _done(self) -> AgentOutcome:
        """Submits it, and again where the service was away and the backend could not hold the agent meanwhile."""
        while True:
            self._handle = None
            try:
                self._handle = await self._executor.submit(self._call.task, self._reporter)
                await self._call.reach(self._handle)
                return await self._handle.outcome()
            except BackendUnavailableError as error:
                if error.usage is not None:
                    self._lost = error.usage if self._lost is None else self._lost + error.usage
                self._handle = None
                await self._outage.hold(self._call, error)

    async def _cut_short(self, reason: CancelReason) -> AgentOutcome:
        handle = self._handle
        with anyio.CancelScope(shield=True), anyio.move_on_after(CANCEL_WAIT_S):
            if handle is not None:
                try:
                    await handle.cancel(reason)
                    return await handle.outcome()
                except BackendUnavailableError as error:
                    return AgentOutcome(status="cancelled", usage=error.usage or Usage())
        return AgentOutcome(status="cancelled")

    def _in_all(self, outcome: AgentOutcome) -> AgentOutcome:
        """With what attempts used that came to nothing."""
        usage = sound(outcome.usage if self._lost is None else self._lost + outcome.usage)
        return outcome if usage is outcome.usage else replace(outcome, usage=usage)
