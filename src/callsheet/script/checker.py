"""What can be said of a script that is not refused, without running anything (CONTRACT C01)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

from callsheet.model.script import Finding, Script
from callsheet.script import grammar
from callsheet.script.meta import MetaStatement, read_meta
from callsheet.script.program import Program
from callsheet.script.rules.context import Context
from callsheet.script.rules.flow import unreachable
from callsheet.script.rules.misuse import amounts_not_called, hidden_names, phase_functions
from callsheet.script.rules.names import unknown_names
from callsheet.script.rules.phases import phases
from callsheet.script.rules.portability import clock_and_chance, only_here
from callsheet.script.rules.promises import not_awaited, promises_in_parallel, read_too_early
from callsheet.script.source import Source, position

MAX_OF_A_CODE = 20
"""How many findings of one code are given; what goes on beyond is no news."""

_RULES: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    unknown_names,
    phases,
    promises_in_parallel,
    not_awaited,
    read_too_early,
    phase_functions,
    amounts_not_called,
    hidden_names,
    unreachable,
    clock_and_chance,
    only_here,
)


def check_script(script: Script, *, portable: bool = False) -> tuple[Finding, ...]:
    """The findings in order of place: warnings, and with `portable` also errors.

    Errors are what the reference runtime would refuse or lacks. What makes a script unreadable is not among them:
    `read_script` and the engine's compile refuse that.
    """
    statement = read_meta(Source(text=script.text), grammar.Deadline())
    context = Context(
        script=script,
        program=Program(script),
        statement=statement if isinstance(statement, MetaStatement) else None,
        portable=portable,
    )
    counts: Counter[str] = Counter()
    kept = []
    with suppress(grammar.OutOfTimeError):
        for rule in _RULES:
            for finding in rule(context):
                counts[finding.code] += 1
                if counts[finding.code] <= MAX_OF_A_CODE:
                    kept.append(finding)
    return tuple(sorted(kept, key=position))
