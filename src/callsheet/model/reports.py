"""What an agent reports while it works. Best effort across machines, never decides correctness (DESIGN 13)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from callsheet.model.dataclass import dataclass
from callsheet.model.opening import Opening
from callsheet.model.outcome import Usage
from callsheet.model.spending import Paid
from callsheet.model.values import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A sign of life: a tool begun, or tokens that came in.

    Attributes:
        tokens: All output tokens of the agent so far; an estimate while a reply comes in.
        usage: All usage so far, given after each request, also one that broke off: what an agent that is cancelled has
            cost. None in reports in between.
    """

    tool: str | None = None
    tool_summary: str | None = None
    tokens: int = 0
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The agent waits for something that is not its own work. `until` is ISO 8601 UTC where known.

    Attributes:
        reason: What went wrong, for people, where it waits because something did.
    """

    why: Literal["rate limit", "approval", "cache warm-up", "service", "worktree", "budget"]
    until: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAdded:
    """One message of the conversation, as sent to or received from the model; kept so that it can be continued.

    Attributes:
        from_person: It holds the next of the messages that a person sent meanwhile (`AgentReporter.take_messages`).
        opening: Of a turn of a conversation, with the first message that an attempt adds: how its requests begin.
        paid: Of a model's reply: what its request came to, booked in the same transaction (CONTRACT G04).
    """

    payload: JsonValue
    from_person: bool = False
    paid: Paid | None = None
    opening: Opening | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """A tool call: reported once before it runs (`state` intent) and once after (`done`, `failed` or `denied`).

    The reporter's return means that the intent is recorded; only then may a tool that changes something run (R01).

    Attributes:
        rule: Of a denied one: what decided, in a few words (FORMATS 1, `denials`).
        would_allow: Of a denied one: rules that would have allowed it, ready to paste.
    """

    n: int
    tool: str
    input: JsonValue
    state: Literal["intent", "done", "failed", "denied"]
    detail: str | None = None
    rule: str | None = None
    would_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A line for the run's log."""

    level: Literal["info", "warn", "error"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """What an agent that is cancelled has done by then: it has no outcome of its own to say it.

    Attributes:
        files_read, files_changed, tools_called: As `AgentOutcome` has them.
    """

    files_read: tuple[str, ...] = ()
    files_changed: tuple[str, ...] = ()
    tools_called: tuple[str, ...] = ()


AgentReport: TypeAlias = Progress | Waiting | MessageAdded | ToolCalled | Remark | Paid | Touched
"""`Paid` alone is for a request that came to no message: refused, or broken off."""
