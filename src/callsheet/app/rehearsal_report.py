"""From the passes of a rehearsal to its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from callsheet.app.estimating import ASSUMPTION, Estimate, Sort
from callsheet.app.reading import in_order
from callsheet.app.rehearsal_doubts import doubts
from callsheet.app.rehearsal_files import files_in
from callsheet.app.rehearsal_reach import Reaching
from callsheet.app.rehearsal_stage import agent_type_of
from callsheet.model.call import Scope
from callsheet.model.dataclass import dataclass
from callsheet.model.rehearsal import PlannedGroup, PlannedPhase, Range, Rehearsal, ScriptLine, Violation
from callsheet.model.run import RunError
from callsheet.model.script import Finding
from callsheet.permissions.redact import Redactor
from callsheet.script.shape import Shape, never_called, shape_of

if TYPE_CHECKING:
    from callsheet.app.rehearsal import Prepared
    from callsheet.app.rehearsal_cast import Answers
    from callsheet.app.rehearsal_stage import Performance
    from callsheet.model.records import AgentRow

LOOPS_END = (
    "synthetic answers find something three times and then nothing more: from the fourth answer for the same sort of "
    "label and schema on, arrays are empty, booleans false and numbers 0, so that loops until nothing is found end"
)
ALL_ANSWER = "every agent answers, and the script does not throw on what it is answered"
NOT_WHOLE = "the script had not come to its end when the rehearsal was ended: there is more than is told here"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the passes of one rehearsal told.

    Attributes:
        first: With the answers that were asked for.
        others: With other answers, where something depends on them.
    """

    prepared: Prepared
    answers: Answers
    first: Performance
    others: tuple[Performance, ...] = field(default=())

    @cached_property
    def shape(self) -> Shape:
        """What the script's text says of what its agents depend on."""
        return shape_of(self.prepared.reading.script)

    @cached_property
    def is_exact(self) -> bool:
        """Whether the agents depend on no answer: the text says so, and the pass came to its end undisturbed."""
        first = self.first
        is_held_up = any(problem.cause == "over_budget" for problem in first.result.problems)
        is_nested = any(row.workflow is not None for row in first.calls)
        has_returned = first.is_whole and first.result.status in ("completed", "degraded")
        return self.shape.is_fixed and has_returned and not is_held_up and not is_nested


def report(told: Told) -> Rehearsal:
    """The report. Looks at the files of the workspace, and loads prices where models are paid for."""
    prepared, first = told.prepared, told.first
    plan, script = prepared.plan, prepared.reading.script
    reaching = Reaching(
        plan.permissions,
        root=plan.workspace.root,
        home=plan.around.home,
        has_git=plan.workspace.head is not None,
        redact=Redactor(plan.around.environ).text,
    )
    groups = _groups(told)
    counts = [len(each.calls) for each in (first, *told.others)]
    scopes = Counter(scope for member in first.company.cast if (scope := member.task.options.scope) is not None)
    unpriced = tuple(dict.fromkeys(group.model or group.backend for group in groups if group.cost_usd is None))
    cost = None if unpriced else sum((group.cost_usd for group in groups if group.cost_usd), start=Range())
    fast = [group for group in groups if group.speed == "fast"]
    return Rehearsal(
        workflow=script.meta.name,
        description=script.meta.description,
        script=script.origin,
        status=first.result.status,
        error=_error(told),
        backend=plan.backend.name,
        answers_from=told.answers.shown,
        answers=dict(first.company.sources),
        is_exact=told.is_exact,
        decisions=tuple(ScriptLine(line=one.line, text=one.text) for one in told.shape.decisions),
        agents=counts[0],
        agents_low=min(counts),
        agents_high=max(counts),
        phases=_phases(told),
        groups=groups,
        most_at_once=first.most_at_once,
        max_parallel=prepared.settings.max_parallel,
        files=files_in(plan.workspace.root, _in_order(scopes)),
        commands=reaching.commands(first.company.cast),
        hosts=reaching.hosts(first.company.cast),
        violations=_violations(told, reaching),
        tokens=sum((group.tokens for group in groups), start=Range()),
        output_tokens=sum((group.output_tokens for group in groups), start=Range()),
        cost_usd=cost,
        unpriced=unpriced,
        fast_agents=sum(group.agents for group in fast),
        fast_cost_share=_share(fast, cost),
        duration_s=first.result.duration_ms / 1000,
        not_called=tuple(
            ScriptLine(line=site.line, text=site.text) for site in never_called(told.shape.sites, first.lines)
        ),
        warnings=_warnings(told),
        assumptions=tuple(_assumptions(told, groups)),
        notes=plan.notes,
    )


def _warnings(told: Told) -> tuple[Finding, ...]:
    """What is known against the script, and what came to light as it ran with answers that were made up."""
    reading, first = told.prepared.reading, told.first
    is_made_up = told.answers.file is None and not told.answers.recorded
    seen = [one for one in first.oddities if is_made_up or one.code != "odd-prompt"]
    return in_order((*reading.findings, *doubts(reading.script, seen, told=reading.findings)))


def _in_order(scopes: Counter[Scope]) -> dict[Scope, int]:
    return dict(scopes)


def _error(told: Told) -> RunError | None:
    """Why the script did not return; that it was ended by the rehearsal itself is said among the assumptions."""
    return told.first.result.error if told.first.is_whole else None


# --- agents -----------------------------------------------------------------------------------------------------------


def _groups(told: Told) -> tuple[PlannedGroup, ...]:
    cast = {member.task.agent_id: member for member in told.first.company.cast}
    groups: dict[tuple[Sort, str], list[Estimate]] = {}
    for row in told.first.calls:
        member = cast.get(row.agent_id)
        if member is not None:
            sort, estimate = member.sort, member.estimate
        else:  # accepted, and never begun: the script was over before its turn came
            sort = _sort_of(told, row)
            estimate = told.prepared.estimator.estimate(sort, prompt_chars=len(row.task_description))
        groups.setdefault((sort, row.backend), []).append(estimate)
    return tuple(_group(sort, backend, estimates) for (sort, backend), estimates in groups.items())


def _sort_of(told: Told, row: AgentRow) -> Sort:
    table = told.prepared.models.table
    model = table.resolve(row.model) if table is not None else row.model
    return Sort(
        phase=row.phase,
        workflow=row.workflow,
        agent_type=agent_type_of(row),
        model=model,
        is_fast=row.mode == "fast",
    )


def _group(sort: Sort, backend: str, estimates: Sequence[Estimate]) -> PlannedGroup:
    costs = [estimate.cost_usd for estimate in estimates if estimate.cost_usd is not None]
    return PlannedGroup(
        phase=sort.phase,
        workflow=sort.workflow,
        agent_type=sort.agent_type,
        model=sort.model,
        backend=backend,
        speed="fast" if sort.is_fast else "standard",
        agents=len(estimates),
        tokens=sum((estimate.tokens for estimate in estimates), start=Range()),
        output_tokens=sum((estimate.output_tokens for estimate in estimates), start=Range()),
        cost_usd=sum(costs, start=Range()) if len(costs) == len(estimates) else None,
        earlier_calls=estimates[0].earlier_calls,
    )


def _phases(told: Told) -> tuple[PlannedPhase, ...]:
    """Declared phases in their order, then the others in that of their first call."""
    counts = Counter(row.phase for row in told.first.calls)
    declared = [phase.title for phase in told.prepared.reading.script.meta.phases]
    titles = dict.fromkeys((*declared, *counts))
    return tuple(PlannedPhase(title=title, agents=counts[title]) for title in titles)


def _share(fast: Iterable[PlannedGroup], cost: Range | None) -> float | None:
    """The share of fast mode in the likely cost; None where that is not known, or nothing."""
    if cost is None or not cost.likely:
        return None
    return sum(group.cost_usd.likely for group in fast if group.cost_usd is not None) / cost.likely


# --- violations and assumptions ---------------------------------------------------------------------------------------


def _violations(told: Told, reaching: Reaching) -> tuple[Violation, ...]:
    """What calls ask for and will not get; equal ones are one."""
    found = [
        Violation(cause="refused", message=refused.message, agents=1, line=refused.line, label=refused.label)
        for refused in told.first.refused
    ]
    for member in told.first.company.cast:
        found += reaching.violations(member.task)
    for problem in told.first.result.problems:
        if problem.cause in ("cap", "over_budget"):
            cause = "cap" if problem.cause == "cap" else "budget"
            found.append(
                Violation(
                    cause=cause,  # type: ignore[arg-type]
                    message=problem.message,
                    agents=problem.count,
                    line=problem.line,
                    label=problem.label,
                )
            )
    folded: dict[tuple[str, str, int | None], Violation] = {}
    for violation in found:
        key = (violation.cause, violation.message, violation.line)
        earlier = folded.get(key)
        agents = violation.agents + (earlier.agents if earlier is not None else 0)
        folded[key] = replace(earlier or violation, agents=agents)
    return tuple(folded.values())


def _assumptions(told: Told, groups: Iterable[PlannedGroup]) -> Iterable[str]:
    first = told.first
    yield ALL_ANSWER
    if not first.is_whole:
        yield NOT_WHOLE
    if first.company.sources["synthetic"] and not told.is_exact:
        yield LOOPS_END
    if told.shape.why_unknown is not None:
        yield f"whether agents depend on answers cannot be told: {told.shape.why_unknown}"
    if any(row.workflow is not None for row in first.calls):
        yield "whether agents depend on answers is not told where the script calls other workflows"
    if any(not group.earlier_calls and group.backend not in ("scripted", "command", "offline") for group in groups):
        yield ASSUMPTION
    if told.prepared.note is not None:
        yield told.prepared.note
    if any(problem.cause == "over_budget" for problem in first.result.problems):
        yield "the budget ends agents where the estimates say that it would be spent"
