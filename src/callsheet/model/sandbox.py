"""What crosses between a script and its host: commands out, deliveries in. The script is a pure function of these.

The shape follows the activation of a durable workflow: jobs in, commands out, and nothing else ever reaches the script.
A call, timer or log line names its `context`: 0 is the run's own script, from 1 the scripts that `workflow()` started.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue, Place

LogLevel = Literal["debug", "info", "warn", "error"]

DropSort = Literal["logs", "timers", "phases", "text", "prompts", "calls"]
"""What can be more than is kept (CONTRACT L03)."""

ErrorKind = Literal["script", "refused", "limit", "sandbox", "backend", "config", "stalled", "internal"]
"""The kinds of `error` in a run's result (FORMATS 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one run's child may use (CONTRACT D07).

    Attributes:
        cpu_limit_s: CPU seconds of one stretch: all between two deliveries.
        cpu_total_s: CPU seconds of the whole script.
        memory_limit_bytes: Heap, over all contexts of the run.
        strict: `Date.now()`, `new Date()` and `Math.random()` throw, as in the reference (CONTRACT D04).
        require_confinement: Refuse to run where the system offers no system-call filter.
    """

    cpu_limit_s: float = 10.0
    cpu_total_s: float = 60.0
    memory_limit_bytes: int = 256 * 1024 * 1024
    strict: bool = False
    require_confinement: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What holds the child, told once by the child itself and shown with `run.started`.

    Attributes:
        system_calls: Whether the kernel's system-call filter is loaded.
        detail: One line for people.
    """

    system_calls: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The world as a script sees it at one delivery (CONTRACT D04, R08).

    Attributes:
        now_ms: Milliseconds since the epoch; never goes back.
        spent_tokens: What `budget.spent()` answers.
        spent_usd: What `budget.cost.spent()` answers.
    """

    now_ms: int
    spent_tokens: int = 0
    spent_usd: float = 0.0


# --- into the sandbox -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StartScript:
    """Begin a script in a context of its own.

    Attributes:
        body: `Script.body`: positions are those of the file as written.
        args_json: JSON text of `args`, None for `undefined` (CONTRACT G01).
        seed: 64 bits for `Math.random`.
        budget_tokens, budget_usd: What `budget.total` and `budget.cost.total` show.
    """

    context: int
    body: str
    meta: JsonValue
    args_json: str | None
    seed: int
    budget_tokens: int | None = None
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveCall:
    """Settle the promise of a call with a value. `value_json` is JSON text."""

    context: int
    call: int
    value_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectCall:
    """Settle the promise of a call with an error of this name and message.

    Attributes:
        name: `TypeError`, `RangeError`, `Error` and the like give that class; any other name a plain Error so named.
    """

    context: int
    call: int
    name: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FireTimer:
    """Run the callback of a timer that the script set."""

    context: int
    timer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndContext:
    """Drop the context of a nested script that returned or threw."""

    context: int


Delivery: TypeAlias = StartScript | ResolveCall | RejectCall | FireTimer | EndContext


# --- out of the sandbox -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCalled:
    """`agent()` or `spawnAgent()` was called.

    Attributes:
        call: Numbered from 1 within the context, shared with `WorkflowCalled`.
        prompt: None when the script gave something else than a string; `prompt_type` then says what (CONTRACT A09).
        options: The known options that were given and not undefined, unchecked.
        options_fault: Why the options could not be read (not an object, not JSON), None if they could.
        unknown_options: Names that the contract does not have (CONTRACT A08).
        phase: The context's current `phase()`, None before the first.
        line: Where the call stands in the script, where known.
    """

    context: int
    call: int
    prompt: str | None
    prompt_type: str
    options: dict[str, JsonValue]
    options_fault: str | None
    unknown_options: tuple[str, ...]
    phase: str | None
    line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowCalled:
    """`workflow()` was called. Exactly one of `name`, `script_path`, `script`, `fault` is set.

    Attributes:
        script: The text of a script, of at most `MAX_SCRIPT_BYTES`; nothing else is known of it.
        fault: Why the first argument names nothing, for a TypeError (CONTRACT W02).
        phase: The caller's current one: its budget holds for what the workflow does, too.
    """

    context: int
    call: int
    name: str | None
    script_path: str | None
    fault: str | None
    args_json: str | None
    phase: str | None
    line: int | None
    script: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """`log()` or `console.*`, already made one line of text (CONTRACT D05)."""

    context: int
    level: LogLevel
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEntered:
    """`phase(title)` was called (CONTRACT G02)."""

    context: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSet:
    """`setTimeout` was called; the host owns the clock (CONTRACT D06)."""

    context: int
    timer: int
    delay_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerCleared:
    """`clearTimeout` was called for a timer that has not fired."""

    context: int
    timer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFailed:
    """A thunk of `parallel` or a stage of `pipeline` threw, and its slot became null (CONTRACT P01, P04).

    Attributes:
        number: Which `parallel` or `pipeline` of the context, from 1.
        index: The slot, from 0.
        cause_call: The call of this context whose rejection it was, None when something else threw.
    """

    context: int
    combinator: Literal["parallel", "pipeline"]
    number: int
    index: int
    name: str
    message: str
    line: int | None
    cause_call: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something that the author should know: not portable (P02), an unhandled rejection (D08). Shown as a warning.

    Attributes:
        code: `not-portable`, `unhandled-rejection`.
    """

    context: int
    code: str
    message: str
    place: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A count of CONTRACT L03 was passed: what came beyond is not stored. Sent once for each sort."""

    context: int
    sort: DropSort
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The script of a context returned; `value_json` is JSON text (CONTRACT O02)."""

    context: int
    value_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Threw:
    """The script of a context threw, or its result cannot be JSON (CONTRACT O02, O03).

    Attributes:
        name: The error's name, empty for a thrown non-Error, which is shown as it is in `message`.
        kind: `script`, or `limit` where an uncaught AgentCapError or BudgetExceededError ended it.
    """

    context: int
    kind: ErrorKind
    name: str
    message: str
    place: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """The child has run everything that was ready. The turn of the last delivery is over.

    Attributes:
        cpu_s: CPU seconds that all scripts of the run have used so far.
        has_spoken: It said something in that turn, whatever became of it: what was handed in ahead was not delivered.
    """

    cpu_s: float
    has_spoken: bool = True


ScriptMessage: TypeAlias = (
    AgentCalled
    | WorkflowCalled
    | Logged
    | PhaseEntered
    | TimerSet
    | TimerCleared
    | SlotFailed
    | Warned
    | Dropped
    | Returned
    | Threw
    | Idle
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntaxFault:
    """The engine's refusal of a body (CONTRACT S06). The place is that of the file as written."""

    message: str
    place: Place | None
