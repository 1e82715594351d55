"""A rehearsal as people read it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from callsheet.cli.reading import columns
from callsheet.model.rehearsal import AnswerSource, Breach, NamedUse, PlannedGroup, Reach, Rehearsal, ScriptLine
from callsheet.views.figures import cost_words, count, duration, money, token_words, tokens
from callsheet.views.safe_text import one_line

_CELL = 40
_SHOWN = 12
_BASES = {"scripted": "the answers file", "command": "a program", "offline": "assumed; no model is asked"}
_SOURCES: dict[AnswerSource, str] = {
    "recorded": "from the record, asked just the same",
    "recorded_like": "from the record, by label and phase",
    "file": "from the file",
    "synthetic": "made up",
}


def rehearsal_lines(told: Rehearsal) -> Iterator[str]:
    """The whole report."""
    yield f"{one_line(told.workflow)}: {one_line(told.description)}"
    yield "rehearsed: nothing was run, asked, written or paid"
    for note in told.notes:
        yield f"note: {one_line(note)}"
    if told.error is not None:
        place = "" if told.error.line is None else f" (line {told.error.line})"
        yield f"the script did not return with these answers{place}: {one_line(told.error.message, 300)}"
    yield ""
    yield from agent_lines(told)
    yield from _script_lines("answers decide which agents there are:", told.decisions)
    yield from _script_lines("calls that were not reached:", told.not_called)
    yield from _violations(told)
    yield from _files(told)
    yield from _reach("shell commands", "other than reading", told.commands)
    yield from _reach("hosts", "others", told.hosts)
    yield from _warnings(told)
    yield "this rests on:"
    for source, number in told.answers.items():
        yield f"  {count(number, 'answer')} {_SOURCES[source]}{_where(told, source)}"
    for assumption in told.assumptions:
        yield f"  {one_line(assumption, 400)}"


def agent_lines(told: Rehearsal) -> Iterator[str]:
    """How many agents, of what sorts, for how much: what a surface shows that asks whether to run it."""
    yield f"agents: {count_words(told)}"
    allowed = f"{told.max_parallel:,} are allowed"
    yield f"  at most {told.most_at_once:,} at once ({allowed}), {duration(told.duration_s)} in all"
    if told.fast_agents:
        share = "" if told.fast_cost_share is None else f", {told.fast_cost_share:.0%} of the cost"
        yield f"  {told.fast_agents:,} of them in fast mode ({told.fast_agents / told.agents:.0%}{share})"
    rows: list[tuple[str, ...]] = [("phase", "type", "model", "agents", "tokens", "cost", "told from")]
    rows += [_row(group) for group in told.groups]
    rows += [
        (one_line(phase.title, _CELL), "", "", "0", "", "", "declared, not reached")
        for phase in told.phases
        if not phase.agents and phase.title is not None
    ]
    rows.append(("total", "", "", f"{told.agents:,}", token_words(told.tokens), cost_words(told.cost_usd), ""))
    yield from (f"  {line}" for line in columns(rows, right=frozenset({3})))
    if told.unpriced:
        names = ", ".join(one_line(model, _CELL) for model in told.unpriced)
        yield f"  no price is known of {names}: give it with --price MODEL=IN/OUT"


def count_words(told: Rehearsal) -> str:
    """How many agents, and how sure that is."""
    if told.is_exact:
        return f"{told.agents:,}, whatever agents answer"
    if told.agents_low == told.agents_high:
        return f"{told.agents:,} with the answers assumed here, and with others that were tried"
    return f"{told.agents:,} with the answers assumed here; {told.agents_low:,} to {told.agents_high:,} with others"


def breach_line(breach: Breach) -> str:
    """What is beyond its limit, in one line."""
    limit = _amount(breach.name, breach.limit)
    if breach.found is None:
        return f"over {breach.name}: the cost is not known, and the limit is {limit}: give prices with --price"
    likely = "" if breach.likely is None else f" (likely {_amount(breach.name, breach.likely)})"
    return f"over {breach.name}: up to {_amount(breach.name, breach.found)}{likely}, and the limit is {limit}"


def _amount(name: str, amount: float) -> str:
    match name:
        case "cost":
            return money(amount)
        case "tokens":
            return tokens(round(amount))
        case _:
            return f"{amount:,.0f}"


def _row(group: PlannedGroup) -> tuple[str, ...]:
    phase = one_line(group.phase or "-", _CELL)
    if group.workflow is not None:
        phase = f"▸ {one_line(group.workflow, _CELL)}: {phase}"
    model = one_line(group.model or group.backend, _CELL) + (" (fast)" if group.speed == "fast" else "")
    known = group.earlier_calls
    basis = count(known, "earlier call") if known else _BASES.get(group.backend, "assumed")
    cost = cost_words(group.cost_usd)
    kind = one_line(group.agent_type, _CELL)
    return phase, kind, model, f"{group.agents:,}", token_words(group.tokens), cost, basis


def _script_lines(title: str, lines: tuple[ScriptLine, ...]) -> Iterator[str]:
    if lines:
        yield title
        yield from _some(f"  line {each.line}: {one_line(each.text, 100)}" for each in lines)


def _violations(told: Rehearsal) -> Iterator[str]:
    if not told.violations:
        return
    yield "more is asked for than will be had:"
    for each in told.violations:
        line = "" if each.line is None else f"line {each.line}: "
        label = "" if each.label is None else f", {one_line(each.label, _CELL)}"
        who = "" if each.agents == 1 else " and others"
        yield f"  {line}{one_line(each.message, 300)} ({count(each.agents, 'call')}{label}{who})"


def _files(told: Rehearsal) -> Iterator[str]:
    if told.files:
        yield "files in declared scopes:"
    for each in told.files[:_SHOWN]:
        scope = " ".join(each.write if each.write is not None else each.read or ())
        verb = "write" if each.write is not None else "read"
        most = " at least" if each.is_cut else ""
        examples = f": {', '.join(one_line(name, 60) for name in each.examples[:3])}" if each.examples else ""
        more = " …" if each.files > 3 else ""
        named = f"{verb} {one_line(scope, 80)} ({count(each.agents, 'agent')})"
        yield f"  {named}:{most} {count(each.files, 'file')}{examples}{more}"
    if len(told.files) > _SHOWN:
        yield f"  … {len(told.files) - _SHOWN} more scopes"


def _reach(what: str, others: str, told: Reach) -> Iterator[str]:
    if not told.rules and not told.named:
        return
    words = {"ask": "asked for, and denied where nobody is asked", "deny": "denied", "allow": "allowed"}
    yield f"{what} ({others}, without a rule: {words[told.otherwise]}):"
    yield from _some(
        f"  {each.verdict:<5} {one_line(each.rule, 80)}  ({one_line(each.source, 80)})" for each in told.rules
    )
    if told.named:
        yield "  prompts name:"
        yield from _some(f"  {_use(each)}" for each in told.named)
    rules = dict.fromkeys(rule for each in told.named if each.verdict == "ask" for rule in each.suggestions)
    flags = [f"--allow {shlex.quote(rule)}" for rule in rules if one_line(rule) == rule]
    if flags:
        yield f"  to allow: {' '.join(flags)}"


def _use(use: NamedUse) -> str:
    return f"  {use.verdict:<5} {one_line(use.name, 80)}  ({one_line(use.rule, 120)}; {count(use.agents, 'agent')})"


def _warnings(told: Rehearsal) -> Iterator[str]:
    if told.warnings:
        yield "warnings:"
        yield from _some(
            f"  {'' if each.place is None else f'line {each.place.line}: '}{one_line(each.message, 300)}"
            for each in told.warnings
        )


def _where(told: Rehearsal, source: AnswerSource) -> str:
    return "" if source == "synthetic" else f" ({one_line(told.answers_from, 80)})"


def _some(lines: Iterable[str]) -> Iterator[str]:
    """The first of them, and how many more there are."""
    every = list(lines)
    yield from every[:_SHOWN]
    if len(every) > _SHOWN:
        yield f"  … {len(every) - _SHOWN} more, all of them in --output json"
