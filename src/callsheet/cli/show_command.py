"""`callsheet show`: one run, or one of its agents, whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callsheet.cli.completing import workflow_items
from callsheet.cli.reading import (
    RUN_HELP,
    columns,
    is_run_name,
    json_line,
    json_option,
    opened_run,
    printed,
    record_options,
    where,
)
from callsheet.cli.workflow_lines import show_workflow

if TYPE_CHECKING:
    from callsheet.app.records import Listed, Runs, Where
    from callsheet.model.run import AgentSummary, RunResult

_SHOWN_AGENTS = 50
_LABEL_CHARS = 50
_ARGS_CHARS = 400
_RESULT_CHARS = 4_000
_PROMPT_CHARS = 4_000
_PART_CHARS = 400
_SHOWN_CALLS = 100
_SHOWN_MESSAGES = 40


@click.command(name="show", short_help="Shows a run, one of its agents, or a saved workflow.", epilog=RUN_HELP)
@click.argument("run", metavar="[RUN|NAME]", default="last", shell_complete=workflow_items)
@click.argument("agent", required=False)
@click.option("--full", is_flag=True, help="Nothing is cut.")
@json_option
@record_options
def show(run: str, agent: str | None, *, full: bool, as_json: bool, store: str | None, workspace: Path | None) -> int:
    """Shows a run: its agents, how it ended, what went wrong and what to do; without RUN the newest. With the name of a
    saved workflow: what it is for, its phases, its script.

    With AGENT (its id, number or label) all of that agent: prompt, tool calls, answer, usage, messages. Long texts are
    cut unless --full is given; --json has everything. Secrets are replaced.

    Exit status: 0, 1 where the record cannot be read, 2 where there is no such run, agent or workflow.
    """  # noqa: D205 - one sentence, as click shows it
    from callsheet.cli.boundary import guarded

    place = where(store, workspace)
    if not is_run_name(run):
        if agent is not None:
            raise click.UsageError(f"{run} is no run, and a workflow has no agents; runs' names begin with run_.")
        return guarded(lambda: show_workflow(run.removeprefix("/"), workspace, as_json=as_json))
    if agent is None:
        return guarded(lambda: _show_run(place, run, is_full=full, as_json=as_json))
    return guarded(lambda: _show_agent(place, run, agent, is_full=full, as_json=as_json))


# --- a run ------------------------------------------------------------------------------------------------------------


def _show_run(place: Where, name: str, *, is_full: bool, as_json: bool) -> int:
    from callsheet.app.retelling import retold
    from callsheet.model.public import result_json

    with opened_run(place, name) as (runs, run):
        result = retold(runs.record, run)
        if as_json:
            return printed([json_line(result_json(result))], is_json=True)
        return printed(list(_run_lines(runs, run, result, is_full=is_full)))


def _run_lines(runs: Runs, run: Listed, result: RunResult, *, is_full: bool) -> Iterator[str]:
    from callsheet.app.retelling import run_of
    from callsheet.cli.conversation_lines import block_lines
    from callsheet.cli.result_words import result_words
    from callsheet.cli.summary import summary_lines
    from callsheet.views.figures import age
    from callsheet.views.safe_text import one_line, visible

    row = run_of(runs.record, run.run_id).run
    yield f"{one_line(row.workflow or '?')}: {visible(row.script_path or result.script)}"
    yield f"started {one_line(row.started_at)} ({age(row.started_at)})"
    if row.args is not None:
        yield f"args: {one_line(row.args, 0 if is_full else _ARGS_CHARS)}"
    yield from _agents_lines(result.agents, is_full=is_full)
    if (text := result_words(result)) is not None:
        yield "result:"
        yield from block_lines(text, limit=0 if is_full else _RESULT_CHARS)
    yield from (line.text for line in summary_lines(result, str(runs.record.path), is_full=is_full))


def _agents_lines(agents: Sequence[AgentSummary], *, is_full: bool) -> Iterator[str]:
    """The agents under their phases; of many the first, and all that did not end well."""
    from callsheet.views.safe_text import one_line

    shown = [
        agent
        for number, agent in enumerate(agents)
        if is_full or number < _SHOWN_AGENTS or agent.status not in ("ok", "cancelled", "queued")
    ][: None if is_full else 2 * _SHOWN_AGENTS]
    groups: dict[str, list[AgentSummary]] = {}
    for agent in shown:
        title = agent.phase or "no phase"
        groups.setdefault(f"▸ {agent.workflow}: {title}" if agent.workflow else title, []).append(agent)
    lines = iter(columns([_agent_row(agent) for group in groups.values() for agent in group])) if shown else iter(())
    for title, group in groups.items():
        yield one_line(title)
        for _ in group:
            yield f"  {next(lines)}"
    if len(shown) < len(agents):
        yield f"… {len(agents) - len(shown):,} more agents (--full shows them)"


def _agent_row(agent: AgentSummary) -> tuple[str, ...]:
    from callsheet.views.figures import duration, money, tokens
    from callsheet.views.progress import seconds_between
    from callsheet.views.safe_text import one_line

    took = duration(seconds_between(agent.started_at, agent.ended_at)) if agent.ended_at and agent.started_at else ""
    return (
        one_line(agent.agent_id, _LABEL_CHARS),
        one_line(agent.status, _LABEL_CHARS),
        one_line(agent.label, _LABEL_CHARS),
        "reused" if agent.reused else took,
        f"{tokens(agent.usage.input_tokens)} in, {tokens(agent.usage.output_tokens)} out",
        money(agent.usage.cost_usd),
        one_line(agent.error or "", 120),
    )


# --- an agent ---------------------------------------------------------------------------------------------------------


def _show_agent(place: Where, name: str, agent: str, *, is_full: bool, as_json: bool) -> int:
    from callsheet.app.records import find_call
    from callsheet.app.retelling import agent_whole, ends

    with opened_run(place, name) as (runs, run):
        call = find_call(runs.record.calls(run.run_id), agent, run_id=run.run_id)
        said = ends(runs.record, run.run_id).get(call.agent_id)
        whole: Any = agent_whole(runs.record, run.run_id, call, said=said)
    if as_json:
        return printed([json_line(whole)], is_json=True)
    return printed(list(_agent_lines(whole, is_full=is_full)))


def _agent_lines(agent: dict[str, Any], *, is_full: bool) -> Iterator[str]:
    from callsheet.cli.conversation_lines import block_lines, compact
    from callsheet.views.figures import money, tokens
    from callsheet.views.safe_text import one_line

    def said(name: str, limit: int = 0) -> str:
        return compact(agent[name], limit)

    usage = agent["usage"]
    yield f"{said('agent_id')} {said('label')} · {said('status')} · {said('run_id')}"
    where = " · ".join(one_line(str(agent[name])) for name in ("workflow", "phase") if agent[name])
    model = agent["model"] or agent["backend"]
    yield f"call {agent['call']}{f' · {where}' if where else ''} · {one_line(str(model))} ({said('backend')})"
    yield f"queued {said('queued_at')} · started {said('started_at')} · ended {said('ended_at')}"
    yield (
        f"usage: {tokens(usage['input_tokens'])} in, {tokens(usage['output_tokens'])} out, "
        f"{tokens(usage['cache_read_tokens'])} read from cache, {tokens(usage['cache_write_tokens'])} written to it · "
        f"{money(usage['cost_usd'])} · attempts {agent['attempts']}"
    )
    for key, title in (("files_read", "read"), ("files_changed", "changed")):
        if agent[key]:
            yield f"{title}: {one_line(', '.join(agent[key]), 0 if is_full else 1_000)}"
    if agent["options"]:
        yield f"options: {said('options', 0 if is_full else 1_000)}"
    yield "prompt:"
    yield from block_lines(str(agent["prompt"]), limit=0 if is_full else _PROMPT_CHARS)
    yield from _calls_lines(agent["tool_calls"], is_full=is_full)
    yield from _messages_lines(agent["messages"], is_full=is_full)
    if agent["error"] is not None:
        yield "error:"
        yield from block_lines(str(agent["error"]), limit=0)
    if agent["status"] == "ok":
        answer = agent["result"]
        text = answer if isinstance(answer, str) else json.dumps(answer, indent=2, ensure_ascii=False)
        yield "answer:"
        yield from block_lines(text, limit=0 if is_full else _RESULT_CHARS)


def _calls_lines(calls: Sequence[dict[str, Any]], *, is_full: bool) -> Iterator[str]:
    from callsheet.cli.conversation_lines import compact
    from callsheet.views.safe_text import one_line

    limit = 0 if is_full else _PART_CHARS
    if calls:
        yield f"tool calls: {len(calls)}"
    for one in calls if is_full else calls[:_SHOWN_CALLS]:
        attempt = f" (attempt {one['attempt']})" if one["attempt"] != 1 else ""
        head = f"{one['n']}. {one_line(one['tool'])} · {one_line(one['state'])}{attempt}"
        yield f"  {head} · {compact(one['input'], limit)}"
        if one["detail"]:
            yield f"     {one_line(one['detail'], limit)}"
    if not is_full and len(calls) > _SHOWN_CALLS:
        yield f"  … {len(calls) - _SHOWN_CALLS} more (--full shows them)"


def _messages_lines(messages: Sequence[dict[str, Any]], *, is_full: bool) -> Iterator[str]:
    from callsheet.cli.conversation_lines import message_lines
    from callsheet.views.safe_text import one_line

    if messages:
        yield f"messages: {len(messages)}"
    for one in messages if is_full else messages[:_SHOWN_MESSAGES]:
        message = one["message"]
        role = message.get("role", "?") if isinstance(message, dict) else "?"
        person = f", from {one_line(one['person'])}" if one["person"] else ""
        yield f"  {one['n']}. {one_line(str(role))}{person}"
        yield from message_lines(message, limit=0 if is_full else _PART_CHARS)
    if not is_full and len(messages) > _SHOWN_MESSAGES:
        yield f"  … {len(messages) - _SHOWN_MESSAGES} more (--full shows them)"
