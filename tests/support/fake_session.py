"""A sandbox without a child: the script is a Python coroutine that is run as QuickJS would run it.

The coroutine never sees the event loop: it awaits `Promise`s, which only deliveries settle, and is run until nothing of
it is ready, as the port says. So a test writes `await js.agent("…")` and reads like the script that it stands for.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any

import anyio

from callsheet.errors import SandboxError
from callsheet.model.call import OPTION_NAMES
from callsheet.model.sandbox import (
    AgentCalled,
    Clock,
    Confinement,
    Delivery,
    EndContext,
    FireTimer,
    Idle,
    Logged,
    LogLevel,
    PhaseEntered,
    RejectCall,
    ResolveCall,
    Returned,
    ScriptMessage,
    SlotFailed,
    StartScript,
    SyntaxFault,
    Threw,
    TimerCleared,
    TimerSet,
    WorkflowCalled,
)
from callsheet.model.values import JsonValue, Place
from callsheet.ports import ScriptSession

ScriptFn = Callable[["Js"], Coroutine[Any, Any, JsonValue]]
FATAL_NAMES = ("AgentCapError", "BudgetExceededError")


class ScriptError(Exception):
    """An error as a script throws it, or has it thrown at it."""

    def __init__(self, name: str, message: str = "", call: int | None = None) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.call = call


class Promise:
    """What a script awaits."""

    def __init__(self) -> None:
        self.is_settled = False
        self.value: Any = None
        self.error: ScriptError | None = None
        self.waiting: list[_Task] = []

    def __await__(self) -> Generator[Promise, None, Any]:
        if not self.is_settled:
            yield self
        if self.error is not None:
            raise self.error
        return self.value


class _Task:
    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine
        self.ended = Promise()


class Gate:
    """Holds a turn up in its middle until a test opens it."""

    def __init__(self, session: FakeSession) -> None:
        self._session = session
        self.promise = Promise()

    def open(self) -> None:
        """Lets the script go on, in the same turn."""
        self._session.settle(self.promise, None)
        self._session.gates.discard(self.promise)
        self._session.run_until_idle()


class Js:
    """The API of one script: what stands on the global object in the sandbox."""

    def __init__(self, session: FakeSession, start: StartScript) -> None:
        self._session = session
        self.context = start.context
        self.start = start
        self.args: JsonValue = None if start.args_json is None else json.loads(start.args_json)
        self.title: str | None = None
        self.calls: dict[int, Promise] = {}
        self.timers: dict[int, Promise] = {}
        self._next_call = 0
        self._next_timer = 0
        self._combinators = 0

    @property
    def now_ms(self) -> int:
        """`Date.now()`."""
        return self._session.clock.now_ms

    @property
    def spent(self) -> int:
        """`budget.spent()`."""
        return self._session.clock.spent_tokens

    def agent(self, prompt: Any = "do it", **options: Any) -> Promise:
        """`agent(prompt, options)`."""
        known = {name: value for name, value in options.items() if name in OPTION_NAMES}
        return self._call(
            lambda call: AgentCalled(
                context=self.context,
                call=call,
                prompt=prompt if isinstance(prompt, str) else None,
                prompt_type="a string" if isinstance(prompt, str) else type(prompt).__name__,
                options=known,
                options_fault=None,
                unknown_options=tuple(name for name in options if name not in OPTION_NAMES),
                phase=self.title,
                line=call,
            )
        )

    def workflow(
        self,
        name: str | None = None,
        *,
        path: str | None = None,
        script: str | None = None,
        args: JsonValue = None,
        fault: str | None = None,
    ) -> Promise:
        """`workflow(name, args)`, `workflow({scriptPath}, args)` or `workflow({script}, args)`."""
        return self._call(
            lambda call: WorkflowCalled(
                context=self.context,
                call=call,
                name=name,
                script_path=path,
                script=script,
                fault=fault,
                args_json=None if args is None else json.dumps(args),
                phase=self.title,
                line=call,
            )
        )

    def _call(self, message: Callable[[int], ScriptMessage]) -> Promise:
        self._next_call += 1
        promise = self.calls[self._next_call] = Promise()
        self.say(message(self._next_call))
        return promise

    def log(self, message: str, level: LogLevel = "info") -> None:
        """`log(…)`."""
        self.say(Logged(context=self.context, level=level, message=message))

    def phase(self, title: str) -> None:
        """`phase(title)`."""
        self.title = title
        self.say(PhaseEntered(context=self.context, title=title))

    def sleep(self, delay_ms: float) -> Promise:
        """`new Promise(r => setTimeout(r, delay_ms))`."""
        self._next_timer += 1
        promise = self.timers[self._next_timer] = Promise()
        self.say(TimerSet(context=self.context, timer=self._next_timer, delay_ms=delay_ms))
        return promise

    def clear(self, timer: int) -> None:
        """`clearTimeout(timer)`."""
        self.say(TimerCleared(context=self.context, timer=timer))

    def say(self, message: ScriptMessage) -> None:
        """Any message at all."""
        self._session.outbox.append(message)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Promise:
        """Calls an async function without awaiting it."""
        return self._session.spawn(coroutine)

    async def all(self, *promises: Promise) -> list[Any]:
        """`Promise.all`, but that a rejection is seen in order."""
        return [await promise for promise in promises]

    async def parallel(self, *thunks: Callable[[], Awaitable[Any]]) -> list[Any]:
        """`parallel(thunks)`."""
        self._combinators += 1
        number = self._combinators

        async def slot(index: int, thunk: Callable[[], Awaitable[Any]]) -> Any:
            try:
                return await thunk()
            except ScriptError as error:
                self.say(
                    SlotFailed(
                        context=self.context,
                        combinator="parallel",
                        number=number,
                        index=index,
                        name=error.name,
                        message=error.message,
                        line=7,
                        cause_call=error.call,
                    )
                )
                return None

        return await self.all(*[self.spawn(slot(index, thunk)) for index, thunk in enumerate(thunks)])

    async def forever(self) -> None:
        """`await new Promise(() => {})`."""
        await Promise()


class FakeSession(ScriptSession):
    """Runs coroutines by the body that stands for them.

    Attributes:
        deliveries: All that was delivered, each with its clock.
        compiled: The bodies that were compiled.
        handed_ahead: How many deliveries were handed in together with one before them.
    """

    def __init__(
        self,
        main: ScriptFn,
        *,
        nested: Mapping[str, ScriptFn] | None = None,
        faults: Mapping[str, SyntaxFault] | None = None,
    ) -> None:
        """Makes a session; `nested` and `faults` are by `Script.body`, the run's own script is the body `main`."""
        self._scripts = {"main": main, **(nested or {})}
        self._faults = faults or {}
        self._contexts: dict[int, Js] = {}
        self._ready: deque[_Task] = deque()
        self._live: set[_Task] = set()
        self._news = anyio.Event()
        self._death: SandboxError | None = None
        self._is_receiving = False
        self.is_in_turn = False
        self.clock = Clock(now_ms=0)
        self.outbox: list[ScriptMessage] = []
        self._silent = 0
        self.gates: set[Promise] = set()
        self.deliveries: list[tuple[Delivery, Clock]] = []
        self.compiled: list[str] = []
        self.handed_ahead = 0

    # --- for tests --------------------------------------------------------------------------------------------------

    def kill(self, error: SandboxError) -> None:
        """The child dies."""
        self._death = error
        self._news.set()

    def close(self) -> None:
        """Ends the scripts that still wait."""
        for task in self._live:
            task.coroutine.close()
        self._live.clear()

    def gate(self) -> Gate:
        """A place at which a script can be held in the middle of a turn: `await gate.promise`."""
        gate = Gate(self)
        self.gates.add(gate.promise)
        return gate

    def context(self, number: int) -> Js:
        """The API that the script of a context was given."""
        return self._contexts[number]

    # --- the port ---------------------------------------------------------------------------------------------------

    async def ready(self) -> Confinement:
        if self._death is not None:
            raise self._death
        return Confinement(system_calls=True, detail="a fake")

    async def compile(self, body: str) -> SyntaxFault | None:
        assert not self.is_in_turn, "compiled in the middle of a turn"
        self.compiled.append(body)
        return self._faults.get(body)

    async def deliver(self, delivery: Delivery, clock: Clock, ahead: Sequence[tuple[Delivery, Clock]] = ()) -> int:
        if self._death is not None:
            raise self._death
        taken = 0 if self.gates else len(ahead)  # held in the middle of a turn it could not go on to the next
        self.handed_ahead += taken
        for each, then in ((delivery, clock), *ahead[:taken]):
            said = len(self.outbox)
            self._hand_in(each, then)
            if len(self.outbox) > said + 1:
                break
        return taken

    def _hand_in(self, delivery: Delivery, clock: Clock) -> None:
        assert not self.is_in_turn, "delivered in the middle of a turn"
        assert clock.now_ms >= self.clock.now_ms, "time went back"
        assert clock.spent_tokens >= self.clock.spent_tokens, "spent less than before"
        self.is_in_turn = True
        self._silent = len(self.outbox)
        self.clock = clock
        self.deliveries.append((delivery, clock))
        self._apply(delivery)
        self.run_until_idle()

    async def receive(self) -> Sequence[ScriptMessage]:
        assert not self._is_receiving, "two readers"
        self._is_receiving = True
        try:
            while not self.outbox:
                if self._death is not None:
                    raise self._death
                self._news = anyio.Event()
                await self._news.wait()
            batch, self.outbox = self.outbox, []
            self._silent = -1  # who read in the middle of a turn has heard something of it
            return batch
        finally:
            self._is_receiving = False

    # --- the engine of the fake -------------------------------------------------------------------------------------

    def _apply(self, delivery: Delivery) -> None:
        match delivery:
            case StartScript():
                js = self._contexts[delivery.context] = Js(self, delivery)
                self.spawn(self._main(js, self._scripts[delivery.body](js)))
            case ResolveCall():
                promise = self._contexts[delivery.context].calls.pop(delivery.call)
                self.settle(promise, json.loads(delivery.value_json))
            case RejectCall():
                promise = self._contexts[delivery.context].calls.pop(delivery.call)
                self.settle(promise, None, ScriptError(delivery.name, delivery.message, delivery.call))
            case FireTimer():
                self.settle(self._contexts[delivery.context].timers.pop(delivery.timer), None)
            case EndContext():
                del self._contexts[delivery.context]

    async def _main(self, js: Js, script: Coroutine[Any, Any, JsonValue]) -> None:
        try:
            value = await script
        except ScriptError as error:
            self.outbox.append(
                Threw(
                    context=js.context,
                    kind="limit" if error.name in FATAL_NAMES else "script",
                    name=error.name,
                    message=error.message,
                    place=Place(line=3, column=5),
                )
            )
        else:
            self.outbox.append(Returned(context=js.context, value_json=json.dumps(value)))

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Promise:
        task = _Task(coroutine)
        self._live.add(task)
        self._ready.append(task)
        return task.ended

    def settle(self, promise: Promise, value: Any, error: ScriptError | None = None) -> None:
        assert not promise.is_settled
        promise.is_settled, promise.value, promise.error = True, value, error
        self._ready.extend(promise.waiting)

    def run_until_idle(self) -> None:
        while self._ready:
            task = self._ready.popleft()
            try:
                awaited = task.coroutine.send(None)
            except StopIteration as stop:
                self._live.discard(task)
                self.settle(task.ended, stop.value)
            except ScriptError as error:
                self._live.discard(task)
                self.settle(task.ended, None, error)
            else:
                assert isinstance(awaited, Promise), "a script awaits promises only"
                awaited.waiting.append(task)
        if self.is_in_turn and not any(gate.waiting for gate in self.gates):
            self.is_in_turn = False
            self.outbox.append(Idle(cpu_s=0.0, has_spoken=len(self.outbox) != self._silent))
        self._news.set()
