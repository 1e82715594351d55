"""The answers file of the scripted backend (FORMATS 2): read, checked, and refused with the entry that is wrong.

Checked by hand: loading Pydantic takes 0.25 s, most of what a scripted run may take to its first agent.
"""

from __future__ import annotations

import fnmatch
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeAlias, cast

from callsheet.errors import ConfigError
from callsheet.library.files import UnreadableError, read_text
from callsheet.model.dataclass import dataclass
from callsheet.model.outcome import AGENT_STATUSES, AgentStatus, Usage
from callsheet.model.values import JsonValue

MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_DELAY_MS = 86_400_000
_MAX_FAULTS = 5

DEFAULT_USAGE = Usage(input_tokens=100, output_tokens=50, cost_usd=0.0)
"""What an attempt has used where its entry does not say. Nothing is paid for any."""

Otherwise: TypeAlias = "Literal['synthetic', 'null', 'fail'] | FixedAnswer"
"""What answers where no entry does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedAnswer:
    """One answer for all calls that no entry answers."""

    result: JsonValue


class Glob:
    """A shell glob, case-sensitive; a text that is the pattern, letter by letter, matches too."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._match = re.compile(fnmatch.translate(pattern)).match

    def __call__(self, text: str) -> bool:
        """Whether the text matches."""
        return text == self._pattern or self._match(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One entry: which calls it answers, and how.

    Attributes:
        label, phase: Globs. All that is given must match.
        prompt: A part of the prompt.
        result: The answer as it is; meaningful without `failure`.
        failure: The status of an agent that ends without an answer, None for one that answers.
        error: Why it ends so.
        delay_s: How long the agent takes.
        times: How many attempts the entry answers; None for all.
        writes: Text of files to write, by path relative to the workspace.
    """

    label: Glob | None = None
    phase: Glob | None = None
    prompt: str | None = None
    result: JsonValue = None
    failure: AgentStatus | None = None
    error: str | None = None
    delay_s: float = 0.0
    times: int | None = None
    usage: Usage = DEFAULT_USAGE
    writes: Mapping[str, str] = field(default_factory=dict)

    def matches(self, *, label: str, phase: str | None, prompt: str) -> bool:
        """Whether the entry answers a call."""
        return (
            (self.prompt is None or self.prompt in prompt)
            and (self.label is None or self.label(label))
            and (self.phase is None or (phase is not None and self.phase(phase)))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersFile:
    """The whole file."""

    answers: tuple[Answer, ...] = ()
    otherwise: Otherwise = "synthetic"


def load_answers(path: Path) -> AnswersFile:
    """Reads an answers file.

    Raises:
        ConfigError: It is not there, not a file, not UTF-8, not JSON, or not as FORMATS 2 says. Names the file and the
            entry or the line, and what to do.
    """
    value = _json(path)
    faults = list(_faults_in(value))
    if faults:
        more = f"; and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise ConfigError(f"the answers file {path} cannot be used: {'; '.join(faults[:_MAX_FAULTS])}{more}")
    otherwise = value.get("otherwise", "synthetic")
    return AnswersFile(
        answers=tuple(_answer(entry) for entry in value.get("answers", [])),
        otherwise=FixedAnswer(result=otherwise["result"]) if isinstance(otherwise, dict) else otherwise or "null",
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path, limit_bytes=MAX_FILE_BYTES)
    except UnreadableError as error:
        raise ConfigError(
            f"the answers file {path} {error.reason}. Give one with --backend scripted:FILE.json."
        ) from None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"the answers file {path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except RecursionError:
        raise ConfigError(f"the answers file {path} nests too deep; flatten its results.") from None
    except ValueError as error:
        raise ConfigError(f"the answers file {path} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ConfigError(
            f'the answers file {path} holds no JSON object; write {{"answers": [ … ], "otherwise": "synthetic"}}.'
        )
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _answer(entry: dict[str, Any]) -> Answer:
    """An entry that was checked."""
    answers = "result" in entry
    usage = entry.get("usage", {})
    return Answer(
        label=Glob(entry["label"]) if "label" in entry else None,
        phase=Glob(entry["phase"]) if "phase" in entry else None,
        prompt=entry.get("prompt"),
        result=entry.get("result"),
        failure=None if answers else cast(AgentStatus, entry.get("status", "failed")),
        error=entry.get("error"),
        delay_s=entry.get("delay_ms", 0) / 1_000,
        times=entry.get("times"),
        usage=Usage(
            input_tokens=usage.get("input_tokens", DEFAULT_USAGE.input_tokens),
            output_tokens=usage.get("output_tokens", DEFAULT_USAGE.output_tokens),
            cache_read_tokens=usage.get("cache_read_tokens", 0),
            cache_write_tokens=usage.get("cache_write_tokens", 0),
            cost_usd=0.0,
        ),
        writes=entry.get("writes", {}),
    )


# --- what is wrong ----------------------------------------------------------------------------------------------------

_Check: TypeAlias = Callable[[str, Any], Iterator[str]]
"""Gives the faults of a value at a place, each beginning with the place."""


def _faults_in(value: dict[str, Any]) -> Iterator[str]:
    yield from _checked("", value, {"answers": _entries, "otherwise": _otherwise})


def _checked(place: str, value: dict[str, Any], checks: Mapping[str, _Check]) -> Iterator[str]:
    """Checks the keys of an object. Unknown ones are faults: a misspelt `label` would silently match every call."""
    for key, inner in value.items():
        where = f"{place}.{key}" if place else key
        if key in checks:
            yield from checks[key](where, inner)
        elif near := get_close_matches(key.lower(), checks, n=1, cutoff=0.6):
            yield f"{where}: there is no such key; did you mean `{near[0]}`?"
        else:
            yield f"{where}: there is no such key; there are {', '.join(checks)}"


def _entries(place: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{place}: is not a list of entries"
        return
    for number, entry in enumerate(value):
        yield from _entry(f"{place}[{number}]", entry)


def _entry(place: str, entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f'{place}: is not an object such as {{"label": …, "result": …}}'
        return
    wrong = list(_checked(place, entry, _ENTRY))
    yield from wrong
    if wrong:
        return
    fails = "error" in entry or entry.get("status", "ok") != "ok"
    if "result" in entry and fails:
        yield f"{place}: give `result`, or `error` and `status`, not both"
    elif "error" in entry and entry.get("status") == "ok":
        yield f"{place}: an agent that is `ok` has no `error`: give a `result`, or another `status`"
    elif "result" not in entry and not fails:
        yield f"{place}: says neither `result` nor `error`"


def _otherwise(place: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _checked(place, value, {"result": _anything})
        if "result" not in value:
            yield f"{place}: says no `result`"
    elif value not in ("synthetic", "null", "fail", None):
        yield f'{place}: is not "synthetic", "null", "fail" or {{"result": …}}'


def _text(place: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{place}: is not text"


def _anything(_place: str, _value: Any) -> Iterator[str]:
    yield from ()


def _status(place: str, value: Any) -> Iterator[str]:
    if value not in AGENT_STATUSES:
        yield f"{place}: is none of {', '.join(AGENT_STATUSES)}"


def _whole(least: int) -> _Check:
    def check(place: str, value: Any) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            yield f"{place}: is not a whole number from {least} up"

    return check


def _delay(place: str, value: Any) -> Iterator[str]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or math.isnan(value) or not 0 <= value <= MAX_DELAY_MS:
        yield f"{place}: is not a number of milliseconds from 0 to {MAX_DELAY_MS:,}"


def _usage(place: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _checked(place, value, dict.fromkeys(_TOKENS, _whole(0)))
    else:
        yield f"{place}: is not an object with {', '.join(_TOKENS)}"


def _writes(place: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        yield f"{place}: is not an object of paths and texts"
        return
    for path in value:
        if not path or path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts or "\0" in path:
            yield f"{place}: {path!r} is not a path relative to the workspace that stays in it"


_TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_ENTRY: Final[Mapping[str, _Check]] = {
    "label": _text,
    "prompt": _text,
    "phase": _text,
    "result": _anything,
    "error": _text,
    "status": _status,
    "delay_ms": _delay,
    "times": _whole(1),
    "usage": _usage,
    "writes": _writes,
}
