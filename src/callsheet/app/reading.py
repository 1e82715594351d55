"""What a run reads before its first agent: the script, what is known against it, and the memory agents are told."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from callsheet.app import compose, workers
from callsheet.app.plan import Plan
from callsheet.app.preflight import Preflight, refused_by_preflight, schema_fault
from callsheet.app.source import find_script
from callsheet.errors import ConfigError, NotFoundError, ScriptRefusedError
from callsheet.model.dataclass import dataclass
from callsheet.model.policy import ORCHESTRATOR
from callsheet.model.run import RunSettings
from callsheet.model.script import Finding, LiteralUse, Script
from callsheet.ports import WorkflowLibrary

if TYPE_CHECKING:
    from callsheet.library.memory import Memory

_NESTED = re.compile(r"\bworkflow\s*\(")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The memory that agents in the workspace's root are told, for the record and for people (CONTRACT R02).

    Attributes:
        digest: Of the text; None where there is none.
        said: A line that names the files.
        left_out: A line on what did not fit.
    """

    digest: str | None = None
    said: str | None = None
    left_out: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read for a run.

    Attributes:
        library: Where the run looks up names.
        findings: Warnings about the script, the checker's and the preflight's, in order of place.
    """

    script: Script
    library: WorkflowLibrary
    findings: tuple[Finding, ...]
    memory: Remembered


def read(plan: Plan, memory: Memory | None) -> Reading:
    """Reads the script and tries what can be tried before anything starts.

    Args:
        plan: Of the run.
        memory: What its agents are told of the project; None where nobody is told anything.

    Raises:
        UsageError: No such script; a model without a price and a budget in dollars.
        ScriptRefusedError: The script cannot be run (CONTRACT S), or `preflight` refuses it.
    """
    around = plan.around
    library = _library(plan)
    script = _script(plan, library)
    warnings, uses = compose.look_at(script)
    model_fault = partial(
        workers.model_fault, environ=around.environ, names=plan.resolved.models, service=plan.settings.service
    )
    preflight = Preflight(library=library, schema_fault=schema_fault, model_fault=model_fault).findings(script, uses)
    faults = [fault for name in _set_models(plan.settings) if (fault := model_fault(name)) is not None]
    messages = [f"{fault} --model, or a setting, names it." for fault in faults]
    of_settings = [
        Finding(severity="warning", code="preflight-model", contract="A07", message=message) for message in messages
    ]
    preflight = (*of_settings, *preflight)
    _see_that_prices_are_known(plan, uses)
    if preflight and plan.settings.preflight == "refuse":
        raise refused_by_preflight(script, preflight)
    return Reading(
        script=script,
        library=library,
        findings=in_order((*warnings, *preflight)),
        memory=_remembered(memory),
    )


def script_of(plan: Plan) -> Script:
    """The script alone, looked up and read.

    Raises:
        UsageError: No such script.
        ScriptRefusedError: It is no workflow (CONTRACT S).
    """
    return _script(plan, _library(plan))


def nested_scripts(plan: Plan, script: Script) -> dict[str, Script] | None:
    """The scripts that a script runs with `workflow()`, and those that they run, by name; those that are there.

    None where not all are named literally: then nobody knows which they are.
    """
    library = _library(plan)
    found: dict[str, Script] = {}
    left = [script]
    while left:
        one = left.pop()
        calls = len(_NESTED.findall(one.body))
        names = [use.value for use in compose.look_at(one)[1] if use.kind == "workflow"] if calls else []
        if len(names) != calls:
            return None
        for name in names:
            if isinstance(name, str) and name not in found:
                with suppress(NotFoundError, ScriptRefusedError):  # the call fails, until there is one
                    found[name] = library.workflow(name)
                    left.append(found[name])
    return found


def _script(plan: Plan, library: WorkflowLibrary) -> Script:
    recorded = None if plan.order.resume is None else plan.order.resume.recorded
    if plan.approved is not None:
        script = plan.approved.script
    elif recorded is not None:
        data = recorded.text.encode("utf-8", "surrogatepass")
        script = compose.script_reader()(data, origin=plan.order.script, path=recorded.path)
    else:
        start, stdin = plan.around.start, plan.order.stdin
        script = find_script(plan.script, start=start, stdin=stdin, library=library, read=compose.script_reader())
    return replace(script, origin=plan.order.script)


def _library(plan: Plan) -> WorkflowLibrary:
    site = plan.site
    return compose.library(
        site.project.folder,
        start=site.start,
        home=site.home,
        environ=site.environ,
        trusted=plan.settled.is_trusted,
        declared=plan.resolved.agents,
        mapped=plan.resolved.agent_types,
    )


def _set_models(settings: RunSettings) -> tuple[str, ...]:
    """The models that settings name, each once."""
    routed = [route.model for route in settings.mode_routing if route.pattern != ORCHESTRATOR]
    by_type = [model for name, model in settings.type_models.items() if name != ORCHESTRATOR]
    return tuple(dict.fromkeys(name for name in (settings.model, *by_type, *routed) if name is not None))


def _see_that_prices_are_known(plan: Plan, uses: Iterable[LiteralUse]) -> None:
    """With a budget in dollars every model that is known by now must have a price (CONTRACT G04).

    Raises:
        ConfigError: One has none.
    """
    settings, resolved = plan.settings, plan.resolved
    counts_usd = settings.budget_usd is not None or any(
        budget.usd is not None for budget in settings.phase_budgets.values()
    )
    literal = [use.value for use in uses if use.kind == "model" and isinstance(use.value, str)]
    asked = [settings.model, *_set_models(settings), *literal]
    if plan.backend.name == "claude_code" and counts_usd:
        environ = plan.around.environ
        model = workers.unpriced_by_plan(asked, names=resolved.models, prices=settings.prices, environ=environ)
        if model is not None:
            raise ConfigError(
                f"what {model} costs is not known, since a plan or a cloud pays for Claude Code here, and there is a "
                "budget in dollars. Give a budget of output tokens (--budget 2M), or say what it costs you: --price "
                f"{model}=3/15, or [prices] in config.toml."
            )
    if plan.backend.name != "anthropic" or not (counts_usd or settings.agent_budget.usd is not None):
        return
    model = workers.unpriced_model(asked, names=resolved.models, prices=settings.prices, service=settings.service)
    if model is not None:
        raise ConfigError(
            f"what {model} costs is not known, and there is a budget in dollars. Give its price, dollars for a million "
            f"tokens of input and output: --price {model}=3/15, or [prices] in config.toml; or a budget in tokens."
        )


def _remembered(memory: Memory | None) -> Remembered:
    if memory is None:
        return Remembered()
    found = memory.of(".")
    names = ", ".join(name.removeprefix(f"{memory.shown}/") for name in found.files)
    said = f"project memory: {names} (sha256 {found.digest[:12]})." if found.digest is not None else None
    return Remembered(digest=found.digest, said=said, left_out=found.note())


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order of their places; those without one first."""
    return tuple(
        sorted(findings, key=lambda one: (one.place.line, one.place.column or 0) if one.place is not None else (0, 0))
    )
