"""The host's end of a sandbox: opens a child, hands it deliveries, believes nothing that it says (DESIGN 3, 16)."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

import anyio

from callsheet.errors import SandboxClosedError, SandboxError
from callsheet.model.sandbox import (
    Clock,
    Confinement,
    Delivery,
    ErrorKind,
    Idle,
    SandboxLimits,
    ScriptMessage,
    SyntaxFault,
)
from callsheet.ports import ScriptHost, ScriptSession
from callsheet.sandbox import messages, wire
from callsheet.sandbox.process import ChildProcess, worker_command
from callsheet.sandbox.tally import Tally

_GRACE_S = 0.5
"""CPU that the child gets beyond a limit before the host ends it: it ends itself sooner, and says more when it does."""
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0
_REAP_S = 2.0
_AHEAD_BYTES = 16 * 1024
"""What is handed in at once beside the delivery that comes first: an empty pipe takes that everywhere without waiting,
and so the child never waits for us to read while we wait for it to."""


class SandboxHost(ScriptHost):
    """Opens sandboxes, one child process each.

    Args:
        command: What to start in place of our own worker.
        silence_s: How long a child that has something to do may neither say anything nor use the CPU.
    """

    def __init__(self, *, command: Sequence[str] | None = None, silence_s: float = 30.0) -> None:
        self._command = command
        self._silence_s = silence_s

    def open(self, limits: SandboxLimits) -> AbstractAsyncContextManager[ScriptSession]:
        return _open_session(self._command, limits, self._silence_s)


@asynccontextmanager
async def _open_session(
    command: Sequence[str] | None, limits: SandboxLimits, silence_s: float
) -> AsyncIterator[ScriptSession]:
    child = ChildProcess(command or worker_command(limits))
    session = Session(child, limits, silence_s)
    try:
        yield session
    finally:
        await session.aclose()


class Session(ScriptSession):
    """One child. See `ScriptSession` for what each method promises.

    Child and host take turns: the child starts up, compiles, or works off a delivery, and in each says only what
    belongs there. What comes at another time comes from a child that is no longer ours.
    """

    def __init__(self, child: ChildProcess, limits: SandboxLimits, silence_s: float) -> None:
        self.child = child
        self._limits = limits
        self._silence_s = silence_s
        self._decoder = wire.Decoder(wire.FROM_CHILD)
        self._tally = Tally()
        self._reading = anyio.Lock(fast_acquire=True)
        self._writing = anyio.Lock(fast_acquire=True)
        self._said: deque[ScriptMessage] = deque()
        self._verdicts: deque[SyntaxFault | None] = deque()
        self._confinement: Confinement | None = None
        self._failure: SandboxError | None = None
        self._is_closed = False
        self._turn: Literal["start", "compile", "deliver"] | None = "start"
        self._active_at = anyio.current_time()
        self._ahead: deque[Delivery] = deque()
        self._has_spoken = False
        self._cpu_seen_s: float | None = None
        self._cpu_at_turn_s = 0.0
        self._cpu_at_start_s = 0.0

    # --- the port -----------------------------------------------------------------------------------------------------

    async def ready(self) -> Confinement:
        while self._confinement is None:
            await self._read_while(lambda: self._confinement is None)
        if self._limits.require_confinement and not self._confinement.system_calls:
            raise self._fail(
                f"--require-confinement cannot be kept: {self._confinement.detail}. Install libseccomp (Linux only), "
                "or run without the flag",
                "config",
            )
        return self._confinement

    async def compile(self, body: str) -> SyntaxFault | None:
        await self._begin("compile", _encoded(("compile", body)))
        while not self._verdicts:
            await self._read_while(lambda: not self._verdicts)
        return self._verdicts.popleft()

    async def deliver(self, delivery: Delivery, clock: Clock, ahead: Sequence[tuple[Delivery, Clock]] = ()) -> int:
        frames = [_encoded(messages.to_child(delivery, clock))]
        size = len(frames[0])
        for each, then in ahead:
            frame = _encoded(messages.to_child(each, then))
            size += len(frame)
            if size > _AHEAD_BYTES:
                break
            frames.append(frame)
        taken = len(frames) - 1
        if taken:
            frames.insert(0, wire.encode(("ahead", taken)))
        await self._begin("deliver", b"".join(frames), (delivery, *(each for each, _ in ahead[:taken])))
        return taken

    async def receive(self) -> Sequence[ScriptMessage]:
        while not self._said:
            await self._read_while(lambda: not self._said)
        said = tuple(self._said)
        self._said.clear()
        return said

    async def aclose(self) -> None:
        """Ends the child. Idempotent; bounded; cannot be cancelled."""
        self._is_closed = True
        await self.child.end(is_listening=self._turn is None)

    # --- speaking -----------------------------------------------------------------------------------------------------

    async def _begin(
        self, turn: Literal["compile", "deliver"], data: bytes, deliveries: Sequence[Delivery] = ()
    ) -> None:
        await self.ready()
        async with self._writing:
            # A child in the middle of a turn may wait for us to read: writing to it then could wait for ever.
            while self._turn is not None:
                await self._read_while(lambda: self._turn is not None)
            self._check_usable()
            self._ahead.extend(deliveries)
            self._turn = turn
            self._next_turn()
            try:
                await self.child.send(data, patience_s=self._patience_s, watch=self._watch)
            except OSError:
                while True:  # what it said before it died tells why; ends with the error
                    await self._read_while(lambda: True)

    def _next_turn(self) -> None:
        """The child begins with what was handed in next."""
        if self._ahead:
            self._tally.deliver(self._ahead.popleft())
        self._has_spoken = False
        self._active_at = anyio.current_time()
        self._cpu_at_turn_s = self.child.cpu_s() or 0.0

    def _check_usable(self) -> None:
        if self._is_closed:
            raise SandboxClosedError("the sandbox was closed")
        if self._failure is not None:
            raise self._failure

    # --- listening ----------------------------------------------------------------------------------------------------

    async def _read_while(self, is_wanted: Callable[[], bool]) -> None:
        # One reader at a time; whoever waited for it looks again whether there is still something to wait for.
        async with self._reading:
            if not is_wanted():
                return
            self._check_usable()
            data = await self._next_bytes()
            self._active_at = anyio.current_time()
            if not data:
                raise await self._died()
            try:
                for message in self._decoder.feed(data):
                    self._take(message)
                    if self._failure is not None:
                        return
            except wire.WireError as fault:
                self._fail(f"the script's process was ended: it sent what it must not send ({fault})", "sandbox")

    def _take(self, message: wire.Message) -> None:
        match self._turn, message:
            case "start", ("hello", version, engine, is_filtered, detail):
                self._greet(version, f"QuickJS-ng {engine}; {detail}", is_filtered=is_filtered)
            case "compile", ("compiled", text, line, column):
                place = messages.place(line, column)
                self._verdicts.append(None if text is None else SyntaxFault(message=text, place=place))
                self._turn = None
            case "deliver", ("idle", cpu_s):
                now_s = self.child.cpu_s()
                used_s = cpu_s if now_s is None else max(now_s - self._cpu_at_start_s, 0.0)
                self._said.append(Idle(cpu_s=used_s, has_spoken=self._has_spoken))
                if self._has_spoken:
                    self._ahead.clear()  # the child drops them too
                if self._ahead:
                    self._next_turn()
                else:
                    self._turn = None
            case _, ("over", "fault", detail):
                self._fail(f"the script's process failed: {detail}", "sandbox")
            case _, ("over", limit, _):
                self._fail(self._over(limit), "limit")
            case "deliver", _:
                self._has_spoken = True
                self._said.extend(self._tally.admit(messages.from_child(message)))
            case _:
                raise wire.WireError(f"{message[0]}: out of turn")

    def _greet(self, version: int, detail: str, *, is_filtered: bool) -> None:
        if version != wire.VERSION:
            self._fail(f"the script's process speaks wire version {version}, not {wire.VERSION}", "sandbox")
            return
        self._confinement = Confinement(system_calls=is_filtered, detail=detail)
        self._cpu_at_start_s = self.child.cpu_s() or 0.0
        self._turn = None

    # --- watching -----------------------------------------------------------------------------------------------------

    async def _next_bytes(self) -> bytes:
        while True:
            with anyio.move_on_after(self._patience_s()):
                return await self.child.receive()
            if self._turn is not None:
                self._watch()

    def _left_s(self, cpu_s: float) -> float:
        stretch = self._limits.cpu_limit_s - (cpu_s - self._cpu_at_turn_s)
        total = self._limits.cpu_total_s - (cpu_s - self._cpu_at_start_s)
        return min(stretch, total) + _GRACE_S

    def _patience_s(self) -> float:
        longest_s = min(_LONGEST_WAIT_S, self._silence_s)
        cpu_s = self.child.cpu_s()
        if self._turn is None or cpu_s is None:
            return longest_s
        return min(max(self._left_s(cpu_s), _SHORTEST_WAIT_S), longest_s)

    def _watch(self) -> None:
        cpu_s = self.child.cpu_s()
        idle_s = anyio.current_time() - self._active_at
        if cpu_s is None:
            # No clock to look at: time on the wall then stands for both, with room for a slow machine.
            if idle_s > self._limits.cpu_limit_s + self._silence_s:
                raise self._fail(self._over("stretch"), "limit")
        elif self._left_s(cpu_s) < 0:
            is_total = cpu_s - self._cpu_at_start_s > self._limits.cpu_total_s
            raise self._fail(self._over("total" if is_total else "stretch"), "limit")
        elif cpu_s != self._cpu_seen_s:
            self._cpu_seen_s = cpu_s
            self._active_at = anyio.current_time()
        elif idle_s > self._silence_s:
            raise self._fail(f"the script's process said nothing for {self._silence_s:g} s and was ended", "sandbox")

    # --- failing ------------------------------------------------------------------------------------------------------

    def _over(self, limit: str) -> str:
        limits = self._limits
        match limit:
            case "total":
                return (
                    f"the script used more than {limits.cpu_total_s:g} s of CPU in all; "
                    "if it needs more, raise the limit with --cpu-total"
                )
            case "memory":
                return (
                    f"the script's heap grew beyond {limits.memory_limit_bytes // 2**20} MiB; "
                    "if it needs more, raise the limit with --memory-limit"
                )
            case _:
                return (
                    f"the script used more than {limits.cpu_limit_s:g} s of CPU without waiting for anything: an "
                    "endless loop? If it needs more, raise the limit with --cpu-limit"
                )

    def _fail(self, message: str, kind: ErrorKind) -> SandboxError:
        if self._failure is None:
            self._failure = SandboxError(message, kind=kind)
            self.child.kill()
        return self._failure

    async def _died(self) -> SandboxError:
        await self.child.wait(_REAP_S)
        code = self.child.returncode
        if code == -signal.SIGXCPU:
            return self._fail(self._over("total"), "limit")
        how = f"exit status {code}" if code is None or code >= 0 else f"signal {signal.Signals(-code).name}"
        words = self.child.last_words()
        return self._fail(f"the script's process died ({how}){': ' + words[-1000:] if words else ''}", "sandbox")


def _encoded(message: wire.Message) -> bytes:
    try:
        return wire.encode(message)
    except wire.WireError as fault:
        raise SandboxError(f"a value is too large to be handed to the script: {fault}", kind="limit") from None
