"""A replay held against its record: what is other, with both sides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field

from callsheet.engine.recorded_desk import RecordedDesk, at_line, part_text
from callsheet.engine.text import to_json
from callsheet.model.dataclass import dataclass
from callsheet.model.past import CallExplained
from callsheet.model.replayed import Difference, RecordedRun, ReplayResult
from callsheet.model.run import RunError, RunResult
from callsheet.model.values import JsonValue

SIDE_CHARS = 160
"""How much of a side is shown, around the place where the two part."""

_SECRET = re.compile("‹secret [^›]*›")


@dataclass(slots=True, kw_only=True)
class Said:
    """What a script has said: its log lines (level, text, workflow) and its phases (title, workflow)."""

    logs: list[tuple[str, str, str | None]] = field(default_factory=list)
    phases: list[tuple[str, str | None]] = field(default_factory=list)


def compared(
    recorded: RecordedRun,
    desk: RecordedDesk,
    result: RunResult,
    *,
    said: Said,
    script: str,
    notes: tuple[str, ...],
) -> ReplayResult:
    """What a replay came to.

    Args:
        recorded: The record.
        desk: That answered from it.
        result: What the run of the script came to.
        said: What it has said on the way.
        script: Which script was run.
        notes: What else is to be said.
    """
    differences = [*desk.differences, *_other_calls(recorded, desk, result)]
    ended = desk.stop is None
    if ended or desk.is_over:
        differences += _missing(recorded, desk)
    differences += _other_words(recorded, said, is_whole=ended and recorded.is_whole)
    if ended and recorded.is_whole:
        differences += _other_ends(recorded, result)
    stop = desk.stop
    if not recorded.is_whole and ended:
        stop = f"the record has no end of the script to compare: the run is {recorded.status}"
    members = {agent_id for agent_id, call in recorded.calls.items() if call.is_of_last}
    return ReplayResult(
        run_id=recorded.past.run_id,
        workflow=result.workflow,
        script=script,
        status="differs" if differences else "same" if recorded.is_whole else "partial",
        recorded_status=recorded.status,
        recorded_calls=len(members),
        calls=len(desk.taken),
        result=result.result if ended else None,
        error=result.error if ended else None,
        differences=tuple(differences),
        stop=stop,
        notes=(*recorded.notes, *notes),
        duration_ms=result.duration_ms,
    )


# --- calls ------------------------------------------------------------------------------------------------------------


def _other_calls(recorded: RecordedRun, desk: RecordedDesk, result: RunResult) -> Iterator[Difference]:
    """The calls that are like none of the record, each held against the recorded one that it is likest."""
    report = result.resumed
    for explained in () if report is None else report.calls:
        unmatched = desk.unmatched.get(explained.call)
        if unmatched is None:
            continue
        before = None if explained.before is None else recorded.calls.get(explained.before)
        called = unmatched.called
        prompt, named = called.prompt or "", f"call {explained.call}{at_line(called.line)}"
        refused = recorded.refusals.get(explained.call)
        if before is None:
            was = None if refused is None else _cut(f"a call that was refused: {refused.message or 'over budget'}")
            yield _call(explained, desk, f"{named} is on record nowhere", was, _cut(prompt), None)
        elif not explained.changed:
            message = f"{named} is made once more than recorded ({explained.before})"
            yield _call(explained, desk, message, None, _cut(prompt), None)
        for part in explained.changed if before is not None else ():
            assert before is not None
            sides = _sides(part_text(part, before.prompt, before.options), part_text(part, prompt, called.options))
            message = f"{named} asks for something else than {explained.before}: its {part.replace('_', ' ')} differs"
            yield _call(explained, desk, message, *sides, part)


def _call(
    explained: CallExplained, desk: RecordedDesk, message: str, recorded: str | None, now: str | None, part: str | None
) -> Difference:
    unmatched = desk.unmatched[explained.call]
    return Difference(
        kind="call",
        message=f'{message} — "{explained.label}"' + (f", phase {unmatched.phase}" if unmatched.phase else ""),
        recorded=recorded,
        now=now,
        call=explained.call,
        agent_id=explained.before,
        label=explained.label,
        phase=unmatched.phase,
        line=unmatched.called.line,
        part=part,
    )


def _missing(recorded: RecordedRun, desk: RecordedDesk) -> Iterator[Difference]:
    for agent in recorded.past.agents:
        call = recorded.calls[agent.agent_id]
        if call.is_of_last and agent.agent_id not in desk.taken:
            yield Difference(
                kind="missing",
                message=f'call {agent.call} "{agent.label}" ({agent.agent_id}) is not made',
                recorded=_cut(call.prompt),
                call=agent.call,
                agent_id=agent.agent_id,
                label=agent.label,
                phase=agent.phase,
            )


# --- what the script says and comes to --------------------------------------------------------------------------------


def _other_words(recorded: RecordedRun, said: Said, *, is_whole: bool) -> Iterator[Difference]:
    """The first log line and the first phase that are other; of a replay that stopped early, as far as it went."""
    if recorded.logs is not None:
        lines = [f"{level}: {message}" for level, message, _ in recorded.logs]
        now = [f"{level}: {message}" for level, message, _ in said.logs]
        at = _first_other(lines, now, is_whole=is_whole)
        if at is not None:
            sides = _sides(lines[at] if at < len(lines) else None, now[at] if at < len(now) else None)
            yield Difference(
                kind="log", message=f"log line {at + 1} of the script differs", recorded=sides[0], now=sides[1]
            )
    before = [title if workflow is None else f"▸ {workflow}: {title}" for title, workflow in recorded.phases]
    titles = [title if workflow is None else f"▸ {workflow}: {title}" for title, workflow in said.phases]
    at = _first_other(before, titles, is_whole=is_whole)
    if at is not None:
        sides = _sides(before[at] if at < len(before) else None, titles[at] if at < len(titles) else None)
        yield Difference(kind="phases", message=f"phase {at + 1} differs", recorded=sides[0], now=sides[1])


def _first_other(recorded: list[str], now: list[str], *, is_whole: bool) -> int | None:
    for at, (one, other) in enumerate(zip(recorded, now, strict=False)):
        if not is_same(one, other):
            return at
    if is_whole and len(recorded) != len(now):
        return min(len(recorded), len(now))
    return None


def _other_ends(recorded: RecordedRun, result: RunResult) -> Iterator[Difference]:
    before, now = _error_text(recorded.error), _error_text(result.error)
    if not (before == now or (before is not None and now is not None and is_same(before, now))):
        sides = _sides(before, now)
        yield Difference(
            kind="error",
            message="the script ends otherwise",
            recorded=sides[0] or f"it returned ({recorded.status})",
            now=sides[1] or "it returned",
        )
    elif result.error is None and not _is_same_value(recorded.result, result.result):
        sides = _sides(to_json(recorded.result), to_json(result.result))
        yield Difference(kind="result", message="the result differs", recorded=sides[0], now=sides[1])


def _error_text(error: RunError | None) -> str | None:
    return None if error is None else f"{error.kind}: {error.message}"


def _is_same_value(recorded: JsonValue, now: JsonValue) -> bool:
    return recorded == now or is_same(to_json(recorded), to_json(now))


# --- texts ------------------------------------------------------------------------------------------------------------


def is_same(recorded: str, now: str) -> bool:
    """Whether a text is as recorded, where the record has a mark in place of each secret."""
    if recorded == now:
        return True
    first, *between = _SECRET.split(recorded)
    if not between or not now.startswith(first):
        return False
    *between, last = between
    at = len(first)
    for part in between:
        found = now.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(now) - len(last) >= at and now.endswith(last)


def _sides(recorded: str | None, now: str | None) -> tuple[str | None, str | None]:
    """Both sides, what is long cut around the place where they part."""
    if recorded is None or now is None:
        return (None if recorded is None else _cut(recorded)), (None if now is None else _cut(now))
    longest = min(len(recorded), len(now))
    parts = next((at for at in range(longest) if recorded[at] != now[at]), longest)
    begin = max(0, parts - SIDE_CHARS // 4) if max(len(recorded), len(now)) > SIDE_CHARS else 0
    return _cut(recorded, begin), _cut(now, begin)


def _cut(text: str, begin: int = 0) -> str:
    shown = text[begin : begin + SIDE_CHARS]
    return ("…" if begin else "") + shown + ("…" if begin + len(shown) < len(text) else "")
