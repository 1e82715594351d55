"""A question to a person, about one thing that an agent wants to do or about what the run may cost, and the answer."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from callsheet.model.dataclass import dataclass

Verdict = Literal["once", "run", "project", "deny", "unanswered", "changed"]
"""Allowed this once; from now on in this run; in this project (kept in the user's own folder); not allowed; nobody
answered in time, or nobody is there to be asked, which is not allowed either; nobody said anything to this, but rules
were granted meanwhile that may allow it: whoever asked decides anew (`Question.is_rechecked`)."""

QuestionKind = Literal["permission", "cost", "script"]
"""Whether an agent may do something; whether a run without a budget goes on, which has cost as much as one may; or
whether a run starts a script that nobody has seen, such as one that a model wrote in it.

To a `cost`, `once` lets the run cost so much more (`Answer.more_usd`, else `Question.more_usd`), `run` lifts the limit
for this run; `project` means the same. Anything else ends the run where it is, resumable (CONTRACT L04).

To a `script`, `once` starts it, `run` starts it and all that come after it in this run; `project` means the same.
`deny` rejects the call of `workflow()` with a `DeclinedError`; unanswered the run ends where it is, resumable (W03).
"""

PersonsVerdict = Literal["once", "run", "project", "deny"]
"""Of a verdict what a person can say."""

OnGrant: TypeAlias = Callable[[tuple[str, ...], Literal["run", "project"]], Awaitable[str | None]]
"""Makes rules hold that a person granted: for the run, or kept for the project as well. Called before an agent goes on.

Gives None, or why they could not be kept for the project; they then hold for the run.
"""


async def cannot_keep(rules: tuple[str, ...], verdict: Literal["run", "project"]) -> str | None:
    """The `OnGrant` of who keeps no rules: what is granted holds for the run, as far as questions go."""
    return None if verdict == "run" else "rules cannot be kept for a project here"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAnswered:
    """A question that was answered.

    Attributes:
        agents: How many waited for it.
    """

    kind: QuestionKind
    tool: str
    verdict: Verdict
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptShown:
    """A script that a person is asked about, as it is shown to them.

    Attributes:
        name, description: As the script says of itself.
        plan: What a rehearsal told of it, and what its agents may do, a line for each thing.
        text: The script itself, or its beginning.
        left_out: How many characters of it are not there.
        sha256: Hex digest of all of it.
    """

    name: str
    description: str
    plan: tuple[str, ...]
    text: str
    sha256: str
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. Equal questions of many agents are one.

    Attributes:
        tool: By its name for agents: `bash`, `edit`, `web_fetch`, `mcp__server__tool`.
        input: What it would be done with, for people, in full: the command, the path, the address.
        reason: Why it needs a person.
        rules: Rules that would allow it from now on, ready to paste; what `run` and `project` grant. Empty where no
            rule can: then it can only be allowed once.
        is_rechecked: Who asks takes `changed` for an answer, and then looks again whether the rules allow it by now.
        id: How the run's events name it (`approval.asked`); empty until it is put to somebody.
        kind: What is asked, and so what the verdicts mean.
        more_usd: Of `cost`: the dollars that `once` stands for where the answer names none.
        script: Of `script`: what it is about. `input` says the same in short, for who knows nothing of scripts.
    """

    tool: str
    input: str
    reason: str
    rules: tuple[str, ...] = ()
    is_rechecked: bool = False
    id: str = ""
    kind: QuestionKind = "permission"
    more_usd: float | None = None
    script: ScriptShown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person said.

    Attributes:
        words: For the agent, with a denial, or for the author of a script; None for none.
        by: Who said it, for people who read the events.
        more_usd: To a question of kind `cost`, with `once`: how many dollars more; None for as many as it names.

    Raises:
        ValueError: `more_usd` is no amount.
    """

    verdict: Verdict
    words: str | None = None
    by: str = "approver"
    more_usd: float | None = None

    def __post_init__(self) -> None:
        if self.more_usd is not None and not 0 < self.more_usd < math.inf:
            raise ValueError(f"more_usd is a number of dollars above 0, not {self.more_usd!r}")

    @property
    def is_yes(self) -> bool:
        """Whether it may be done."""
        return self.verdict in {"once", "run", "project"}
