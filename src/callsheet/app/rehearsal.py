"""The use case: rehearse a run. What it would do, told without doing any of it: nothing is written, asked or run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from callsheet.app import places
from callsheet.app.backends import BackendChoice
from callsheet.app.plan import UNSET, Plan, RunOrder, Surroundings, open_plan
from callsheet.app.reading import Reading, read
from callsheet.app.rehearsal_report import Told, report
from callsheet.app.run import args_json
from callsheet.app.source import expanded
from callsheet.errors import NotFoundError, StoreError
from callsheet.model.dataclass import dataclass
from callsheet.model.rehearsal import Rehearsal
from callsheet.shell.environment import INSIDE_RUN

if TYPE_CHECKING:
    from callsheet.app.estimating import Estimator
    from callsheet.app.rehearsal_cast import Answers
    from callsheet.app.rehearsal_models import Models
    from callsheet.app.rehearsal_stage import Performance
    from callsheet.model.run import RunError, RunSettings
    from callsheet.store.experience import FinishedCall

WITHIN_S = 120.0
"""A script that has not come to its end by then is not going to: all else takes no time."""

NO_CREDENTIAL = (
    "no credential for a model was found: this is what a run with a model would do; without one the offline agent "
    "answers, by rule and at no cost"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalOrder:
    """What a caller asks for.

    Attributes:
        run: The run that is rehearsed.
        answers_from: An answers file, or the name of a recorded run; None for synthetic answers.
        within_s: How long each time through the script may take.
    """

    run: RunOrder
    answers_from: str | None = None
    within_s: float = WITHIN_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All that passes of one rehearsal have in common; `note` says why nothing is known of earlier runs."""

    plan: Plan
    reading: Reading
    settings: RunSettings
    models: Models
    estimator: Estimator
    args_json: str | None
    backends: Collection[str]
    note: str | None = None


async def rehearse(order: RehearsalOrder, around: Surroundings) -> Rehearsal:
    """Rehearses a run.

    Raises:
        UsageError: No such script, file or run; a setting that cannot hold.
        ScriptRefusedError: The script cannot be run; `findings` say where and why.
        StoreError: The record of the run that answers are taken from cannot be read.
        SandboxError: The sandbox does not start.

    Cancelling ends it within a second.
    """
    # Nobody answers, and nothing is paid: neither what CI forbids nor what agents may not start is asked for.
    passed_over = ("CI", INSIDE_RUN)
    quiet = replace(around, environ={name: text for name, text in around.environ.items() if name not in passed_over})
    run = await to_thread.run_sync(_as_recorded, order, quiet)
    async with open_plan(run, replace(quiet, interactive=False)) as plan:
        plan = with_a_model(plan)
        prepared = await prepare(plan)
        answers = await to_thread.run_sync(_answers, order.answers_from, plan)
        first = await one_pass(prepared, answers, within_s=order.within_s)
        others: list[Performance] = []
        told = Told(prepared=prepared, answers=answers, first=first)
        if not told.is_exact:
            others = [
                await one_pass(prepared, other, is_dry=is_dry, within_s=order.within_s)
                for other, is_dry in _others(answers)
            ]
        return await to_thread.run_sync(report, replace(told, others=tuple(others)))


async def slip_without_answers(order: RehearsalOrder, around: Surroundings) -> RunError | None:
    """How the script slips on `null` where every agent fails: the `TypeError` that it ends with.

    None where it ends in any other way; an error in its own words is one that its author thought of.

    Raises:
        As `rehearse`.
    """
    from callsheet.agents.scripted_answers import AnswersFile
    from callsheet.app.rehearsal_cast import Answers

    quiet = replace(around, environ={name: value for name, value in around.environ.items() if name != "CI"})
    async with open_plan(order.run, replace(quiet, interactive=False)) as plan:
        prepared = await prepare(with_a_model(plan))
        failing = Answers(shown="none", file=AnswersFile(otherwise="fail"))
        error = (await one_pass(prepared, failing, within_s=order.within_s)).result.error
    return error if error is not None and error.message.startswith("TypeError: ") else None


async def prepare(plan: Plan) -> Prepared:
    """Reads what passes of a rehearsal need: script, models, and what is on record of earlier runs.

    Raises:
        UsageError: As `rehearse`.
        ScriptRefusedError: As `rehearse`.
    """
    from callsheet.app.estimating import Estimator
    from callsheet.app.rehearsal_models import models_of
    from callsheet.app.rehearsal_stage import NO_COST_STOP_USD

    reading = await to_thread.run_sync(read, plan, None)
    models = models_of(plan)
    finished, note = await to_thread.run_sync(_finished, plan, reading.script.meta.name)
    settings = replace(plan.settings, cost_stop_usd=NO_COST_STOP_USD, checkpoint_interval=0, interactive=False)
    return Prepared(
        plan=plan,
        reading=reading,
        settings=settings,
        models=models,
        estimator=Estimator(finished, price=models.price),
        args_json=None if plan.order.args is UNSET else args_json(plan.order.args),
        backends=_backend_names(plan),
        note=note,
    )


async def one_pass(
    prepared: Prepared,
    answers: Answers,
    *,
    is_dry: bool = False,
    within_s: float = WITHIN_S,
    most_agents: int | None = None,
) -> Performance:
    """Runs the script once, its agents answering from `answers`; see `rehearsal_stage.perform`."""
    from callsheet.app.rehearsal_cast import Company
    from callsheet.app.rehearsal_stage import perform

    company = Company(answers, estimator=prepared.estimator, models=prepared.models, is_dry=is_dry)
    return await perform(
        prepared.plan,
        script=prepared.reading.script,
        library=prepared.reading.library,
        settings=prepared.settings,
        backends=prepared.backends,
        args_json=prepared.args_json,
        company=company,
        within_s=within_s,
        most_agents=most_agents,
    )


def with_a_model(plan: Plan) -> Plan:
    """The plan as with a credential: where nobody chose who answers, a rehearsal is about what a model would cost."""
    if plan.backend.note is None:
        return plan
    notes = (NO_CREDENTIAL, *(note for note in plan.notes if note != plan.backend.note))
    return replace(plan, backend=BackendChoice(name="anthropic"), notes=notes)


def _others(answers: Answers) -> Iterable[tuple[Answers, bool]]:
    """Answers of other kinds, to see what depends on them: made up ones, and ones that find nothing."""
    from callsheet.app.rehearsal_cast import Answers as Of

    if answers.file is not None or answers.recorded:
        yield Of(), False
    yield Of(), True


def _backend_names(plan: Plan) -> Collection[str]:
    """The backends that calls of the run may name."""
    if plan.backend.name == "scripted":
        return (plan.backend.name,)
    from callsheet.agents.claude_code.installed import is_installed
    from callsheet.agents.registered import registered_backends

    names = [plan.backend.name, *registered_backends()]
    if any(kind.command is not None for kind in plan.resolved.agents):
        names.append("command")
    names += [own for kind in plan.resolved.agents if (own := kind.own_backend) is not None]
    if plan.backend.name != "offline" and is_installed():
        names.append("claude_code")
    return tuple(dict.fromkeys(names))


def _finished(plan: Plan, workflow: str) -> tuple[tuple[FinishedCall, ...], str | None]:
    """Finished calls of the workflow, and why they cannot be read where they cannot."""
    from callsheet.store.experience import finished_calls

    record = places.record_to_read(plan.workspace.root, plan.resolved.store, plan.around.environ)
    try:
        return finished_calls(record, workflow=workflow, backend=plan.backend.name), None
    except StoreError as fault:
        return (), f"earlier runs cannot be read: {fault.message}"


# --- answers ----------------------------------------------------------------------------------------------------------


def _is_file(named: str, start: Path) -> bool:
    return named.endswith(".json") or "/" in named or (start / named).is_file()


def _as_recorded(order: RehearsalOrder, around: Surroundings) -> RunOrder:
    """The order, answered by the backend of the recorded run whose answers it takes: the keys of its calls say it."""
    named, run = order.answers_from, order.run
    if named is None or run.choices.backend is not None or _is_file(named, around.start):
        return run
    root = places.workspace(around.start, run.workspace).root
    import json

    from callsheet.app.records import Where, open_runs

    where = Where(store=run.choices.store, workspace=root, start=around.start, environ=around.environ)
    with open_runs(where) as runs:
        found = runs.record.run(runs.find(named).run_id)
    settings = json.loads(found.run.settings) if found is not None else {}
    backend = settings.get("backend")
    if not isinstance(backend, str) or backend == "scripted":
        return run
    return replace(run, choices=replace(run.choices, backend=backend))


def _answers(named: str | None, plan: Plan) -> Answers:
    from callsheet.app.rehearsal_cast import Answers, answers_of_file

    if named is None:
        file = plan.backend.file
        return Answers() if file is None else answers_of_file(file, shown=str(file))
    if _is_file(named, plan.around.start):
        return answers_of_file(plan.around.start / expanded(named), shown=named)
    return _recorded_answers(named, plan)


def _recorded_answers(named: str, plan: Plan) -> Answers:
    """The answers of a recorded run; its record is only read.

    Raises:
        NotFoundError: There is no such run.
        StoreError: There is no record, or it cannot be read.
    """
    from callsheet.app.records import Where, open_runs
    from callsheet.app.rehearsal_cast import Answers
    from callsheet.store.past import read_past

    where = Where(
        store=plan.resolved.store,
        workspace=plan.workspace.root,
        start=plan.around.start,
        environ=plan.around.environ,
    )
    with open_runs(where) as runs:
        run_id = runs.find(named).run_id
    past = read_past(where.record, run_id)
    if past is None:
        raise NotFoundError(f"The record {where.record} has no run {run_id} any more.", name=run_id)
    return Answers(shown=run_id, recorded=tuple(agent for agent in past.agents if agent.has_answer))
