"""The Python API: `await callsheet.run("review", args={…})`, `async with callsheet.open_run(…) as run:`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from difflib import get_close_matches
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack

from anyio import to_thread

from callsheet.app.choices import Choices, LogAmount
from callsheet.app.ground import Terms, terms_of
from callsheet.app.plan import UNSET, RunOrder, Surroundings, Unset, open_plan
from callsheet.app.quantities import parse_budget, parse_cost_stop, parse_prices, parse_seconds, parse_size
from callsheet.app.resume import ResumeOrder, order_of_record
from callsheet.app.run import open_run as open_planned_run
from callsheet.app.trusting import PermissionChoices, asked_mode
from callsheet.errors import UsageError
from callsheet.model.call import ServiceName
from callsheet.model.past import ReuseMode
from callsheet.model.rehearsal import Rehearsal
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.ports import Approver, EventSink

if TYPE_CHECKING:
    from callsheet.engine.run import Run

__all__ = ["UNSET", "ResumeOptions", "RunOptions", "open_resume", "open_run", "rehearse", "resume", "run"]


class RunOptions(TypedDict, total=False):
    """What a run can be given, all of it optional.

    What is not given comes from the environment (`CALLSHEET_*`), the user's and the workspace's settings and the
    defaults, in that order (FORMATS 5).

    Attributes:
        args: The script's `args`, any JSON value; None is `null`, without it the script sees `undefined`.
        workspace: The folder that agents work in; without it the git working tree around the current folder.
        backend: `anthropic`, `claude_code`, `offline`, or `scripted:FILE`. Without it the model, and `offline` where
            there is no credential for one.
        service: Where the models of backend `anthropic` are had: `anthropic`, `bedrock`, `bedrock-mantle`, `vertex` or
            `foundry`. Named here or in the user's own settings, never in a workspace's.
        model: Alias or id, for calls that name none.
        max_parallel: Agents at work at a time, 1 to 256.
        max_agents: Agents that the run may start.
        max_turns: Model turns that one agent may take.
        budget: Output tokens (`200`, `"2M"`) or dollars (`"$40"`), or both (`"2M $40"`).
        phase_budgets: Budgets of phases, by title or glob: `{"Review": "200k $5"}`.
        agent_budget: What each agent may use at most, as `budget`.
        cost_stop: Dollars at which a run without a budget asks whether it goes on, and without somebody to ask stops
            (`50`, `"$50"`; `"none"`: nowhere).
        prices: Dollars for a million tokens of input and output, by model: `{"my-model": "3/15"}`.
        cpu_limit: Seconds of CPU that the script may use between two answers.
        cpu_total: Seconds of CPU for the whole script.
        memory_limit: The script's heap in bytes, or as `"512M"`.
        strict: Clock and random numbers throw, as in the reference runtime.
        require_confinement: Refuse to run where the system offers no system-call filter for the sandbox.
        preflight: `"refuse"` makes a refusal of what the script says literally and cannot have.
        share: Work beside other runs that share the workspace too; without it a run is alone there, and refused where
            another one works.
        wait: Seconds to wait for others to end, True for as long as it takes.
        worktree: Work in a git worktree of the run's own, kept on a branch where it was changed.
        agent_types: Names of agent types, and of those that are taken for them: `{"reviewer": "general-purpose"}`.
        store: Where the record goes; without it `.callsheet/` in the workspace.
        permission_mode: What agents may do where no rule says anything: `"acceptEdits"`, `"plan"`, `"ask"`, `"bypass"`.
        allow: Rules that allow, as in `.claude/settings.json`: `Bash(npm test:*)`.
        deny: Rules that deny.
        add_dirs: Further folders in which agents may read and edit.
        trust: What the workspace's own files ask for takes effect, for this run.
        unconfined: Programs that run files of the workspace need no confinement: this machine is the boundary.
        ignore_hooks: Run although `PreToolUse` hooks are declared, which are not run.
        config_from: A git ref whose configuration, memory and workflow hold instead of the working tree's.
        sinks: Called with each event, on the event loop; they must return at once.
        approver: Who is asked what agents may not do by themselves. Without one nobody is: it is denied.
        approval_timeout: Seconds that an agent waits for the approver's answer; without one it is denied.
        max_wait: Seconds, or as `"2h"`, that the run waits for a service that stays away; 0 for not at all. Six hours
            without it.
        cache_warmup: False: calls that share a prompt prefix do not wait for the first of them.
        config: The run's own config, a YAML file (FORMATS 5); it may name the workflow.
        log_file: A file that the run's events are written to besides, `{timestamp}` in it being the start.
        log_level: How much of them: `"quiet"`, `"normal"` or `"verbose"`.
        checkpoint_interval: The workspace's state is kept every so many agents too, not only before the run and at the
            end.
        rollback_on_failure: What an agent changed that failed is taken back.
        notify: A command that is run when the run has ended or waits for a person.
    """

    args: JsonValue | Literal[Unset.UNSET]
    workspace: str | PathLike[str] | None
    backend: str | None
    service: ServiceName | None
    model: str | None
    max_parallel: int | None
    max_agents: int | None
    max_turns: int | None
    budget: int | str | None
    phase_budgets: Mapping[str, int | str] | None
    agent_budget: int | str | None
    cost_stop: float | str | None
    prices: Mapping[str, str] | None
    cpu_limit: float | None
    cpu_total: float | None
    memory_limit: int | str | None
    strict: bool | None
    require_confinement: bool | None
    preflight: Literal["warn", "refuse"] | None
    share: bool | None
    wait: bool | float | None
    worktree: bool | None
    agent_types: Mapping[str, str] | None
    store: str | PathLike[str] | None
    permission_mode: Literal["acceptEdits", "plan", "ask", "bypass"] | None
    allow: Sequence[str]
    deny: Sequence[str]
    add_dirs: Sequence[str | PathLike[str]]
    trust: bool
    unconfined: bool
    ignore_hooks: bool
    config_from: str | None
    sinks: Sequence[EventSink]
    approver: Approver | None
    approval_timeout: float | None
    max_wait: float | str | None
    cache_warmup: bool | None
    config: str | PathLike[str] | None
    log_file: str | PathLike[str] | None
    log_level: LogAmount | None
    checkpoint_interval: int | None
    rollback_on_failure: bool | None
    notify: str | None


async def run(script: str | PathLike[str] = "", **options: Unpack[RunOptions]) -> RunResult:
    """Runs a workflow script to its end. Works on asyncio, through anyio.

        result = await callsheet.run("review", args={"path": "src"}, backend="offline")

    Args:
        script: A path (it ends in `.js` or `.mjs`, or has a folder in it), or the name of a saved workflow; without it
            what `config` names.
        **options: See `RunOptions`.

    Returns:
        How the run ended. A run that failed, was degraded or interrupted is a result, not an exception.

    Raises:
        UsageError: No such script, no such option, or a setting that cannot hold.
        ScriptRefusedError: The script cannot be run; `findings` say where and why.
        LeaseHeldError: Another run works in the workspace.
        StoreError: The record cannot be opened.
        SandboxError: The sandbox does not start.
        TrustRefusedError: `PreToolUse` hooks are declared, which are not run; `ignore_hooks` goes on without them.

    Cancelling ends the run within five seconds, agents and sandbox included; its record says so.
    """
    async with open_run(script, **options) as going:
        return await going.result()


@asynccontextmanager
async def open_run(script: str | PathLike[str] = "", **options: Unpack[RunOptions]) -> AsyncGenerator[Run]:
    """Starts a workflow script; it goes on by itself while the block runs.

    `run.events()` gives every event from the first to `run.finished`, `await run.result()` the end, `await run.stop()`
    ends it early. Leaving the block ends the run within five seconds, whatever it was doing.

        async with callsheet.open_run("review") as run:
            async for event in run.events():
                print(event.name)
            result = await run.result()

    Arguments and errors are those of `run`.
    """
    async with _opened(_run_order(script, options), options) as run:
        yield run


async def rehearse(
    script: str | PathLike[str], *, answers_from: str | PathLike[str] | None = None, **options: Unpack[RunOptions]
) -> Rehearsal:
    """Says what a run would do and cost: the script runs in the sandbox, its agents are played, nothing is touched.

        told = await callsheet.rehearse("review", args={"path": "src"})
        print(told.agents, told.is_exact, told.cost_usd)

    Args:
        script: As for `run`.
        answers_from: What agents answer: an answers file, or the name of a recorded run; None for made up answers.
        **options: As for `run`; those that say how a run is carried out change nothing.

    Raises:
        UsageError: No such script, file or run, or a setting that cannot hold.
        ScriptRefusedError: The script cannot be run; `findings` say where and why.
        StoreError: The record of the run that answers are taken from cannot be read.
        SandboxError: The sandbox does not start.

    Cancelling ends it within a second.
    """
    from callsheet.app.rehearsal import RehearsalOrder
    from callsheet.app.rehearsal import rehearse as rehearse_order

    order = RehearsalOrder(
        run=_run_order(script, options), answers_from=None if answers_from is None else fspath(answers_from)
    )
    return await rehearse_order(order, Surroundings())


class ResumeOptions(RunOptions, total=False):
    """What a resumed run can be given besides; what is not given is as recorded.

    What was allowed then (`allow`, `unconfined` …) is not taken from the record, and must be allowed again.

    Attributes:
        script: The script as it is now, by path or name; without it its recorded text.
        reuse: Which recorded answers hold: `"unchanged"`, `"prefix"` or `"all"`.
        rerun: Labels and ids of agents that run again although they have an answer.
    """

    script: str | PathLike[str] | None
    reuse: ReuseMode
    rerun: Sequence[str]


async def resume(run: str | None = None, **options: Unpack[ResumeOptions]) -> RunResult:
    """Goes on with a recorded run to its end: agents that have answered answer from the record.

        result = await callsheet.resume("run_01J…", budget="4M")

    Args:
        run: Its id, or the beginning of one; None, or `last`, for the last one of the workspace.
        **options: See `ResumeOptions` and `RunOptions`.

    Returns:
        How it ended; `resumed` says what was taken from the record, call by call.

    Raises:
        NotFoundError: The record has no such run.
        RunGoingError: It goes on already.
        CallsheetError: As `run`.
    """
    async with open_resume(run, **options) as going:
        return await going.result()


@asynccontextmanager
async def open_resume(run: str | None = None, **options: Unpack[ResumeOptions]) -> AsyncGenerator[Run]:
    """As `open_run`, for a recorded run. Arguments and errors are those of `resume`."""
    _known(options, ResumeOptions)
    script = options.get("script")
    order = ResumeOrder(
        run=run,
        script=None if script is None else fspath(script),
        args=options.get("args", UNSET),
        choices=_choices(options),
        workspace=_path(options.get("workspace")),
        terms=_terms(options),
        permissions=_permissions(options),
        reuse=options.get("reuse", "unchanged"),
        rerun=tuple(options.get("rerun", ())),
        config=_path(options.get("config")),
    )
    found = await to_thread.run_sync(order_of_record, order, Surroundings())
    async with _opened(found, options) as going:
        yield going


@asynccontextmanager
async def _opened(order: RunOrder, options: RunOptions) -> AsyncGenerator[Run]:
    approver = options.get("approver")
    async with (
        open_plan(order, Surroundings(interactive=approver is not None)) as plan,
        open_planned_run(plan, sinks=options.get("sinks", ()), approver=approver) as opened,
    ):
        yield opened.run


def _known(options: Mapping[str, object], kind: type) -> None:
    """Sees that each option is one: a budget that was misspelled must not be a run without one.

    Raises:
        UsageError: One is none.
    """
    for name in options:
        if name not in kind.__annotations__:
            near = get_close_matches(name, kind.__annotations__, 1, 0.5)
            raise UsageError(f"There is no option {name}{f': is {near[0]} meant?' if near else '.'}")


def _run_order(script: str | PathLike[str], options: RunOptions) -> RunOrder:
    _known(options, RunOptions)
    return RunOrder(
        script=fspath(script),
        args=options.get("args", UNSET),
        choices=_choices(options),
        workspace=_path(options.get("workspace")),
        permissions=_permissions(options),
        terms=_terms(options) or Terms(),
        config=_path(options.get("config")),
    )


def _terms(options: RunOptions) -> Terms | None:
    """How the run is to stand to others; None where nothing is said."""
    share, wait, worktree = options.get("share"), options.get("wait"), options.get("worktree")
    if share is None and wait is None and worktree is None:
        return None
    return terms_of(share=bool(share), wait=wait, worktree=bool(worktree))


def _permissions(options: RunOptions) -> PermissionChoices:
    mode = options.get("permission_mode")
    return PermissionChoices(
        mode=None if mode is None else asked_mode(mode),
        allow=tuple(options.get("allow", ())),
        deny=tuple(options.get("deny", ())),
        folders=tuple(Path(folder) for folder in options.get("add_dirs", ())),
        trust=options.get("trust", False),
        unconfined=options.get("unconfined", False),
        ignore_hooks=options.get("ignore_hooks", False),
        config_from=options.get("config_from"),
    )


def _choices(options: RunOptions) -> Choices:
    wait, stop = options.get("max_wait"), options.get("cost_stop")
    phases, each_agent, prices = options.get("phase_budgets"), options.get("agent_budget"), options.get("prices")
    log_file = _path(options.get("log_file"))
    budget, memory, store = options.get("budget"), options.get("memory_limit"), _path(options.get("store"))
    return Choices(
        max_parallel=options.get("max_parallel"),
        max_agents=options.get("max_agents"),
        max_turns=options.get("max_turns"),
        budget=None if budget is None else parse_budget(str(budget)),
        phase_budgets=None if phases is None else {title: parse_budget(str(each)) for title, each in phases.items()},
        agent_budget=None if each_agent is None else parse_budget(str(each_agent)),
        cost_stop=parse_cost_stop(stop) if isinstance(stop, str) else stop,
        prices=None if prices is None else parse_prices(prices),
        model=options.get("model"),
        backend=options.get("backend"),
        service=options.get("service"),
        cpu_limit=options.get("cpu_limit"),
        cpu_total=options.get("cpu_total"),
        memory_limit=parse_size(memory) if isinstance(memory, str) else memory,
        strict=options.get("strict"),
        require_confinement=options.get("require_confinement"),
        preflight=options.get("preflight"),
        store=None if store is None else str(store),
        approval_timeout=options.get("approval_timeout"),
        agent_types=options.get("agent_types"),
        max_wait=parse_seconds(wait) if isinstance(wait, str) else wait,
        cache_warmup=options.get("cache_warmup"),
        log_file=None if log_file is None else str(log_file),
        log_level=options.get("log_level"),
        checkpoint_interval=options.get("checkpoint_interval"),
        rollback_on_failure=options.get("rollback_on_failure"),
        notify=options.get("notify"),
    )


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)
