"""The commands that are known, from `commands.toml`, and how their options are read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any

from callsheet.model.dataclass import dataclass
from callsheet.permissions.shell.words import Word

_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_SHORT_NUMBER = re.compile(r"-\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a command; the fields are those of `commands.toml`."""

    name: str
    flags: frozenset[str]
    optional: frozenset[str]
    values: dict[str, str]
    operands: str = "none"
    first: str | None = None
    first_unless: frozenset[str] = frozenset()
    default: str | None = None
    default_if: frozenset[str] = frozenset()
    recurse: frozenset[str] = frozenset()
    skips_hidden_unless: frozenset[str] = frozenset()
    numbers: bool = False
    max: int | None = None
    special: str | None = None
    skip: int = 0
    assignments: bool = False
    more_words: bool = False
    shell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A command's words, told apart.

    Attributes:
        options: Those given, with their values.
        operands: The others, in order.
    """

    options: tuple[tuple[str, Word | None], ...]
    operands: tuple[Word, ...]

    def has(self, names: frozenset[str]) -> bool:
        """Whether one of some options is given."""
        return any(name in names for name, _ in self.options)


class NotHarmlessError(Exception):
    """A known command is used in a way that is not on the list; `reason` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything that `commands.toml` says."""

    commands: dict[str, Known] = field(default_factory=dict)
    wrappers: dict[str, Known] = field(default_factory=dict)
    run_others: frozenset[str] = frozenset()
    global_values: dict[str, frozenset[str]] = field(default_factory=dict)
    harmless_variables: frozenset[str] = frozenset()
    shown_variables: frozenset[str] = frozenset()


@cache
def catalogue() -> Catalogue:
    """The data file, read once."""
    data = tomllib.loads(Path(__file__).with_name("commands.toml").read_text(encoding="utf-8"))
    programs, variables = data["programs"], data["variables"]
    return Catalogue(
        commands={known.name: known for entry in data["command"] for known in _known(entry)},
        wrappers={known.name: known for entry in data["wrapper"] for known in _known(entry)},
        run_others=frozenset(programs["run_others"]),
        global_values={name: frozenset(text.split()) for name, text in programs["global_values"].items()},
        harmless_variables=frozenset(variables["harmless"]),
        shown_variables=frozenset(variables["shown"]),
    )


def _known(entry: dict[str, Any]) -> list[Known]:
    flags = entry.pop("flags", "").split()
    values = {name: kind for names, kind in entry.pop("values", {}).items() for name in names.split()}
    names = entry.pop("names")
    sets = ("first_unless", "default_if", "recurse", "skips_hidden_unless")
    rest: dict[str, Any] = {key: frozenset(value.split()) if key in sets else value for key, value in entry.items()}
    return [
        Known(
            name=name,
            flags=frozenset(flag.removesuffix("?") for flag in flags),
            optional=frozenset(flag[:-1] for flag in flags if flag.endswith("?")),
            values=values,
            **rest,
        )
        for name in names
    ]


def read_options(known: Known, words: Sequence[Word], *, permute: bool = True) -> Read:
    """Tells options from operands, as GNU programs do; no abbreviations.

    Args:
        known: What is known of the command.
        words: Those behind its name.
        permute: Options may follow operands; else the first operand ends them.

    Raises:
        NotHarmlessError: An option is not on the list, or its value is not what it should be.
    """
    options: list[tuple[str, Word | None]] = []
    operands: list[Word] = []
    pending = list(reversed(words))
    while pending:
        word = pending.pop()
        text = word.text
        if text == "--":
            operands += reversed(pending)
            break
        if text is None and (known.flags or known.values) and permute:
            raise NotHarmlessError(f"{known.name}: what {word.source} stands for is known only when it runs")
        if text is None or not text.startswith("-") or text == "-":
            if text == "-" and "-" in known.flags:
                continue
            if not permute:
                operands += [word, *reversed(pending)]
                break
            operands.append(word)
        elif text.startswith("--"):
            options.append(_long(known, text, pending))
        elif known.numbers and _SHORT_NUMBER.fullmatch(text):
            continue
        else:
            options += _short(known, text, pending)
    return Read(options=tuple(options), operands=tuple(operands))


def _long(known: Known, text: str, pending: list[Word]) -> tuple[str, Word | None]:
    name, equals, value = text.partition("=")
    if not equals and name in known.flags:
        return name, None
    if equals and name in known.optional:
        return name, _value(known, name, "text", Word(text=value, source=value))
    if name in known.values:
        if equals:
            return name, _value(known, name, known.values[name], Word(text=value, source=value))
        if pending:
            return name, _value(known, name, known.values[name], pending.pop())
    raise NotHarmlessError(f"{known.name} {name} is not on the list of harmless options")


def _short(known: Known, text: str, pending: list[Word]) -> list[tuple[str, Word | None]]:
    """One word of single-letter options; also one of those that look like it (`-uno`)."""
    if text in known.flags:
        return [(text, None)]
    if text in known.values and len(text) > 2 and pending:
        return [(text, _value(known, text, known.values[text], pending.pop()))]
    found: list[tuple[str, Word | None]] = []
    for at, letter in enumerate(text[1:], start=2):
        name = f"-{letter}"
        if name in known.flags and not (name == "-i" and known.special == "sed" and at < len(text)):
            found.append((name, None))
            continue
        if name in known.values and (at < len(text) or pending):
            value = Word(text=text[at:], source=text[at:]) if at < len(text) else pending.pop()
            found.append((name, _value(known, name, known.values[name], value)))
            return found
        raise NotHarmlessError(f"{known.name} {name} is not on the list of harmless options")
    return found


def _value(known: Known, name: str, kind: str, word: Word) -> Word:
    if word.is_split:
        raise NotHarmlessError(f"{known.name} {name}: {word.source} may become several words; put it in double quotes")
    check_kind(kind, word, f"{known.name} {name}")
    return word


def check_kind(kind: str, word: Word, what: str) -> None:
    """Whether a word is of a kind; paths are judged elsewhere.

    Raises:
        NotHarmlessError: It is not, or nobody can tell.
    """
    if kind == "none":
        raise NotHarmlessError(f"{what}: {word.source} is not expected there")
    if kind == "text":
        return
    if word.text is None:
        raise NotHarmlessError(f"{what}: what {word.source} stands for is known only when it runs")
    pattern = _NUMBER if kind == "number" else re.compile(kind[1:-1], re.DOTALL) if kind.startswith("/") else None
    if pattern is not None and not pattern.fullmatch(word.text):
        raise NotHarmlessError(f"{what}: {word.source} is not on the list of harmless values")
