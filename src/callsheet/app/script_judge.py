"""What is wrong with a script that a model hands in, in words that it can act on: checked, and rehearsed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from callsheet.app import compose
from callsheet.app.choices import Choices
from callsheet.app.plan import UNSET, Plan, RunOrder, Surroundings, Unset
from callsheet.app.source import STDIN
from callsheet.authoring.briefing import SIZES
from callsheet.errors import CallsheetError, ScriptRefusedError
from callsheet.model.script import MAX_SCRIPT_BYTES, Finding
from callsheet.model.spending import Budget
from callsheet.model.values import JsonValue
from callsheet.views.figures import money, tokens

if TYPE_CHECKING:
    from callsheet.app.rehearsal import RehearsalOrder
    from callsheet.model.rehearsal import Range, Rehearsal, Violation
    from callsheet.model.run import RunError

REHEARSED_WITHIN_S = 20.0
"""A script that has not come to its end by then, with agents that answer at once, waits for something for ever."""

_MOST_TOLD = 12
_MEANT = " (if it is meant so, leave it and hand the script in again)"
_EXPLAINS = frozenset({"unknown-name", "read-too-early", "hidden-name"})
"""Warnings that say of a line better why it threw than what it threw."""
_PREFLIGHT = "preflight-"
_NOTHING_RETURNED = (
    "the script returns nothing at its top, so that its result is null: have it `return` what was found, what failed "
    "and what was left out"
)


class ScriptJudge:
    """Says what is wrong with scripts, in words that their author can act on.

    A warning is told once: who hands in the same again has a reason.
    """

    def __init__(self, plan: Plan, *, size: object, gives_args: bool = False) -> None:
        """Makes one for the scripts of one run.

        Args:
            plan: Of the run in which they are written.
            size: How many agents a script may have; what is no size bounds nothing.
            gives_args: Whoever writes a script says also what it is run with.
        """
        self._gives_args = gives_args
        self._most = SIZES[size] if isinstance(size, str) and size in SIZES else None
        self._size = size
        self._plan = plan
        self._warned: set[str] = set()

    async def of_text(
        self, text: str, *, budget: Budget | None, args: JsonValue | Literal[Unset.UNSET] = UNSET
    ) -> tuple[str, ...]:
        """What is wrong with a script; nothing where it holds.

        Args:
            text: All of it.
            budget: What its run is to get along with; None for no such thing.
            args: What it is run with.
        """
        if len(text) > MAX_SCRIPT_BYTES:
            return (f"the script has {len(text):,} characters; a script has at most {MAX_SCRIPT_BYTES:,} bytes",)
        from callsheet.app.check import check_text

        checked = await check_text(text)
        if checked.errors:
            return told_of(checked.findings)
        return await self._rehearsed(script_order(text), text, budget=budget, args=args)

    async def of_saved(
        self, name: str, *, budget: Budget | None, args: JsonValue | Literal[Unset.UNSET] = UNSET
    ) -> tuple[str, ...]:
        """What is wrong with running a saved workflow; as `of_text`."""
        return await self._rehearsed(RunOrder(script=name), None, budget=budget, args=args)

    async def _rehearsed(
        self, run: RunOrder, text: str | None, *, budget: Budget | None, args: JsonValue | Literal[Unset.UNSET]
    ) -> tuple[str, ...]:
        order, around = self._plan.order, self._plan.around
        try:
            run = replace(run, args=args, permissions=order.permissions)
            told = await rehearsed(run, budget, order.workspace, order.choices, around)
        except ScriptRefusedError as refused:
            return told_of(refused.findings)
        except CallsheetError as fault:
            return (fault.message,)
        why = _reasons(told)
        faults = [*self._faults(told, why, text), *self._costs(told, budget or Budget())]
        if not faults and text is not None and self._is_new("null"):
            faults += await self._slips(run, text, budget)
        return (*faults, *self._new_warnings(told, why, text))[:_MOST_TOLD]

    async def _slips(self, run: RunOrder, text: str, budget: Budget | None) -> list[str]:
        """That it throws where agents fail: seen in a run, that costs all that the others have done."""
        from callsheet.app.rehearsal import slip_without_answers

        order, around = self._plan.order, self._plan.around
        try:
            slip = await slip_without_answers(rehearsal_order(run, budget, order.workspace, order.choices), around)
        except CallsheetError:
            return []  # it has just come through a rehearsal: what fails now is no fault of the script
        if slip is None:
            return []
        return [
            f"{_where(slip)}where an agent fails its call gives `null`, and the script then throws: {slip.message}. "
            "Use `found?.items ?? []` or `.filter(Boolean)`, and say in the result what is missing"
            f"{_source(slip, text)}{_MEANT}"
        ]

    def _faults(self, told: Rehearsal, why: tuple[Finding, ...], text: str | None) -> Iterator[str]:
        """What must not be so, each thing once, in the words that say most about it."""
        yield from map(_line, why)
        lines = {finding.place.line for finding in why if finding.place is not None}
        said = "" if told.error is None else told.error.message
        at_most = next((each for each in told.violations if each.cause == "cap"), None)
        if at_most is not None:
            yield _endless(told, next((each for each in told.violations if each.cause == "cap" and each.line), at_most))
        elif told.error is not None:
            if told.error.line not in lines:
                yield _thrown(told.error, text, gives_args=self._gives_args)
        elif told.status not in ("completed", "degraded"):
            within = f"{REHEARSED_WITHIN_S:g} seconds, with agents that answer at once"
            yield f"the script did not come to its end within {within}: give every loop an end that is certain"
        elif told.agents == 0:
            missed = "".join(f"; line {one.line} is not reached: `{one.text[:80]}`" for one in told.not_called[:3])
            yield f"with made-up answers the script called no agent; a workflow has agents do its work{missed}"
        if self._most is not None and told.agents > self._most and at_most is None:
            yield (
                f"with made-up answers the script called {told.agents} agents; size {self._size} means at most "
                f"{self._most}. Give each agent more, or take the most important first and say in the result what was "
                "left out"
            )
        for violation in told.violations:
            is_told = violation.message in said or any(finding.message in violation.message for finding in why)
            if violation.cause != "cap" and violation.line not in lines and not is_told:
                where = "" if violation.label is None else f'agent "{violation.label}": '
                yield f"{where if violation.line is None else f'line {violation.line}: '}{violation.message}"

    def _costs(self, told: Rehearsal, budget: Budget) -> Iterator[str]:
        """That it is likely to use more than there is, once: it is an estimate, and the budget holds in any case."""
        spent: tuple[tuple[Range | None, float | None, Callable[[float], str]], ...] = (
            (told.output_tokens, budget.tokens, lambda amount: f"{tokens(round(amount))} output tokens"),
            (told.cost_usd, budget.usd, money),
        )
        for estimate, left, words in spent:
            if estimate is not None and left is not None and estimate.likely > left and self._is_new("budget"):
                yield (
                    f"its agents are likely to use {words(estimate.likely)}, and the budget leaves {words(left)}: have "
                    f"fewer agents do it, cheaper models, or less of the task, and say what is left out{_MEANT}"
                )

    def _new_warnings(self, told: Rehearsal, why: tuple[Finding, ...], text: str | None) -> Iterator[str]:
        for finding in told.warnings:
            if finding not in why and self._is_new(f"{finding.code} {finding.message}"):
                yield f"{_line(finding)}{_MEANT}"
        if text is None:
            return
        script = compose.script_reader()(text.encode("utf-8", "surrogatepass"), origin=STDIN, path=None)
        if not compose.gives_back(script) and self._is_new("nothing is returned"):
            yield f"{_NOTHING_RETURNED}{_MEANT}"

    def _is_new(self, warning: str) -> bool:
        is_new = warning not in self._warned
        self._warned.add(warning)
        return is_new


def script_order(text: str) -> RunOrder:
    """A run of a script that is in no file."""
    return RunOrder(script=STDIN, stdin=text.encode("utf-8", "surrogatepass"))


async def rehearsed(
    run: RunOrder, budget: Budget | None, workspace: Path | None, choices: Choices, around: Surroundings
) -> Rehearsal:
    """What a run would do, as the script's author needs to know it.

    Args:
        run: Script and args.
        budget: As `ScriptJudge.of_text`.
        workspace: As the caller named it.
        choices: Of the run in which it is written: who answers holds for it too.
        around: The machine.

    Raises:
        ScriptRefusedError: It cannot be run.
        CallsheetError: As `rehearse`.
    """
    from callsheet.app.rehearsal import rehearse

    return await rehearse(rehearsal_order(run, budget, workspace, choices), around)


def rehearsal_order(run: RunOrder, budget: Budget | None, workspace: Path | None, choices: Choices) -> RehearsalOrder:
    """How a script is rehearsed for its author; as `rehearsed`."""
    from callsheet.app.rehearsal import RehearsalOrder

    backend = None if (choices.backend or "").startswith("scripted:") else choices.backend
    own = Choices(budget=budget, service=choices.service, backend=backend)
    # Hooks that are not run are the business of the run in which it is written: nothing is run here.
    permissions = replace(run.permissions, ignore_hooks=True)
    rehearsal = replace(run, choices=own, workspace=workspace, permissions=permissions)
    return RehearsalOrder(run=rehearsal, within_s=REHEARSED_WITHIN_S)


# --- what the author is told ------------------------------------------------------------------------------------------


def _reasons(told: Rehearsal) -> tuple[Finding, ...]:
    """Warnings that say why the script did not return, or why a call was refused."""
    lines = {told.error.line} if told.error is not None else set()
    lines |= {violation.line for violation in told.violations}
    said = [violation.message for violation in told.violations]
    return tuple(
        finding
        for finding in told.warnings
        if finding.place is not None
        and (
            (finding.place.line in lines and (finding.code in _EXPLAINS or finding.code.startswith(_PREFLIGHT)))
            or any(finding.message in message for message in said)
        )
    )


def _endless(told: Rehearsal, cap: Violation) -> str:
    """That more agents were called than a run may have: of a loop, mostly, that goes on for ever."""
    line = "" if cap.line is None else f"line {cap.line}: "
    return (
        f"{line}with made-up answers the script called {told.agents:,} agents, all that a run may have, and wanted "
        "more. Does a loop there go on for ever? Give it an end that is certain: a number of rounds, "
        "`budget.remaining()`, or rounds that bring nothing new. If it is a list, give each agent more of it"
    )


def _thrown(error: RunError, text: str | None, *, gives_args: bool) -> str:
    """Why the script did not return, with its line."""
    from callsheet.engine.ending import LACKS_ARGS

    message = error.message.removesuffix(LACKS_ARGS)
    advice = ""
    if message != error.message:
        given = ", or hand in `args` beside `script`" if gives_args else ""
        advice = f". `args` is undefined here: have the script do without, `args?.files ?? […]`{given}"
    return (
        f"{_where(error)}run with made-up answers, the script did not return: {message}{advice}{_source(error, text)}"
    )


def _where(error: RunError) -> str:
    column = "" if error.column is None else f", column {error.column}"
    return "" if error.line is None else f"line {error.line}{column}: "


def _source(error: RunError, text: str | None) -> str:
    """The line of an error, below what is said of it."""
    lines = [] if text is None or error.line is None else text.split("\n")[error.line - 1 : error.line]
    return "".join(f"\n      {line.strip()[:200]}" for line in lines)


def told_of(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """Findings in lines, errors first."""
    errors = [finding for finding in findings if finding.severity == "error"]
    others = [finding for finding in findings if finding.severity != "error"]
    return tuple(_line(finding) for finding in (*errors, *others))[:_MOST_TOLD]


def _line(finding: Finding) -> str:
    """A finding with its place and its line."""
    if finding.place is None:
        return finding.message
    column = "" if finding.place.column is None else f", column {finding.place.column}"
    shown = "" if finding.source_line is None else f"\n      {finding.source_line.strip()[:200]}"
    return f"line {finding.place.line}{column}: {finding.message}{shown}"
