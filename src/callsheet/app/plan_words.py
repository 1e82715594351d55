"""What a person is told who is to approve a script: what a rehearsal told of it, and what its agents may do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from callsheet.app.approving import Foreseen
from callsheet.app.granted import Grant
from callsheet.model.dataclass import dataclass
from callsheet.model.rehearsal import NamedUse, Range, Rehearsal
from callsheet.views.figures import cost_words, duration, token_words
from callsheet.views.safe_text import one_line

_TITLE_CHARS = 30
_MOST_PHASES, _MOST_NAMED = 12, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanWord:
    """One line, made safe: what it is about, and what is to be said. `is_striking`: a person should look twice."""

    about: str
    words: str
    is_striking: bool = False


def plan_words(foreseen: Foreseen, granted: Iterable[Grant], *, key: str = "") -> Iterator[PlanWord]:
    """What the rehearsal told, what agents may do, and what prompts name that is asked about or denied.

    Args:
        foreseen: The first.
        granted: The second.
        key: What shows the rest, where not all is told; empty for nothing.
    """
    if foreseen.fault is not None:
        unknown = "what it would do is not known" if foreseen.told is None else "there may be more than is told here"
        yield _said("foreseen", f"{one_line(foreseen.fault, 300)}: {unknown}", is_striking=True)
    if foreseen.told is not None:
        yield from _told(foreseen.told, is_whole=foreseen.fault is None)
    for grant in granted:
        yield _said(grant.about, one_line(grant.words, 300), is_striking=grant.is_wide)
    if foreseen.told is not None:
        yield from _asked(foreseen.told, f" ({key})" if key else "")


def _said(about: str, words: str, *, is_striking: bool = False) -> PlanWord:
    return PlanWord(about=about, words=words, is_striking=is_striking)


def _told(told: Rehearsal, *, is_whole: bool) -> Iterator[PlanWord]:
    if told.error is not None:
        place = "" if told.error.line is None else f" (line {told.error.line})"
        words = f"the script did not return in the rehearsal{place}: {one_line(told.error.message, 200)}"
        yield _said("foreseen", words, is_striking=True)
    phases = [f"{one_line(phase.title or 'no phase', _TITLE_CHARS)} {phase.agents:,}" for phase in told.phases]
    if len(phases) > 1 or any(phase.title is not None for phase in told.phases):
        more = [f"{len(phases) - _MOST_PHASES} more"] if len(phases) > _MOST_PHASES else []
        yield _said("phases", " · ".join([*phases[:_MOST_PHASES], *more]))
    yield _said("agents", _agent_words(told) if is_whole else f"at least {told.agents:,}")
    models = Counter[str]()
    for group in told.groups:
        models[(group.model or "") + (" (fast)" if group.speed == "fast" else "")] += group.agents
    named = [f"{one_line(name, 40)} {number:,}" for name, number in models.most_common() if name]
    if named:
        yield _said("models", " · ".join(named[:_MOST_NAMED]))
    if told.agents:
        yield _said("cost", _cost(told, is_whole=is_whole))


def _agent_words(told: Rehearsal) -> str:
    if told.is_exact and not told.agents:
        number = "none"
    elif told.is_exact:
        number = f"{told.agents:,}, whatever they answer"
    elif told.agents_low == told.agents_high:
        number = f"{told.agents:,} with made-up answers; real ones may lead to others"
    else:
        number = f"{told.agents:,} with made-up answers, {told.agents_low:,} to {told.agents_high:,} with others"
    return f"{number} · at most {told.most_at_once:,} at once" if told.agents > 1 else number


def _cost(told: Rehearsal, *, is_whole: bool) -> str:
    if told.cost_usd == Range():
        return "nothing"
    if not is_whole:
        return f"more than {cost_words(told.cost_usd)}"
    return f"{cost_words(told.cost_usd)} · {token_words(told.tokens)} tokens · about {duration(told.duration_s)}"


def _asked(told: Rehearsal, key: str) -> Iterator[PlanWord]:
    """What prompts name and rules do not simply allow, and what calls want and will not get."""
    uses = (*told.commands.named, *told.hosts.named)
    for verdict, about in (("ask", "asks you"), ("deny", "denied")):
        named = [use for use in uses if use.verdict == verdict]
        if named:
            yield _said(about, f"prompts name {_names(named, key)}")
    if told.violations:
        first = one_line(told.violations[0].message, 160)
        more = f" · {len(told.violations) - 1} more{key}" if len(told.violations) > 1 else ""
        yield _said("not had", f"{first}{more}", is_striking=True)


def _names(named: Sequence[NamedUse], key: str) -> str:
    more = f" and {len(named) - _MOST_NAMED} more{key}" if len(named) > _MOST_NAMED else ""
    return ", ".join(one_line(use.name, 40) for use in named[:_MOST_NAMED]) + more
