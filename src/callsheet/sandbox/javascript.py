"""QuickJS-ng through its C interface: one heap (`Engine`), several worlds in it (`Realm`). Runs in the child.

The Python wrapper of the same library (`import quickjs`) gives every context a heap of its own, turns thrown values
into Python strings outside the time limit, cuts strings at NUL, and knows neither file names nor unhandled rejections.
Its shared object exports the engine's public interface, which has all of this. No script value becomes a Python object
here: what comes out is text that our own JavaScript made.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_size_t, c_void_p
from typing import TYPE_CHECKING

from callsheet.sandbox.places import Source
from callsheet.sandbox.quickjs_abi import (
    BOOL,
    EXCEPTION,
    INT,
    MODULE,
    NULL,
    OBJECT,
    STRICT,
    UNDEFINED,
    EngineError,
    EvalOptions,
    Interrupt,
    Rejection,
    Value,
    load,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STACK_BYTES = 32 * 1024 * 1024
"""What scripts may use of the thread's stack: some 19,000 plain frames (CONTRACT D07 asks for 4,000)."""

# The body begins on line 1, at column 1: the opening takes the lines -1 and 0.
_FIRST_LINE = -1
_OPENING = b"async function $script() {\n\n"
_CLOSING = b"\n}"
_LONGEST_MESSAGE = 500


Counts = Value
"""The object in which all realms of a run count what they use (CONTRACT L03)."""


class InterruptedScriptError(Exception):
    """The CPU limit ended what ran. Nothing of the script goes on."""


class OutOfMemoryError(Exception):
    """Our own code in a realm found no memory."""


class CompileError(Exception):
    """The engine's refusal of a script.

    Attributes:
        place: Line and column as people count them (CONTRACT S06), None where the engine did not say.
    """

    def __init__(self, message: str, place: tuple[int, int] | None) -> None:
        super().__init__(message)
        self.message, self.place = message, place


class Engine:
    """One heap with its job queue. Everything must happen in the thread that made it.

    Args:
        limit_bytes: The heap, over all realms.
        must_stop: Asked every few thousand steps of a script; True ends it for good.
    """

    def __init__(self, *, limit_bytes: int, must_stop: Callable[[], bool]) -> None:
        self.library = load()
        self.version = self.library.JS_GetVersion().decode()
        self._limit_bytes = limit_bytes
        self.runtime = self.library.JS_NewRuntime()
        self.library.JS_SetMemoryLimit(self.runtime, limit_bytes)
        self.library.JS_SetMaxStackSize(self.runtime, STACK_BYTES)
        self.realms: dict[int, Realm] = {}
        self.was_interrupted = False
        self._must_stop = must_stop
        self._ran = c_void_p()
        # The callbacks live as long as the engine: C holds them.
        self._callbacks = (Interrupt(self._interrupt), Rejection(self._track))
        self.library.JS_SetInterruptHandler(self.runtime, self._callbacks[0], None)
        self.library.JS_SetHostPromiseRejectionTracker(self.runtime, self._callbacks[1], None)

    def _interrupt(self, runtime: int, opaque: int) -> int:
        self.was_interrupted = self.was_interrupted or self._must_stop()
        return int(self.was_interrupted)

    def _track(self, context: int, promise: Value, reason: Value, is_handled: bool, opaque: int) -> None:
        realm = self.realms.get(context)
        if realm is not None:
            realm.track(promise, reason, is_handled)

    def run_job(self) -> bool:
        """Runs the next job; False when there is none.

        Raises:
            InterruptedScriptError: The limit ended it.
        """
        done = self.library.JS_ExecutePendingJob(self.runtime, byref(self._ran))
        if done < 0:
            if self.was_interrupted:
                raise InterruptedScriptError
            realm = self.realms.get(self._ran.value or 0)
            if realm is not None:
                realm.report_job()
        return bool(done)

    def lend(self, extra_bytes: int) -> None:
        """Sets the heap's limit with something on top, so that our own code can say why there is no room left."""
        self.library.JS_SetMemoryLimit(self.runtime, self._limit_bytes + extra_bytes)


class Realm:
    """One world: a global object of its own, on the engine's heap."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._library = engine.library
        self._pointer: int = self._library.JS_NewContext(engine.runtime)
        # The engine gives DOMException to the first context of a heap only.
        if not self._pointer or self._library.JS_AddIntrinsicDOMException(self._pointer) < 0:
            raise OutOfMemoryError
        engine.realms[self._pointer] = self
        self._handles: dict[str, Value] = {}
        self._unhandled: dict[int, tuple[Value, Value]] = {}
        self._body: Value | None = None
        self.script = Source(b"")
        self.context = 0
        self._is_loaded = False

    # --- our own code -------------------------------------------------------------------------------------------------

    def load(self, files: list[tuple[str, bytes]], settings: bytes, counts: Counts) -> None:
        """Runs the runtime's files, each a function of the object that `settings` writes."""
        shared = self._evaluate(b"(" + settings + b")", "settings")
        self._handles["rt"] = shared
        self._library.JS_SetPropertyStr(self._pointer, shared, b"counts", self._duplicate(counts))
        for name, text in files:
            function = self._evaluate(text, name)
            self._free(self._invoke(function, [self._duplicate(shared)]))
            self._free(function)
        self._is_loaded = True

    def new_counts(self) -> Counts:
        """An object without prototype, to be shared between realms; no script sees it."""
        counts = b"({__proto__: null, lines: 0, slots: 0, timers: 0, phases: 0, calls: 0, waiting: 0})"
        return self._evaluate(counts, "counts")

    def call(self, name: str, *arguments: str | int | float | None) -> str:
        """Calls a function of the runtime; '' where it gives no string.

        Raises:
            InterruptedScriptError: The limit ended it.
            OutOfMemoryError: It threw, which ours do only without memory.
        """
        return self._call(name, [self._value(argument) for argument in arguments])

    def _call(self, name: str, values: list[Value]) -> str:
        result = self._invoke(self._handle(name), values)
        try:
            return self._text(result) if result.tag < OBJECT else ""
        finally:
            self._free(result)

    def _invoke(self, function: Value, values: list[Value]) -> Value:
        # Takes the values: they are freed.
        array = (Value * len(values))(*values)
        try:
            return self._checked(
                self._library.JS_Call(self._pointer, function, Value(0, UNDEFINED), len(values), array)
            )
        finally:
            for value in values:
                self._free(value)

    def _handle(self, name: str) -> Value:
        if name not in self._handles:
            self._handles[name] = self._library.JS_GetPropertyStr(self._pointer, self._handles["rt"], name.encode())
        return self._handles[name]

    # --- the script ---------------------------------------------------------------------------------------------------

    def compile(self, script: Source) -> None:
        """Takes a text as the body of an async function in strict mode; runs nothing of it (CONTRACT S04, S06, S10).

        The text is evaluated as a module whose first statement throws the function that the text is the body of:
        function declarations are hoisted, and what a body that closes its function puts after it is never reached. Such
        a body is found out, since the function's own source then does not extend to the end.

        Raises:
            CompileError: It is no such body.
        """
        source = _OPENING + script.text + _CLOSING
        options = EvalOptions(1, MODULE, b"workflow.js", _FIRST_LINE)
        text = b"throw $script; " + source
        promise = self._library.JS_Eval2(self._pointer, text, len(text), byref(options))
        self._forget_unhandled()
        if promise.tag == EXCEPTION:
            raise self._refusal(script)
        function = self._library.JS_PromiseResult(self._pointer, promise)
        self._free(promise)
        whole = self._text(function).encode("utf-8", "surrogatepass") if function.tag == OBJECT else b""
        if whole != source:
            self._free(function)
            end = max(len(whole) - len(_OPENING) - 1, 0)
            raise CompileError("unexpected '}': it closes the script, and more follows", script.place_at(end))
        if self._body is not None:
            self._free(self._body)
        self.script, self._body = script, function

    def has_compiled(self, script: Source) -> bool:
        """Whether that text is what `start` would start."""
        return self._body is not None and self.script.text == script.text

    def _refusal(self, script: Source) -> CompileError:
        error = self._library.JS_GetException(self._pointer)
        message = self._property(error, b"message")[:_LONGEST_MESSAGE] or "the engine cannot compile this script"
        trace = self._property(error, b"stack").partition("workflow.js:")[2].partition("\n")[0].split(":")
        self._free(error)
        if len(trace) != 2 or not all(part.isdecimal() for part in trace):
            return CompileError(message, None)
        offset = script.offset(int(trace[0]), int(trace[1]))
        if offset < len(script.text):
            return CompileError(message, script.place_at(offset))
        end = script.place_at(len(script.text.rstrip()))
        if message.startswith(("break must", "continue must")):
            return CompileError(message, end)
        return CompileError(f"the script ends too early ({message})", end)

    def start(self, context: int, *arguments: str | int | float | None) -> None:
        """Starts what `compile` took, as that context. The further arguments are those of `rt.start`."""
        body = self._body
        if body is None:
            raise EngineError("nothing was compiled")
        self.context, self._body = context, None
        self._call("start", [body, *(self._value(argument) for argument in (context, *arguments))])

    def close(self) -> None:
        """Gives the realm back. What of it is still referenced lives until the engine collects it."""
        del self._engine.realms[self._pointer]
        self._forget_unhandled()
        for value in self._handles.values():
            self._free(value)
        if self._body is not None:
            self._free(self._body)
        self._library.JS_FreeContext(self._pointer)
        self._library.JS_RunGC(self._engine.runtime)

    # --- errors that nobody takes -------------------------------------------------------------------------------------

    _MOST_UNHANDLED = 100

    def track(self, promise: Value, reason: Value, is_handled: bool) -> None:
        """Keeps a rejected promise until it is handled or reported (CONTRACT D08)."""
        if is_handled:
            for value in self._unhandled.pop(promise.payload, ()):
                self._free(value)
        elif len(self._unhandled) < self._MOST_UNHANDLED:
            self._unhandled[promise.payload] = (self._duplicate(promise), self._duplicate(reason))

    def has_unhandled(self) -> bool:
        """Whether there is something for `report_unhandled`."""
        return bool(self._unhandled)

    def _forget_unhandled(self) -> None:
        for promise, reason in self._unhandled.values():
            self._free(promise)
            self._free(reason)
        self._unhandled.clear()

    def report_unhandled(self) -> None:
        """Hands what is still unhandled to the runtime, which makes warnings of it."""
        waiting, self._unhandled = self._unhandled, {}
        for promise, reason in waiting.values():
            self._free(promise)
            self._call("unhandled", [reason])

    def report_job(self) -> None:
        """Hands the exception of a failed job to the runtime."""
        self._call("jobThrew", [self._library.JS_GetException(self._pointer)])

    # --- values -------------------------------------------------------------------------------------------------------

    def _evaluate(self, text: bytes, name: str) -> Value:
        options = EvalOptions(1, STRICT, f"callsheet:{name}".encode(), 1)
        return self._checked(self._library.JS_Eval2(self._pointer, text, len(text), byref(options)))

    def _duplicate(self, value: Value) -> Value:
        copy: Value = self._library.JS_DupValue(self._pointer, value)
        return copy

    def _checked(self, value: Value) -> Value:
        if value.tag != EXCEPTION:
            return value
        error = self._library.JS_GetException(self._pointer)
        try:
            if self._engine.was_interrupted:
                raise InterruptedScriptError
            if error.tag == NULL or self._is_lack_of_memory(error):
                raise OutOfMemoryError
            raise EngineError("the runtime's own JavaScript threw")
        finally:
            self._free(error)

    def _is_lack_of_memory(self, error: Value) -> bool:
        if not self._is_loaded:
            return self._property(error, b"message") == "out of memory"
        # A script may have made the error what it is: only the runtime knows how to look at it.
        asked = (Value * 1)(error)
        answer = self._library.JS_Call(self._pointer, self._handle("isOutOfMemory"), Value(0, UNDEFINED), 1, asked)
        return bool(answer.tag == BOOL and answer.payload & 1)

    def _value(self, argument: str | int | float | None) -> Value:
        if argument is None:
            return Value(0, NULL)
        if isinstance(argument, int) and -(2**31) <= argument < 2**31:
            return Value(argument, INT)
        if isinstance(argument, str):
            text = argument.encode("utf-8", "replace")
            return self._checked(self._library.JS_NewStringLen(self._pointer, text, len(text)))
        return self._checked(self._library.JS_NewNumber(self._pointer, argument))

    def _property(self, value: Value, name: bytes) -> str:
        found = self._library.JS_GetPropertyStr(self._pointer, value, name)
        try:
            return self._text(found) if found.tag < OBJECT else ""
        finally:
            self._free(found)

    def _text(self, value: Value) -> str:
        size = c_size_t()
        pointer = self._library.JS_ToCStringLen2(self._pointer, byref(size), value, False)
        if not pointer:
            self._checked(Value(0, EXCEPTION))
        try:
            return ctypes.string_at(pointer, size.value).decode("utf-8", "replace")
        finally:
            self._library.JS_FreeCString(self._pointer, pointer)

    def _free(self, value: Value) -> None:
        if value.tag < 0:  # the others are not counted
            self._library.JS_FreeValue(self._pointer, value)
