"""How a run ended, for people: status, figures, problems with what to do, where the record is, and the run's name."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from callsheet.cli.plain import LABEL_CHARS
from callsheet.model.past import ResumeReport
from callsheet.model.run import AgentSummary, Denial, Problem, RunResult, RunWorktree
from callsheet.views.figures import count, duration, money, tokens
from callsheet.views.safe_text import indented, one_line, visible

_SHOWN_PROBLEMS = 20
_SHOWN_TREES = 10
_SHOWN_CHANGES = 10
_SHOWN_AGENTS = 5

INVENTED = {
    "offline": "the answers come from a stand-in that reads files by rule; no model was asked",
    "scripted": "the answers come from a file; no model was asked",
}


class Line(NamedTuple):
    """A line, and how a terminal may colour it."""

    text: str
    style: str = ""


_STYLES = {"completed": "bold green", "degraded": "bold yellow", "interrupted": "bold yellow"}


def summary_lines(result: RunResult, record: str | None, *, is_full: bool = False) -> Iterator[Line]:
    """The end of a run's text output, the run's name in its last line.

    Args:
        result: How it ended.
        record: Where the record lies; None where there is none.
        is_full: All problems, not the first twenty.
    """
    usage = result.usage
    figures = [
        duration(result.duration_ms / 1000),
        count(len(result.agents), "agent"),
        f"{tokens(usage.input_tokens)} in, {tokens(usage.output_tokens)} out",
        money(usage.cost_usd),
    ]
    style = _STYLES.get(result.status, "bold red")
    yield Line(f"{status_words(result)} · {' · '.join(figures)}", style)
    if usage.estimated_usd:
        yield Line(f"  of which {money(usage.estimated_usd)} are estimated", "dim")
    if result.resumed is not None:
        yield Line(resumed_words(result.resumed), "dim")
    if result.error is not None:
        yield Line(f"error: {error_text(result)}", "red")
    yield Line(backend_line(result), "yellow" if result.backend in INVENTED else "dim")
    shown = result.problems if is_full else result.problems[:_SHOWN_PROBLEMS]
    for problem in shown:
        yield from _problem_lines(problem)
    if (more := len(result.problems) - len(shown)) > 0:
        yield Line(f"  … {count(more, 'more problem')}: callsheet show {result.run_id} --full", "dim")
    if sum("--rerun" in (problem.next or "") for problem in result.problems) > 1:
        yield Line(f"to run just these again: callsheet resume {result.run_id}")
    for denial in result.denials:
        yield Line(
            f"denied: {one_line(denial.tool)} {one_line(denial.input, 120)} ({one_line(denial.rule, 120)}), "
            f"{count(denial.agents, 'agent')}",
            "yellow",
        )
    yield from allow_lines(result.denials)
    yield from changed_lines(result)
    yield from agents_worktree_lines(result.agents, run_id=result.run_id)
    if result.worktree is not None:
        yield from worktree_lines(result.worktree, run_id=result.run_id)
    if record is not None:
        yield Line(f"record: {visible(record)}", "dim")
    yield Line(f"run: {result.run_id}")


def resumed_words(report: ResumeReport) -> str:
    """What a resumed run took from its record."""
    words = f"resumed, attempt {report.attempt}: {report.reused:,} answered from the record, {report.live:,} asked anew"
    if not report.gone:
        return words
    return f"{words}; {count(len(report.gone), 'recorded answer')} the script does not ask for any more"


def explained_lines(report: ResumeReport) -> Iterator[Line]:
    """What became of each call of a resumed run: reused, or asked anew and why (CONTRACT R05)."""
    for call in report.calls:
        name = f"{call.agent_id} {one_line(call.label, LABEL_CHARS)}"
        if call.reused:
            yield Line(f"reused  {name}", "dim")
        else:
            yield Line(f"anew    {name}: {one_line(call.why or '', 200)}")
    for difference in report.differs:
        yield Line(f"differs {one_line(difference, 200)}; recorded answers hold all the same", "dim")
    if report.gone:
        yield Line(f"gone    {', '.join(report.gone)}: the script does not ask for them any more", "dim")


def changed_lines(result: RunResult) -> Iterator[Line]:
    """Which files the run changed, by whom, and which nobody known did."""
    if result.changes is None:
        if changed := {file for agent in result.agents for file in agent.files_changed}:
            files = count(len(changed), "file")
            yield Line(f"changed: {files}; which, and by whom: callsheet diff {result.run_id}", "dim")
        return
    known = [change for change in result.changes if change.agents]
    if known:
        yield Line(f"changed: {count(len(known), 'file')}; more on it: callsheet diff {result.run_id}", "dim")
    for change in known[:_SHOWN_CHANGES]:
        where = f", outside of the scope of {', '.join(change.outside)}" if change.outside else ""
        agents = ", ".join(change.agents[:_SHOWN_AGENTS]) + (" …" if len(change.agents) > _SHOWN_AGENTS else "")
        yield Line(
            f"  {one_line(change.path, 200)}  {lines_words(change.added, change.removed)}  {agents}{where}", "dim"
        )
    if (more := len(known) - _SHOWN_CHANGES) > 0:
        yield Line(f"  … {more:,} more", "dim")
    unknown = [one_line(change.path, 200) for change in result.changes if not change.agents]
    if unknown:
        rest = f" and {len(unknown) - _SHOWN_CHANGES:,} more" if len(unknown) > _SHOWN_CHANGES else ""
        yield Line(f"changed by nobody known: {', '.join(unknown[:_SHOWN_CHANGES])}{rest}", "yellow")


def lines_words(added: int | None, removed: int | None) -> str:
    """Lines added and removed: `+3 -1`; `+? -?` where they are not known."""
    return f"+{'?' if added is None else added} -{'?' if removed is None else removed}"


def allow_lines(denials: Iterable[Denial]) -> Iterator[Line]:
    """What would have allowed the denials, each rule once, ready to paste: as flags, and for a settings file.

    A rule with characters that cannot be seen stands only in the JSON, where they are spelled out.
    """
    rules = list(dict.fromkeys(rule for denial in denials for rule in denial.would_allow))
    if not rules:
        return
    yield Line("to allow this next time:")
    flags = [f"--allow {shlex.quote(rule)}" for rule in rules if one_line(rule) == rule]
    if flags:
        yield Line(f"  {' '.join(flags)}")
    yield Line("or in .claude/settings.json:")
    yield Line(f"  {json.dumps({'permissions': {'allow': rules}})}")


def worktree_lines(worktree: RunWorktree, *, run_id: str) -> Iterator[Line]:
    """What became of the run's own worktree, and how to take over what was changed there."""
    if not worktree.changed:
        yield Line("worktree: nothing was changed in it, it is removed", "dim")
    elif worktree.branch is not None and worktree.base is not None:
        yield Line(f"worktree: the changes are on branch {worktree.branch}. To take them over:", "yellow")
        yield Line(f"  callsheet apply {run_id}   or by hand:")
        yield Line(f"  git diff --binary {worktree.base[:12]} {worktree.branch} | git apply")
    else:
        yield Line(f"worktree: the changes lie in {one_line(worktree.path or '')}", "yellow")
    if worktree.note is not None:
        yield Line(f"  {one_line(worktree.note, 400)}", "yellow")


def agents_worktree_lines(agents: Iterable[AgentSummary], *, run_id: str) -> Iterator[Line]:
    """What agents changed in worktrees and is not in the workspace, each branch once, and how to take it over."""
    found = {
        (tree.branch, tree.path): (agent, tree)
        for agent in agents
        if (tree := agent.worktree) is not None and not tree.merged and (tree.branch or tree.path)
    }
    if not found:
        return
    yield Line(f"worktrees: {count(len(found), 'agent')} left changes on a branch. To take them over:", "yellow")
    yield Line(f"  callsheet apply {run_id}   or by hand:")
    for agent, tree in list(found.values())[:_SHOWN_TREES]:
        who = one_line(tree.name or agent.label, LABEL_CHARS)
        if tree.branch is not None and tree.base is not None:
            yield Line(f"  {who}: git diff --binary {tree.base[:12]} {tree.branch} | git apply", "yellow")
        if tree.note is not None:
            yield Line(f"  {who}: {one_line(tree.note, 400)}", "yellow")
    if (more := len(found) - _SHOWN_TREES) > 0:
        yield Line(f"  … {more} more, all of them in --output json", "dim")


def backend_line(result: RunResult) -> str:
    """Who answered, and plainly where that was no model."""
    invented = INVENTED.get(result.backend)
    return f"backend: {result.backend} ({invented})" if invented else f"backend: {result.backend}"


def error_text(result: RunResult) -> str:
    """Why a run did not complete, with its place."""
    error = result.error
    if error is None:
        return ""
    place = ":".join(str(part) for part in (error.line, error.column) if part is not None)
    where = f"{one_line(result.script)}:{place}: " if place else ""
    return f"{where}{indented(visible(error.message))}"


def status_words(result: RunResult) -> str:
    """The status, and in words what it leaves open."""
    bad = sum(agent.status not in {"ok", "cancelled"} for agent in result.agents)
    match result.status:
        case "degraded" if result.problems:
            return f"degraded: {count(len(result.problems), 'problem')}"
        case "degraded" if bad:
            return f"degraded: {count(bad, 'agent')} did not end well"
        case "cancelled" if result.stopped_by_person:
            return "cancelled: stopped by a person"
        case "interrupted":
            return "interrupted: it can be resumed"
        case status:
            return status


def _problem_lines(problem: Problem) -> Iterator[Line]:
    where = one_line(problem.where)
    line = f" (line {problem.line})" if problem.line is not None else ""
    who = " ".join(one_line(part, LABEL_CHARS) for part in (problem.agent_id, problem.label) if part)
    times = f" ×{problem.count}" if problem.count > 1 else ""
    head = " · ".join(part for part in (f"{where}{line}", who) if part)
    yield Line(f"  {head} · {problem.cause}{times}: {one_line(problem.message, 300)}", "yellow")
    if problem.next is not None:
        yield Line(f"      {one_line(problem.next)}", "dim")
