"""What a rehearsal tells of a run that has not been: plain data, for any surface to show."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from callsheet.model.dataclass import dataclass
from callsheet.model.run import RunError, RunStatus
from callsheet.model.script import Finding

AnswerSource = Literal["file", "recorded", "recorded_like", "synthetic"]
"""Where an answer of a rehearsal came from: an answers file; a recorded call that asked just the same; one with the
same label and phase; nowhere: it was made up."""

Verdict = Literal["allow", "ask", "deny"]

ViolationCause = Literal["refused", "scope", "tools", "agent_type", "worktree", "cwd", "cap", "budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """An estimate: what is likely, and between what it will hardly fail to lie."""

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: Range) -> Range:
        """The sum, end by end."""
        return Range(low=self.low + other.low, likely=self.likely + other.likely, high=self.high + other.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGroup:
    """Agents of one sort.

    Attributes:
        workflow: The nested workflow that calls them; None for the script itself.
        model: As it would be asked for, after settings and routing; None where no model answers.
        speed: `fast` where they ask for fast mode.
        tokens: Input and output of all of them together, without what the cache holds.
        output_tokens: The output alone: what budgets count.
        cost_usd: Of all of them together; None where no price is known.
        earlier_calls: How many finished calls of this workflow, phase, agent type and model the estimate is from;
            0 where it is an assumption.
    """

    phase: str | None
    workflow: str | None
    agent_type: str
    model: str | None
    backend: str
    speed: Literal["fast", "standard"]
    agents: int
    tokens: Range
    output_tokens: Range
    cost_usd: Range | None
    earlier_calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPhase:
    """A phase, and how many agents are planned in it; declared ones without any are among them."""

    title: str | None
    agents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopedFiles:
    """A scope that calls declare, and what lies in it.

    Attributes:
        read, write: Its globs; None where reading or writing is not narrowed.
        agents: How many calls declare it.
        files: Files of the workspace that may be written by it; where it does not narrow writing, that may be read.
        examples: Some of them.
        is_cut: The workspace has more files than were looked at.
    """

    read: tuple[str, ...] | None
    write: tuple[str, ...] | None
    agents: int
    files: int
    examples: tuple[str, ...] = ()
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSaid:
    """A permission rule that is in force, and where it stands."""

    verdict: Verdict
    rule: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedUse:
    """A shell command or host that prompts name, and what agents would be told.

    Attributes:
        verdict: With `ask`: a person is asked; where nobody is there to be asked it is denied.
        rule: What decides.
        agents: How many calls name it, and are told so.
        suggestions: Rules that would allow it.
    """

    name: str
    verdict: Verdict
    rule: str
    agents: int
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What the rules say about shell commands, or about hosts.

    Attributes:
        otherwise: What becomes of those that no rule names (of commands: and that do more than read).
        rules: Those in force.
        named: What prompts name.
    """

    otherwise: Verdict
    rules: tuple[RuleSaid, ...] = ()
    named: tuple[NamedUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A call that asks for more than it may get.

    Attributes:
        cause: `refused`: the call itself is refused. `cap`, `budget`: a limit of the run refuses it. Else what of it
            asks for too much.
        line: Where the call stands in the script, where known.
        agents: How many calls it is.
        label: Of the first of them.
    """

    cause: ViolationCause
    message: str
    agents: int
    line: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptLine:
    """A place in the script, and what stands there."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a run of a script would do, told from running the script with answers that are none.

    Attributes:
        status: How the script ended in the rehearsal; `error` says why, where it did not return.
        backend: Who would answer in a run.
        answers_from: Where the answers came from: `synthetic`, a file or a run.
        answers: How many came from where.
        is_exact: The agents do not depend on the answers: a run in which every agent answers, and the script does not
            throw, calls just these. False: it is what came with the answers that were assumed.
        decisions: Where the script lets answers decide about agents, as far as that could be told.
        agents: How many agents there are; `agents_low` and `agents_high` over all answers that were tried.
        groups: By phase, workflow, agent type, model and speed, in order of their first call.
        most_at_once: Agents at work at one time, at most; `max_parallel` is what the settings allow.
        files: Declared scopes, in order of their first call.
        tokens, output_tokens, cost_usd: Sums over `groups`; the cost is None where a price is not known, and
            `unpriced` says of which models.
        fast_agents: Agents that ask for fast mode; `fast_cost_share` is their share of the likely cost.
        duration_s: How long it would take, agents taking as long as earlier ones or as assumed.
        not_called: Calls of `agent()` and `workflow()` that stand in the script and were not reached.
        warnings: What the checker and the preflight have to say, and what was seen as the script ran: agents that it
            did not wait for, options that there are not, prompts with `undefined` in them.
        assumptions: What all this rests on, for people.
        notes: What the run would say at its start.
    """

    workflow: str
    description: str
    script: str
    status: RunStatus
    error: RunError | None
    backend: str
    answers_from: str
    answers: dict[AnswerSource, int]
    is_exact: bool
    decisions: tuple[ScriptLine, ...]
    agents: int
    agents_low: int
    agents_high: int
    phases: tuple[PlannedPhase, ...]
    groups: tuple[PlannedGroup, ...]
    most_at_once: int
    max_parallel: int
    files: tuple[ScopedFiles, ...]
    commands: Reach
    hosts: Reach
    violations: tuple[Violation, ...]
    tokens: Range
    output_tokens: Range
    cost_usd: Range | None
    unpriced: tuple[str, ...]
    fast_agents: int
    fast_cost_share: float | None
    duration_s: float
    not_called: tuple[ScriptLine, ...]
    warnings: tuple[Finding, ...] = ()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A limit of `--fail-over` that a rehearsal goes beyond.

    Attributes:
        found: The upper end of the estimate; None where it is not known, which counts as beyond.
        likely: What is likely, where that is another number.
    """

    name: Literal["agents", "tokens", "cost", "violations"]
    limit: float
    found: float | None
    likely: float | None = None
