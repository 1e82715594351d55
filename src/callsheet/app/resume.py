"""The use case: resume a run. From its name to an order for the same run, as its record has it (CONTRACT R01–R08)."""

from __future__ import annotations

import json
from dataclasses import field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from callsheet.app import places
from callsheet.app.choices import Choices
from callsheet.app.ground import Terms
from callsheet.app.plan import UNSET, RecordedScript, ResumeTerms, RunOrder, Surroundings, Unset
from callsheet.app.settings import resolve_settings
from callsheet.app.source import recorded_origin
from callsheet.app.trusting import PermissionChoices, asked_mode
from callsheet.errors import NotFoundError, UsageError
from callsheet.model.call import ServiceName
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AgentWorktree
from callsheet.model.past import Past, Resumption, ReuseMode
from callsheet.model.policy import AgentPermissions, Route
from callsheet.model.spending import Budget, TokenPrices
from callsheet.model.values import JsonValue

if TYPE_CHECKING:
    from callsheet.store.reader import RunRecord

_STRICT_MODES = ("plan", "ask")
"""Modes that allow less than the default: these are taken from the record."""

_SAID = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOrder:
    """What a caller asks for. What is not said is as recorded.

    Attributes:
        run: The run's id or the beginning of one; None, or `last`, for the last one of the workspace.
        script: A path, a saved name, or `-` for `stdin`, instead of the recorded text; None for that.
        terms: How it stands to others on the workspace; None for as it did.
        rerun: Labels and agent ids of agents that run again although they have an answer.
        config: A run config that holds from now on; what it says is not taken from the record. None for none.
    """

    run: str | None = None
    script: str | None = None
    args: JsonValue | Literal[Unset.UNSET] = UNSET
    choices: Choices = field(default_factory=Choices)
    workspace: Path | None = None
    terms: Terms | None = None
    stdin: bytes | None = None
    permissions: PermissionChoices = field(default_factory=PermissionChoices)
    reuse: ReuseMode = "unchanged"
    rerun: tuple[str, ...] = ()
    config: Path | None = None


def order_of_record(order: ResumeOrder, around: Surroundings) -> RunOrder:
    """The order for a run that goes on from its record.

    Limits, budget, backend, model and script are those of the record where the caller says nothing. What a record says
    can only restrict: what was allowed by flags then must be allowed by flags again (DESIGN 14), since a repository
    could bring a record along.

    Raises:
        NotFoundError: The record has no such run, or none at all.
        UsageError: It worked in a worktree of its own, and nobody says where it is to go on.
        StoreError: There is no record, or it cannot be read.
    """
    workspace = places.workspace(around.start, order.workspace)
    resolved = resolve_settings(
        order.choices, workspace=workspace.root, environ=around.environ, config_dir=around.config_dir
    )
    record = places.record_of(workspace.root, resolved.store, around.environ).path
    found = _find(record, order.run, workspace.root)
    run, settings = found.run, _object(found.run.settings)
    if found.is_altered and (order.script is None or (order.args is UNSET and run.args is not None)):
        raise UsageError(
            f"The record {record} is damaged: script or arguments of {run.run_id} are lost, or not what was written. "
            "Name them: --script FILE, and --args where it had any. Agents that had answered answer again where it "
            "asks the same."
        )
    permissions, missing = _permissions(order.permissions, _object(settings.get("permissions")))
    notes = [_grants_note(missing)] if missing else []
    notes += _config_note(settings, order.config)
    notes += _service_note(settings, now=resolved.run.service)
    recorded = None
    if order.script is None:
        recorded = RecordedScript(text=run.script_text, path=run.script_path)
        notes += _file_note(recorded, run.run_id)
    args = order.args
    if args is UNSET and run.args is not None:
        args = json.loads(run.args)
    return RunOrder(
        script=order.script or recorded_origin(run.script_path, run.script_text),
        args=args,
        choices=order.choices,
        recorded=_recorded_choices(settings),
        continues=_continues(settings),
        notices=_texts(settings.get("notices")) or (),
        config=order.config,
        workspace=order.workspace,
        terms=order.terms or _terms(run.run_id, settings),
        stdin=order.stdin,
        permissions=permissions,
        resume=ResumeTerms(
            run_id=run.run_id, reuse=order.reuse, rerun=frozenset(order.rerun), recorded=recorded, notes=tuple(notes)
        ),
        drafts=settings.get("drafts") is True,
    )


def check_rerun(past: Past, rerun: frozenset[str]) -> None:
    """Sees that what is to run again is on record.

    Raises:
        NotFoundError: A name that no recorded agent has; says which look alike.
    """
    ids = {agent.agent_id for agent in past.agents}
    labels = {agent.label for agent in past.agents}
    for name in sorted(rerun - ids - labels):
        near = tuple(get_close_matches(name, [*labels, *ids], n=3, cutoff=0.4))
        hint = f"Did you mean {' or '.join(near)}?" if near else f"It had {len(ids)} agents, a0001 and so on."
        raise NotFoundError(
            f"--rerun {name}: {past.run_id} has no agent of that label or id. {hint}", name=name, near=near
        )


def changed_notes(resumption: Resumption | None) -> tuple[str, ...]:
    """A line on the files that were changed since the run stopped (CONTRACT R03)."""
    if resumption is None or not resumption.changed_since:
        return ()
    names = sorted(resumption.changed_since)
    more = f" and {len(names) - _SAID:,} more" if len(names) > _SAID else ""
    return (
        f"changed since the run stopped: {', '.join(names[:_SAID])}{more}. Agents that read or changed "
        f"{'it' if len(names) == 1 else 'them'}, or ran commands, are asked anew, unless what they had changed is gone "
        "from there and can be put back (--reuse all keeps their answers).",
    )


def kept_trees(past: Past) -> tuple[AgentWorktree, ...]:
    """What recorded agents kept in worktrees, in the order in which they ended."""
    ended = sorted((agent for agent in past.agents if agent.has_answer), key=lambda agent: agent.ended_at or "")
    return tuple(agent.outcome.worktree for agent in ended if agent.outcome.worktree is not None)


def _find(record: Path, name: str | None, root: Path) -> RunRecord:
    found = places.recorded_run(record, name, root)
    if found is None:
        raise NotFoundError(
            f"There is no run to resume: the record {record} has none yet. Start one: callsheet run SCRIPT", name=""
        )
    return found


def _object(value: object) -> dict[str, Any]:
    """What a JSON column holds, where that is an object."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _recorded_choices(settings: dict[str, Any]) -> Choices:
    """Of what held for the run that which a caller could have said."""
    sandbox = _object(settings.get("sandbox"))
    backend, file = settings.get("backend"), settings.get("backend_file")
    budget = Budget(tokens=settings.get("budget_tokens"), usd=settings.get("budget_usd"))
    return Choices(
        max_parallel=settings.get("max_parallel"),
        max_agents=settings.get("max_agents"),
        max_turns=settings.get("max_turns"),
        budget=budget or None,
        phase_budgets={title: _budget(each) for title, each in _object(settings.get("phase_budgets")).items()} or None,
        agent_budget=_budget(settings.get("agent_budget")) or None,
        prices={name: TokenPrices(**each) for name, each in _object(settings.get("prices")).items()} or None,
        cost_stop=settings.get("cost_stop_usd"),
        model=settings.get("model"),
        type_models=settings.get("type_models") or None,
        mode_routing=tuple(Route(**each) for each in settings.get("mode_routing") or ()) or None,
        agent_permissions=_agent_permissions(settings) or None,
        log_file=_log_file(settings.get("log_file")),
        log_level=settings.get("log_level"),
        backend=f"{backend}:{file}" if file else backend,
        cpu_limit=sandbox.get("cpu_limit_s"),
        cpu_total=sandbox.get("cpu_total_s"),
        memory_limit=sandbox.get("memory_limit_bytes"),
        strict=sandbox.get("strict"),
        require_confinement=sandbox.get("require_confinement"),
        approval_timeout=settings.get("approval_timeout_s"),
        agent_types=settings.get("agent_types") or None,
        max_wait=settings.get("max_wait_s"),
        checkpoint_interval=settings.get("checkpoint_interval"),
        rollback_on_failure=settings.get("rollback_on_failure"),
        cache_warmup=settings.get("cache_warmup"),
    )


def _agent_permissions(settings: dict[str, Any]) -> tuple[AgentPermissions, ...]:
    """What the record says that agents may do: it restricts, and grants nothing."""
    found = []
    for each in settings.get("agent_permissions") or ():
        lists: dict[str, Any] = {
            "hosts": _texts(each.get("hosts")),
            "shell_allow": _texts(each.get("shell_allow")) or (),
        }
        found.append(AgentPermissions(**(each | lists | {"is_granted": False})))
    return tuple(found)


def _log_file(value: object) -> str | None:
    """A recorded log file, where it lies in the workspace: a record may be anybody's."""
    from callsheet.app.restricting import lies_beneath

    return value if isinstance(value, str) and lies_beneath(value) else None


def _continues(settings: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Where the run's conversations went on; whatever else stands there is none."""
    found = _object(settings.get("continues"))
    return {name: (str(at[0]), str(at[1])) for name, at in found.items() if isinstance(at, list) and len(at) == 2}


def _texts(value: object) -> tuple[str, ...] | None:
    return tuple(map(str, value)) if isinstance(value, list) else None


def _config_note(settings: dict[str, Any], config: Path | None) -> list[str]:
    """A line where the run's config allowed more than a record may say."""
    was = _object(settings.get("permissions")).get("config")
    if not was or config is not None:
        return []
    from callsheet.app.restricting import grants_of

    granted = [AgentPermissions(**each) for each in settings.get("agent_permissions") or () if each.get("is_granted")]
    grants = [grant for each in granted for grant in grants_of(each)]
    if not grants:
        return []
    return [
        f"the run had --config {was} ({', '.join(grants)}); what allows more is not taken from a record: give it again "
        "where it is meant."
    ]


def _budget(value: object) -> Budget:
    amounts = _object(value)
    return Budget(tokens=amounts.get("tokens"), usd=amounts.get("usd"))


def _terms(run_id: str, settings: dict[str, Any]) -> Terms:
    match settings.get("workspace_use"):
        case "share":
            return Terms(use="share")
        case "worktree":
            raise UsageError(
                f"{run_id} worked in a worktree of its own, and what it changed there is on the branch "
                f"callsheet/{run_id}. Merge that branch, then say where its agents are to go on: --worktree for a new "
                "one, or --wait for the workspace itself."
            )
        case _:
            return Terms()


def _permissions(said: PermissionChoices, was: dict[str, Any]) -> tuple[PermissionChoices, list[str]]:
    """What the caller says, with what the record restricts besides; and flags that allowed more then."""
    mode, was_mode = said.mode, str(was.get("mode") or "")
    by_flag = was.get("mode_source") == "flags"
    if mode is None and by_flag and was_mode in _STRICT_MODES:
        mode = asked_mode(was_mode)
    missing = [f"--permission-mode {was_mode}"] if said.mode is None and by_flag and was_mode == "bypass" else []
    missing += [f"--allow '{rule}'" for rule in was.get("allow") or () if rule not in said.allow]
    missing += [
        flag
        for flag, has, had in (
            ("--unconfined", said.unconfined, was.get("unconfined")),
            ("--ignore-hooks", said.ignore_hooks, was.get("ignore_hooks")),
        )
        if had and not has
    ]
    deny = (*said.deny, *(str(rule) for rule in was.get("deny") or () if rule not in said.deny))
    config_from = said.config_from or was.get("config_from")
    return replace(said, mode=mode, deny=deny, config_from=config_from), missing


def _grants_note(missing: list[str]) -> str:
    flags = " ".join(missing)
    return f"the run had {flags}; what allows more is not taken from a record: give it again where it is meant."


def _service_note(settings: dict[str, Any], *, now: ServiceName) -> list[str]:
    """A line where models were had elsewhere: where that is, is the user's to say, and a record may be anybody's."""
    was = settings.get("service") or "anthropic"
    if settings.get("backend") != "anthropic" or was == now:
        return []
    return [f"the run had its models at {was}, now they are had at {now}: to go on there, pass --service {was}."]


def _file_note(recorded: RecordedScript, run_id: str) -> list[str]:
    """A line where the script's file is other than what was recorded: people edit a script, then resume."""
    if recorded.path is None:
        return []
    try:
        now = Path(recorded.path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return []
    if now == recorded.text:
        return []
    return [
        f"the script is taken from the record, and its file has changed since: with the file as it is now, "
        f"callsheet resume {run_id} --script {recorded.path}"
    ]
