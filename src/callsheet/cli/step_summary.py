"""How a run ended as a page for a CI job: Markdown in which everything that is not ours is text and nothing else.

Where words of scripts, agents and files stand, the page is HTML blocks of one line, with every character escaped that
could end them: in such a block nothing is read as Markdown, and in `<code>` and `<pre>` GitHub makes no links of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from callsheet.cli.plain import LABEL_CHARS
from callsheet.cli.result_words import result_words
from callsheet.cli.summary import (
    INVENTED,
    Line,
    agents_worktree_lines,
    allow_lines,
    error_text,
    lines_words,
    resumed_words,
    status_words,
    worktree_lines,
)
from callsheet.model.outcome import Usage
from callsheet.model.run import AgentSummary, Denial, Problem, RunResult
from callsheet.views.figures import count, duration, money, tokens
from callsheet.views.progress import seconds_between
from callsheet.views.safe_text import one_line, visible

LIMIT_BYTES = 1024 * 1024
"""What GitHub takes as the summary of a step; of a larger one it takes nothing."""

_ENDING_BYTES = 4 * 1024
_RESULT_CHARS = 20_000
_WORD_CHARS = 300
_ICONS = {"completed": "✅", "degraded": "⚠️", "interrupted": "⏸️", "cancelled": "⏹️", "failed": "❌"}


def step_summary(result: RunResult, *, resume: str | None = None, limit_bytes: int = LIMIT_BYTES) -> str:
    """The page of a run that has ended: what matters most first, and as much of it as there is room for.

    Args:
        result: How it ended.
        resume: The command that goes on with it; None where there is nothing to go on with.
        limit_bytes: Bytes of UTF-8 at most.
    """
    page = _Page(limit_bytes - _ENDING_BYTES)
    page.add(*_head(result))
    page.add(*_problems(result.problems))
    page.add(*_denials(result.denials))
    if resume is not None:
        page.add("<p>To go on with this run, where its record is:</p>", code_block(resume))
    page.add(*_phases(result))
    page.add(*_changes(result))
    page.add(*_result(result))
    page.add(*_agents(result.agents))
    return page.text


class _Page:
    """Blocks, as long as there is room for them; the first that does not fit is said, and nothing comes after it."""

    def __init__(self, room_bytes: int) -> None:
        self._room_bytes = room_bytes
        self._blocks: list[str] = []
        self._is_full = False

    def add(self, *blocks: str) -> None:
        for block in blocks:
            size = len(block.encode()) + 2
            if self._is_full or size > self._room_bytes:
                self._is_full = True
                return
            self._room_bytes -= size
            self._blocks.append(block)

    @property
    def text(self) -> str:
        cut = ["<p>There is no room for the rest; the run's record has it.</p>"] if self._is_full else []
        return "\n\n".join([*self._blocks, *cut, ""])


def code(text: str, limit: int = _WORD_CHARS) -> str:
    """Words that are not ours, in one line."""
    shown = escape(one_line(text, limit))
    return f"<code>{shown}</code>" if shown else ""


def code_block(text: str) -> str:
    """Lines that are not ours, as they stand; one line of HTML, since an empty one would end the block around it."""
    return f"<pre>{escape(visible(text)).replace(chr(10), '&#10;')}</pre>"


def _head(result: RunResult) -> Iterator[str]:
    name = code(result.workflow or result.script, 100)
    if result.error is not None and result.error.kind in ("refused", "config"):
        yield f"<h3>❌ {name} did not begin</h3>"
        yield code_block(_cut(error_text(result), 4_000))
        return
    yield f"<h3>{_ICONS[result.status]} {name} {escape(status_words(result))}</h3>"
    usage = result.usage
    figures = [
        f"run {code(result.run_id)}",
        duration(result.duration_ms / 1000),
        count(len(result.agents), "agent"),
        f"{tokens(usage.input_tokens)} tokens in, {tokens(usage.output_tokens)} out",
        money(usage.cost_usd) + (f" ({money(usage.estimated_usd)} estimated)" if usage.estimated_usd else ""),
    ]
    if result.backend:
        figures.append(f"backend {code(result.backend)}")
    yield f"<p>{' · '.join(figures)}</p>"
    if result.backend in INVENTED:
        yield f"<p>⚠️ {INVENTED[result.backend]}.</p>"
    if result.resumed is not None:
        yield f"<p>{escape(resumed_words(result.resumed))}</p>"
    if result.error is not None:
        yield code_block(_cut(error_text(result), 4_000))


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    if not problems:
        return
    yield f"<h4>{count(len(problems), 'problem')}</h4>"
    rows = [
        (
            code(" ".join(part for part in (problem.agent_id, problem.label) if part) or problem.where, 100),
            f"line {problem.line}" if problem.line is not None else "",
            problem.cause + (f" ×{problem.count}" if problem.count > 1 else ""),
            code(problem.message),
            code(problem.next) if problem.next else "",
        )
        for problem in problems
    ]
    yield _table(("agent", "where", "cause", "what happened", "to run it again"), rows, at_most=60)


def _denials(denials: Sequence[Denial]) -> Iterator[str]:
    if not denials:
        return
    yield f"<h4>{count(len(denials), 'thing')} denied</h4>"
    rows = [(code(denial.tool, 60), code(denial.input), code(denial.rule), f"{denial.agents:,}") for denial in denials]
    yield _table(("tool", "input", "why", "agents"), rows, at_most=50)
    if allowing := list(allow_lines(denials)):
        yield _lines_block(allowing)


def _phases(result: RunResult) -> Iterator[str]:
    if not result.agents:
        return
    groups: dict[str | None, list[AgentSummary]] = {}
    for agent in result.agents:
        groups.setdefault(agent.phase, []).append(agent)
    rows = []
    for title, agents in groups.items():
        usage = sum((agent.usage for agent in agents), Usage())
        well = sum(agent.status == "ok" for agent in agents)
        again = sum(agent.reused for agent in agents)
        rows.append(
            (
                code(title, 100) if title else "",
                f"{len(agents):,}",
                f"{well:,}" + (f" ({again:,} from the record)" if again else ""),
                tokens(usage.input_tokens),
                tokens(usage.output_tokens),
                money(usage.cost_usd),
            )
        )
    yield "<h4>Phases</h4>"
    yield _table(("phase", "agents", "ok", "tokens in", "tokens out", "cost"), rows, at_most=50)


def _changes(result: RunResult) -> Iterator[str]:
    trees = list(agents_worktree_lines(result.agents, run_id=result.run_id))
    if result.worktree is not None:
        trees += worktree_lines(result.worktree, run_id=result.run_id)
    if result.changes:
        rows = [
            (
                code(change.path),
                lines_words(change.added, change.removed),
                code(" ".join(change.agents), 100) or "nobody known",
                code(" ".join(change.outside), 100),
            )
            for change in result.changes
        ]
        yield f"<h4>{count(len(result.changes), 'changed file')}</h4>"
        yield _table(("file", "lines", "by", "outside of the scope of"), rows, at_most=200)
    if trees:
        yield _lines_block(trees)


def _result(result: RunResult) -> Iterator[str]:
    text = result_words(result)
    if text is None:
        return
    yield _folded("Result", code_block(_cut(text, _RESULT_CHARS)))


def _agents(agents: Sequence[AgentSummary]) -> Iterator[str]:
    if not agents:
        return
    in_order = sorted(agents, key=lambda agent: agent.status == "ok")  # what did not end well first
    rows = [
        (
            code(f"{agent.agent_id} {agent.label}", LABEL_CHARS),
            code(agent.phase or "", LABEL_CHARS),
            agent.status + (", from the record" if agent.reused else ""),
            duration(seconds_between(agent.started_at, agent.ended_at)) if agent.started_at else "",
            tokens(agent.usage.output_tokens),
            money(agent.usage.cost_usd),
            code(agent.error or "", 200),
        )
        for agent in in_order
    ]
    heads = ("agent", "phase", "status", "time", "tokens out", "cost", "error")
    yield _folded(count(len(agents), "agent"), _table(heads, rows, at_most=200))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, at_most: int) -> str:
    """A table of cells that are HTML; columns that are empty throughout are left out."""
    kept = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    lines = [_row("th", [heads[column] for column in kept])]
    lines += [_row("td", [row[column] for column in kept]) for row in rows[:at_most]]
    if (more := len(rows) - at_most) > 0:
        lines.append(f'<tr><td colspan="{len(kept)}">… {more:,} more</td></tr>')
    return f"<table>{''.join(lines)}</table>"


def _row(kind: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{cell}</{kind}>' for cell in cells)}</tr>"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>{body}</details>"


def _lines_block(lines: Sequence[Line]) -> str:
    return code_block(_cut("\n".join(line.text for line in lines), 8_000))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
