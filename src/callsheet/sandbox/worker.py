"""The child: a message in, run until nothing is ready, messages out (DESIGN 4). Started by `sandbox.process`.

It imports little, so that it is up in milliseconds, and nothing of the rest of Callsheet, so that there is nothing in
it worth having.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time

from callsheet.model.counts import MAX_CONTEXTS
from callsheet.sandbox import confine, wire
from callsheet.sandbox.javascript import (
    CompileError,
    Counts,
    Engine,
    InterruptedScriptError,
    OutOfMemoryError,
    Realm,
)
from callsheet.sandbox.places import Source
from callsheet.sandbox.quickjs_abi import EngineError

_THREAD_STACK_BYTES = 64 * 1024 * 1024
_LOOK_S = 0.05
"""How often what a script says is handed out while it runs (CONTRACT D05)."""
_RESERVE_BYTES = 24 * 1024 * 1024
"""What our own code gets on top of a full heap, to say that it is full."""
_LAST_WORDS_S = 0.2
"""CPU that our own code gets on top of a spent limit, to hand out what the script has said so far."""
_READ_BYTES = 64 * 1024


class OverLimitError(Exception):
    """A limit of CONTRACT D07 was passed. The argument is a name of the wire's `over`."""


class Pipes:
    """The two pipes to the host.

    Attributes:
        messages: How many were put so far.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._decoder = wire.Decoder(wire.TO_CHILD)
        self._waiting: list[bytes] = []
        self.messages = 0

    def receive(self) -> wire.Message | None:
        """The next message, None when the host has closed the pipe."""
        while True:
            for message in self._decoder.feed(b""):
                return message
            data = os.read(self._incoming, _READ_BYTES)
            if not data:
                return None
            for message in self._decoder.feed(data):
                return message

    def put(self, *message: wire.Scalar) -> None:
        """Adds a message to what `flush` writes."""
        self._waiting.append(wire.encode(message))
        self.messages += 1

    def flush(self) -> None:
        """Writes what was put. Blocks while the host does not read: that is how a flood slows the script (L03)."""
        data = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        while data:
            data = data[os.write(self._outgoing, data) :]


class CpuClock:
    """The scripts' CPU seconds, against what is left of the stretch and of the whole (CONTRACT D07)."""

    def __init__(self, stretch_s: float, total_s: float) -> None:
        self._stretch_s, self._total_s = stretch_s, total_s
        self._began = time.process_time()
        self._deadline = 0.0

    def begin_stretch(self) -> None:
        """A delivery has come."""
        self._deadline = time.process_time() + min(self._stretch_s, self._total_s - self.used_s())

    def is_over(self) -> bool:
        """Whether the script has to stop."""
        return time.process_time() > self._deadline

    def grant(self, seconds: float) -> None:
        """Lets our own code run a little longer."""
        self._deadline = time.process_time() + seconds

    def restart(self) -> None:
        """Leaves out what was used so far: the child's own start."""
        self._began = time.process_time()

    def which_limit(self) -> str:
        """The limit that was passed."""
        return "total" if self.used_s() >= self._total_s else "stretch"

    def used_s(self) -> float:
        """CPU seconds since the child was ready."""
        return time.process_time() - self._began


class PeakMemory:
    """The most memory that this process ever had; 0 where the system does not tell.

    The file is opened while files can be. (`getrusage` gives the parent's peak where that is higher.)
    """

    def __init__(self) -> None:
        try:
            self._file = os.open("/proc/self/status", os.O_RDONLY)
        except OSError:
            self._file = -1

    def bytes(self) -> int:
        """In bytes."""
        if self._file < 0:
            return 0
        peak = os.pread(self._file, 4096, 0).partition(b"VmHWM:")[2].split(maxsplit=1)
        return int(peak[0]) * 1024 if peak else 0


class Worker:
    """All scripts of one run.

    Args:
        files: The runtime's files, in order: name and text.
        is_strict: Clock and chance throw (CONTRACT D04).
    """

    def __init__(
        self, pipes: Pipes, cpu: CpuClock, *, memory_bytes: int, is_strict: bool, files: list[tuple[str, bytes]]
    ) -> None:
        self._pipes, self._cpu, self._files = pipes, cpu, files
        self._settings = b"{__proto__: null, context: 0, strict: %s}" % (b"true" if is_strict else b"false")
        self._engine = Engine(limit_bytes=memory_bytes, must_stop=cpu.is_over)
        self._peak = PeakMemory()
        self._full_bytes = self._peak.bytes() + memory_bytes * 0.8
        self.engine_version = self._engine.version
        self._realms: dict[int, Realm] = {}
        self._prepared: Realm | None = None
        self._counts: Counts | None = None

    def serve(self) -> None:
        """Works off what the host says until it closes the pipe or a limit is passed."""
        self._cpu.begin_stretch()
        self._prepared = self._new_realm()
        ahead = 0
        while (message := self._pipes.receive()) is not None:
            if message[0] == "ahead":
                ahead = message[1]
                continue
            before = self._pipes.messages
            self._cpu.begin_stretch()
            try:
                self._take(message)
            except OverLimitError as over:
                self._pipes.put("over", str(over), "")
                self._pipes.flush()
                return
            self._pipes.flush()
            if ahead and self._pipes.messages > before + 1:  # more than that it is idle: the host has to judge anew
                for _ in range(ahead):
                    self._pipes.receive()
                ahead = 0
            ahead = max(ahead - 1, 0)

    def _take(self, message: wire.Message) -> None:
        try:
            if message[0] == "compile":
                self._compile(Source(str(message[1]).encode()))
                return
            realm = self._deliver(message)
            if realm is not None:
                self._run_until_idle(realm)
        except InterruptedScriptError:
            raise self._over(self._cpu.which_limit(), message) from None
        except OutOfMemoryError:
            raise self._over("memory", message) from None
        self._pipes.put("idle", self._cpu.used_s())

    # --- beginning ----------------------------------------------------------------------------------------------------

    def _new_realm(self) -> Realm:
        realm = Realm(self._engine)
        self._counts = self._counts or realm.new_counts()
        realm.load(self._files, self._settings, self._counts)
        return realm

    def _compile(self, script: Source) -> None:
        # In the realm that the script will run in; as nothing runs, a refused one leaves nothing behind.
        self._prepared = self._prepared or self._new_realm()
        try:
            self._prepared.compile(script)
        except CompileError as fault:
            self._pipes.put("compiled", fault.message, *(fault.place or (None, None)))
        else:
            self._pipes.put("compiled", None, None, None)

    def _start(
        self, context: int, body: str, meta: str, args: str | None, seed: int, *rest: wire.Scalar
    ) -> Realm | None:
        if len(self._realms) > MAX_CONTEXTS:
            message = f"at most {MAX_CONTEXTS} workflows can be under way in one run"
            self._pipes.put("threw", context, "limit", "RangeError", message, None, None)
            return None
        script = Source(body.encode())
        self._prepared = self._prepared or self._new_realm()
        try:
            if not self._prepared.has_compiled(script):
                self._prepared.compile(script)
        except CompileError as fault:
            self._pipes.put("threw", context, "refused", "SyntaxError", fault.message, *(fault.place or (None, None)))
            return None
        realm, self._prepared = self._prepared, None
        self._realms[context] = realm
        realm.start(context, meta, args, seed >> 32, seed & 0xFFFF_FFFF, *rest)
        return realm

    # --- one delivery -------------------------------------------------------------------------------------------------

    def _deliver(self, message: wire.Message) -> Realm | None:
        match message:
            case ("start", int(context), str(body), str(meta), str() | None as args, int(seed), *rest):
                return self._start(context, body, meta, args, seed, *rest)
            case ("end", int(context), *_):
                if (ended := self._realms.pop(context, None)) is not None:
                    ended.call("close")
                    ended.close()
                return None
            case (str(tag), int(context), *fields):
                realm = self._realms.get(context)
                if realm is not None:
                    realm.call("deliver", tag, *fields[-3:], *fields[:-3])
                return realm
            case _:
                raise EngineError("a message of no known sort")

    def _run_until_idle(self, realm: Realm) -> None:
        while True:
            self._run_jobs(realm)
            if not realm.has_unhandled():
                break
            realm.report_unhandled()
        self._drain(realm)

    def _run_jobs(self, realm: Realm) -> None:
        look_at = time.monotonic() + _LOOK_S
        while self._engine.run_job():
            if time.monotonic() < look_at:
                continue
            # The engine asks about its limit every few thousand steps, which many short jobs never come to.
            if self._cpu.is_over():
                raise InterruptedScriptError
            self._drain(realm)
            self._pipes.flush()
            look_at = time.monotonic() + _LOOK_S

    # --- what the script said -----------------------------------------------------------------------------------------

    def _drain(self, realm: Realm) -> None:
        self._engine.lend(_RESERVE_BYTES)
        try:
            while text := realm.call("drain"):
                for tag, *fields in json.loads(text):
                    self._say(realm, tag, fields)
        finally:
            self._engine.lend(0)

    def _say(self, realm: Realm, tag: str, fields: list[wire.Scalar | list[int]]) -> None:
        said: list[wire.Scalar] = [realm.call("blob", *field) if isinstance(field, list) else field for field in fields]
        match tag:
            case "memory":
                # A lack of memory can surface as an exception that is null, and what filled the heap is gone by now.
                if said[0] or self._peak.bytes() > self._full_bytes:
                    raise OutOfMemoryError
                return
            case "threw" | "warned":
                line, column = said[-2:]
                if line is not None:
                    said[-2:] = realm.script.place(int(line), int(column or 1))
            case "agent" | "workflow":
                said[-1] = None if said[-1] is None else realm.script.line(int(said[-1]))
            case "slot":
                said[-2] = None if said[-2] is None else realm.script.line(int(said[-2]))
            case _:
                pass
        self._pipes.put(tag, realm.context, *said)

    def _over(self, limit: str, message: wire.Message) -> OverLimitError:
        # What the script has said so far still goes out, as far as that is possible.
        self._cpu.grant(_LAST_WORDS_S)
        self._engine.was_interrupted = False
        with contextlib.suppress(InterruptedScriptError, OutOfMemoryError, KeyError):
            self._drain(self._realms[message[1]])
        return OverLimitError(limit)


def _serve(pipes: Pipes, arguments: list[str]) -> None:
    cpu_limit, cpu_total, memory, strict, runtime = arguments
    files = []
    for name in sorted(os.listdir(runtime)):  # noqa: PTH208  pathlib takes 5 ms to import
        if name.endswith(".js"):
            with open(f"{runtime}/{name}", "rb") as file:  # noqa: PTH123
                files.append((name, file.read()))
    cpu = CpuClock(float(cpu_limit), float(cpu_total))
    worker = Worker(pipes, cpu, memory_bytes=int(memory), is_strict=strict == "strict", files=files)
    is_filtered, detail = confine.confine(memory_bytes=int(memory), cpu_s=float(cpu_total))
    pipes.put("hello", wire.VERSION, worker.engine_version, is_filtered, detail[:500])
    pipes.flush()
    cpu.restart()
    worker.serve()


def _run(pipes: Pipes, arguments: list[str]) -> None:
    code = 1
    try:
        _serve(pipes, arguments)
        code = 0
    except BrokenPipeError:
        code = 0  # the host is gone
    except Exception as fault:  # the child's loop: whatever it is, the host is told  # noqa: BLE001
        sys.excepthook(type(fault), fault, fault.__traceback__)
        limit = "memory" if isinstance(fault, MemoryError | OutOfMemoryError) else "fault"
        pipes.put("over", limit, f"{type(fault).__name__}: {fault}"[:1000])
        pipes.flush()
    finally:
        os._exit(code)


def main(arguments: list[str]) -> None:
    """Runs the child; does not return.

    Args:
        arguments: The parent's process id, CPU seconds of a stretch and of the whole, heap in bytes, `strict` or
            `portable`, and the folder of the runtime's JavaScript.
    """
    parent, *rest = arguments
    confine.die_with(int(parent))
    pipes = Pipes(*confine.take_pipes())
    os.environ["TZ"] = "UTC0"
    time.tzset()
    # The engine's stack: the main thread's own cannot be made larger once it runs.
    threading.stack_size(_THREAD_STACK_BYTES)
    engine = threading.Thread(target=_run, args=(pipes, rest), name="engine")
    engine.start()
    engine.join()
