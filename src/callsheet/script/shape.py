"""What the text of a script says of the agents that it calls: where, and whether answers decide which."""

from __future__ import annotations

from contextlib import suppress

from callsheet.model.dataclass import dataclass
from callsheet.model.script import Script
from callsheet.script import grammar
from callsheet.script.deciding import Deciding
from callsheet.script.program import Program

_MOST_CHARS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSite:
    """A call of `agent()`, `spawnAgent()` or `workflow()` in a script.

    Attributes:
        line: Where it begins.
        last_line: Where it ends: the engine may name any line of it as that of the call.
        text: The line that it begins on.
    """

    line: int
    last_line: int
    text: str


def call_sites(script: Script) -> tuple[CallSite, ...]:
    """Where a script calls agents or workflows by these names, in order of place; none where it takes too long."""
    program = Program(script)
    lines = script.text.split("\n")
    sites: list[CallSite] = []
    with suppress(grammar.OutOfTimeError):
        for call in program.calls_of("agent", "spawnAgent", "workflow"):
            first, last = call.node.start_point.row, call.node.end_point.row
            text = lines[first].strip()[:_MOST_CHARS] if first < len(lines) else ""
            sites.append(CallSite(line=first + 1, last_line=last + 1, text=text))
    return tuple(sites)


def never_called(sites: tuple[CallSite, ...], called: frozenset[int]) -> tuple[CallSite, ...]:
    """The sites that none of the lines that calls were made from belongs to; a line counts for the innermost site.

    Sites that share their first line cannot be told apart: one that was called stands for all of them.
    """
    reached: set[int] = set()
    for line in called:
        around = [site for site in sites if site.line <= line <= site.last_line]
        if around:
            reached.add(max(site.line for site in around))
    return tuple(site for site in sites if site.line not in reached)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A place where answers decide about agents."""

    line: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the text of a script says of what its calls depend on.

    Attributes:
        is_fixed: Which calls are made depends on no answer.
        decisions: Where answers decide about calls, in order of place.
        why_unknown: Why that cannot be told; None where it can.
    """

    sites: tuple[CallSite, ...]
    is_fixed: bool = False
    decisions: tuple[Decision, ...] = ()
    why_unknown: str | None = None


def shape_of(script: Script) -> Shape:
    """What can be told of a script's calls without running it; `is_fixed` only where that is sure.

    Sure under two conditions: that every agent answers, and that the script does not throw on what it is answered.
    """
    program, sites = Program(script), call_sites(script)
    if not program.is_whole:
        return Shape(sites=sites, why_unknown="the script cannot be parsed as a whole")
    try:
        deciding = Deciding(program)
        why, found = deciding.opaque(), deciding.decisions()
    except grammar.OutOfTimeError:
        return Shape(sites=sites, why_unknown="the script takes too long to look at")
    except RecursionError:
        return Shape(sites=sites, why_unknown="the script is nested too deeply to look at")
    lines = script.text.split("\n")
    rows = dict.fromkeys(node.start_point.row for node in found)
    decisions = tuple(Decision(line=row + 1, text=lines[row].strip()[:_MOST_CHARS]) for row in rows)
    return Shape(sites=sites, is_fixed=not decisions and why is None, decisions=decisions, why_unknown=why)
