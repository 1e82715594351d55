"""What a rehearsal saw that is rarely meant: agents that nobody waits for, options that there are not, odd prompts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from callsheet.model.call import OPTION_NAMES
from callsheet.model.dataclass import dataclass
from callsheet.model.sandbox import AgentCalled
from callsheet.model.script import Finding, Script
from callsheet.model.values import Place

_UNDEFINED = re.compile(r"\bundefined\b")
_LETS_GO = re.compile(r"\bPromise\s*\.\s*(?:race|any)\b")
_OF_A_SCHEMA = frozenset({"properties", "required", "items", "$schema"})
_OPTIONS_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Something odd about a call of the run's own script.

    Attributes:
        line: Where the call stands, where known.
    """

    code: str
    contract: str
    message: str
    line: int | None


def oddities_of(called: AgentCalled, *, known_text: str) -> Iterator[Oddity]:
    """What is odd about a call as it is made.

    Args:
        called: The call.
        known_text: The script and what it is given: a word that stands there is no slip.
    """
    if called.unknown_options:
        yield Oddity(code="unknown-option", contract="A08", message=_unknown(called.unknown_options), line=called.line)
    said = {"prompt": called.prompt} | {name: called.options.get(name) for name in ("context", "label", "phase")}
    for name, text in said.items():
        if isinstance(text, str) and (message := _slip(text, known_text)) is not None:
            yield Oddity(
                code="odd-prompt", contract="A09", message=f"the {name} of this agent holds {message}", line=called.line
            )


def left_behind(line: int | None) -> Oddity:
    """An agent that was at work when the script returned (CONTRACT A13)."""
    return Oddity(
        code="left-behind",
        contract="A13",
        message="this agent was still at work when the script returned, and is cancelled: await what agent() gives "
        "(of a list: `await Promise.all(…)`)",
        line=line,
    )


def doubts(script: Script, seen: Iterable[Oddity], *, told: Iterable[Finding]) -> tuple[Finding, ...]:
    """Warnings of what was seen, each once for its line.

    Args:
        script: What was rehearsed.
        seen: In the order in which it came to light.
        told: Findings that are told already; of agents that nobody waits for one for a line is enough.
    """
    is_told = {
        finding.place.line
        for finding in told
        if finding.place is not None and finding.code in ("not-awaited", "read-too-early")
    }
    lets_go = _LETS_GO.search(script.body) is not None
    lines = script.text.split("\n")
    found: dict[tuple[str, int | None], Finding] = {}
    for one in seen:
        if one.code == "left-behind" and (lets_go or one.line in is_told):
            continue
        is_there = one.line is not None and 1 <= one.line <= len(lines)
        finding = Finding(
            severity="warning",
            code=one.code,
            contract=one.contract,
            message=one.message,
            place=Place(line=one.line, column=None) if one.line is not None and is_there else None,
            source_line=lines[one.line - 1] if one.line is not None and is_there else None,
        )
        found.setdefault((one.code, one.line), finding)
    return tuple(found.values())


def _unknown(names: Collection[str]) -> str:
    shown = ", ".join(f"`{name[:40]}`" for name in list(names)[:_OPTIONS_SHOWN])
    if _OF_A_SCHEMA & set(names):
        return f"agent() has no option {shown}: a JSON Schema goes into the option `schema`, `{{ schema: {{ … }} }}`"
    return f"agent() has no option {shown}, and ignores it; there are: {', '.join(OPTION_NAMES)}"


def _slip(text: str, known_text: str) -> str | None:
    if "[object Promise]" in text and "[object Promise]" not in known_text:
        return "`[object Promise]`: write `await` before the call that gives what is put in there"
    if "[object Object]" in text and "[object Object]" not in known_text:
        return "`[object Object]`: write `JSON.stringify(…)` around the object that is put in there, or name its part"
    if _UNDEFINED.search(text) and not _UNDEFINED.search(known_text):
        return "`undefined`: something that is put in there does not exist, or was not returned"
    return None
