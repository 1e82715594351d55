"""Whether a rule means a command, a path, an address or a tool.

`allow` is matched narrowly, on what will surely happen; `deny` and `ask` widely, on whatever it might be.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from callsheet.permissions.globs import Globs
from callsheet.permissions.paths import folded
from callsheet.permissions.rules import Effect, Rule
from callsheet.permissions.shell.known import catalogue
from callsheet.permissions.shell.words import Word

# --- commands ---------------------------------------------------------------------------------------------------------


def allows_command(rule: Rule, words: Sequence[Word]) -> bool:
    """Whether an `allow` rule covers a command for certain: word by word, never as text."""
    if rule.detail is None:
        return True
    if words[0].text is None:
        return False
    pattern, is_open = _tokens(rule.detail)
    return _covers(pattern, words, is_open=is_open)


def names_command(rule: Rule, words: Sequence[Word]) -> bool:
    """Whether a `deny` or `ask` rule may mean a command, however it is written."""
    if rule.detail is None:
        return True
    known = [word.text for word in words if word.text is not None]
    if words[0].text is None:
        return False  # which program runs cannot be told: that is asked anyway
    pattern, is_open = _tokens(rule.detail)
    name = program_name(known[0])
    rest = _without_global_options(name, known[1:])
    if "*" in rule.detail.removesuffix(":*"):
        wide = re.compile(".*".join(map(re.escape, rule.detail.removesuffix(":*").casefold().split("*"))), re.DOTALL)
        texts = (" ".join([name, *known[1:]]), " ".join([name, *rest]))
        loose = (f"{text} ".casefold() for text in texts)
        return any(wide.match(text) if is_open else wide.fullmatch(text.rstrip()) for text in loose)
    if program_name(pattern[0]).casefold() != name.casefold():
        return False
    is_certain = len(known) == len(words)
    if not is_open and is_certain and len(rest) != len(pattern) - 1 and len(known) != len(pattern):
        return False
    return _holds(pattern[1:], rest) or (not is_certain and _holds(pattern[1:], rest, may_lack=True))


def program_name(text: str) -> str:
    """A program's name without its folder."""
    return text.rstrip("/").rpartition("/")[2]


@lru_cache(maxsize=1024)
def _tokens(detail: str) -> tuple[tuple[str, ...], bool]:
    """The words of a rule's brackets, and whether more may follow."""
    if detail.endswith(":*"):
        return tuple(_split(detail[:-2])), True
    tokens = _split(detail)
    is_open = len(tokens) > 1 and tokens[-1] == "*"
    return tuple(tokens[:-1] if is_open else tokens), is_open


def _split(detail: str) -> list[str]:
    try:
        return shlex.split(detail)
    except ValueError:
        return detail.split()


def _covers(pattern: Sequence[str], words: Sequence[Word], *, is_open: bool) -> bool:
    """Whether words are those of a pattern; a `*` alone is one word or more, within a word any characters of it."""
    if not pattern:
        return is_open or not words
    if not words or (words[0].is_split and pattern[0] != "*"):
        return False
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        return any(_covers(rest, words[count:], is_open=is_open) for count in range(1, len(words) + 1))
    text = words[0].text
    if text is None:
        return False
    if "*" not in head:
        return text == head and _covers(rest, words[1:], is_open=is_open)
    found = re.fullmatch(".*".join(map(re.escape, head.split("*"))), text, re.DOTALL)
    ends = not rest and head.endswith("*")
    return found is not None and (ends or _covers(rest, words[1:], is_open=is_open))


def _holds(pattern: Sequence[str], texts: Sequence[str], *, may_lack: bool = False) -> bool:
    """Whether the words of a pattern are all there, in their order; options in any order and bundled in any way."""
    letters = {letter for text in texts if re.fullmatch(r"-[A-Za-z0-9]+", text) for letter in text[1:]}
    remaining = [text.casefold() for text in texts]
    for token in pattern:
        if re.fullmatch(r"-[A-Za-z0-9]+", token) and set(token[1:]) <= letters:
            continue
        if token.casefold() in remaining:
            if not token.startswith("-"):
                remaining = remaining[remaining.index(token.casefold()) + 1 :]
            continue
        if not may_lack:
            return False
    return True


def _without_global_options(name: str, texts: Sequence[str]) -> list[str]:
    """A command's words from its subcommand on."""
    values = catalogue().global_values.get(name, frozenset())
    at = 0
    while at < len(texts) and texts[at].startswith("-"):
        at += 2 if texts[at] in values else 1
    return [*texts[at:], *texts[:at]]


# --- paths ------------------------------------------------------------------------------------------------------------


def covers_path(rule: Rule, path: Path, *, cwd: Path) -> bool:
    """Whether a rule means a path. `allow` is exact; `deny` and `ask` also hold for other capitals and forms of it."""
    if rule.globs is None or rule.pattern is None:
        return True
    exact, loose = rule.globs
    base = rule.base if rule.base is not None else cwd
    if rule.effect is Effect.ALLOW:
        return _beneath(exact, path.parts, base.parts)
    return _beneath(loose, _folded(path), _folded(base)) or _beneath(exact, path.parts, base.parts)


def _folded(path: Path) -> tuple[str, ...]:
    return tuple(part if part == "/" else folded(part) for part in path.parts)


def _beneath(globs: Globs, parts: tuple[str, ...], base: tuple[str, ...]) -> bool:
    if parts[: len(base)] != base:
        return False
    return globs.match("/".join(parts[len(base) :]) or ".")


# --- the web, MCP, agents ---------------------------------------------------------------------------------------------


def covers_host(rule: Rule, host: str, place: str) -> bool:
    """Whether a rule means a host: that name alone, with `*.` those beneath it, or `place`: the host and its port."""
    if rule.detail is None:
        return True
    if ":" in rule.detail:
        return rule.detail == place
    if rule.detail.startswith("*."):
        return host.endswith(rule.detail[1:])
    return host == rule.detail


def covers_mcp(rule: Rule, tool: str) -> bool:
    """Whether a rule means a tool of an MCP server."""
    if rule.server is None:
        return True
    server, name = rule.server
    if rule.effect is not Effect.ALLOW:
        server, tool, name = server.casefold(), tool.casefold(), name.casefold() if name is not None else None
    prefix = f"mcp__{server}"
    if name is None:
        return tool == prefix or tool.startswith(f"{prefix}__")
    if name.endswith("*"):
        return tool.startswith(f"{prefix}__{name[:-1]}")
    return tool == f"{prefix}__{name}"


def covers_agent(rule: Rule, agent_type: str) -> bool:
    """Whether a rule means an agent type."""
    if rule.detail is None:
        return True
    if rule.effect is Effect.ALLOW:
        return rule.detail == agent_type
    return rule.detail.casefold() == agent_type.casefold()


def covers_skill(rule: Rule, skill: str) -> bool:
    """Whether a rule means a skill; what follows its name in the rule is of no account here."""
    if rule.detail is None:
        return True
    name = rule.detail.removesuffix(":*").removesuffix(" *").strip()
    if rule.effect is Effect.ALLOW:
        return name == skill
    return name.casefold() == skill.casefold()
