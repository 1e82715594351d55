"""What the kernel is to hold an agent's commands to: the same as the rules say of its tools, as far as it can.

A kernel knows folders and files, no globs: of a glob the part before its first wildcard counts, and the rules hold the
rest for the commands that they understand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from callsheet.model.call import Scope
from callsheet.model.confinement import CommandNetwork, NetworkHosts, NetworkOff
from callsheet.permissions.matching import covers_host
from callsheet.permissions.paths import protected_paths, protection_of
from callsheet.permissions.rules import Effect, Family, Rule

MOST_PROTECTED = 200
MOST_LOOKED_AT = 100_000
_WILD = re.compile(r"[*?\[{]")
_TOOL_CHAINS = (
    ".asdf", ".bun", ".deno", ".goenv", ".local/share/mise", ".local/share/uv", ".nodenv", ".nvm", ".pyenv", ".rbenv",
    ".rustup", ".sdkman", ".volta", "anaconda3", "miniconda3", "miniforge3",
)  # fmt: skip
"""Below the home folder: where version managers keep programs and their libraries, and nobody keeps secrets."""
_NOT_SEARCHED = frozenset({"node_modules", ".callsheet"})


def writable_places(root: Path, scope: Scope | None, *, read_only: bool) -> tuple[Path, ...]:
    """What of the workspace a command may change. Without a write scope no more than it may read."""
    if read_only:
        return ()
    if scope is None or (scope.read is None and scope.write is None):
        return (root,)
    return _inside(root, scope.write if scope.write is not None else scope.read or ())


def readable_places(root: Path, scope: Scope | None) -> tuple[Path, ...] | None:
    """What of the workspace a command may see; None for all."""
    return None if scope is None or scope.read is None else _inside(root, scope.read)


def _inside(root: Path, globs: Sequence[str]) -> tuple[Path, ...]:
    """Where globs begin, as far as it is there and no link leads elsewhere."""
    places = (root / _literal(glob) for glob in globs if glob.strip() and not glob.startswith("!"))
    return themselves(dict.fromkeys(places))


def themselves(places: Iterable[Path]) -> tuple[Path, ...]:
    """Those that are there, and to which no link leads.

    What an agent could put a link in place of must pass here: the kernel would be told to open what the link leads to.
    """
    return tuple(place for place in places if os.path.lexists(place) and os.path.realpath(place) == os.fspath(place))


def _literal(glob: str) -> str:
    """The names before the first wildcard; a glob without a slash counts in every folder, and begins at the root."""
    if "/" not in glob.rstrip("/"):
        return ""
    names: list[str] = []
    for name in glob.split("/"):
        if _WILD.search(name):
            break
        if name == "..":
            return ""
        names += [name] if name not in ("", ".") else []
    return "/".join(names)


def protected_places(root: Path) -> tuple[Path, ...]:
    """Protected paths that are there, the outermost of each, nearest to the root first; none that is a link.

    To be called before any agent works: what agents put there later may be a link to anywhere.
    """
    found: list[Path] = []
    looked_at = 0
    pending = [""]
    while pending and len(found) < MOST_PROTECTED and looked_at < MOST_LOOKED_AT:
        here = pending.pop(0)
        try:
            entries = list(os.scandir(root / here))
        except OSError:
            continue
        looked_at += len(entries)
        for entry in entries:
            if entry.is_symlink():
                continue
            if _may_be_protected(entry.name) and protection_of(f"{here}{entry.name}") is not None:
                found.append(Path(entry.path))
            elif entry.is_dir() and entry.name not in _NOT_SEARCHED:
                pending.append(f"{here}{entry.name}/")
    return tuple(found)


def _may_be_protected(name: str) -> bool:
    # Names that come second in an entry (`.github/workflows`) have no dot of their own.
    return not name[:1].isalnum() or not name.isascii() or name.lower() in _plain_names()


def _plain_names() -> frozenset[str]:
    return frozenset(part for entries in protected_paths().values() for entry in entries for part in entry.parts)


def rule_places(rules: Iterable[Rule], family: Family, effect: Effect, *, folder: Path) -> Iterator[tuple[Path, bool]]:
    """Where the paths of rules begin, and whether that is all of the rule: no wildcard follows."""
    for rule in rules:
        if rule.family is family and rule.effect is effect and rule.pattern is not None:
            literal = _literal(rule.pattern)
            whole = not _WILD.search(rule.pattern) and bool(literal)
            yield (rule.base or folder) / literal, whole


def granted_outside(rules: Sequence[Rule], family: Family, *, root: Path, home: Path) -> tuple[Path, ...]:
    """Places outside the workspace that `allow` rules open; never the system, a home folder or what holds them whole.

    What lies in the workspace needs no rule to be opened, and what agents may write could have become a link.

    Args:
        rules: All that hold.
        family: Reading or editing.
        root: The workspace.
        home: The user's folder.
    """
    places = (place for place, _ in rule_places(rules, family, Effect.ALLOW, folder=root))
    outside = (place for place in places if not place.is_relative_to(root))
    return themselves(place for place in outside if not any(each.is_relative_to(place) for each in (root, home)))


def denied_places(rules: Sequence[Rule], *, folder: Path) -> tuple[Path, ...]:
    """Files and folders that a `deny` rule for reading names in full."""
    places = rule_places(rules, Family.READ, Effect.DENY, folder=folder)
    return tuple(place for place, is_whole in places if is_whole)


def program_places(path: str, home: Path) -> tuple[Path, ...]:
    """Folders of programs that lie in the home folder, to be read there: those on the search path, and tool chains."""
    searched = (Path(name) for name in path.split(":"))
    found = [folder for folder in searched if folder.is_absolute() and folder != home and folder.is_relative_to(home)]
    found += [home / name for name in _TOOL_CHAINS]
    return tuple(dict.fromkeys(folder for folder in found if folder.is_dir()))


def network_of(rules: Sequence[Rule]) -> CommandNetwork:
    """The hosts that `WebFetch(domain:…)` rules allow by name, as the reference has it; a bare `WebFetch` opens none.

    A host that some rule denies or asks about is left out, with the wildcard that would include it. What a rule opens
    of this machine is open to fetches alone: the proxy leads commands to public addresses only.
    """
    allowed = [rule for rule in rules if rule.family is Family.WEB_FETCH and rule.effect is Effect.ALLOW]
    refused = [
        rule
        for rule in rules
        if rule.family in (Family.WEB_FETCH, Family.EVERYTHING) and rule.effect is not Effect.ALLOW
    ]
    hosts = (rule.detail for rule in allowed if rule.detail is not None and not any(map(partial(_meet, rule), refused)))
    named = tuple(dict.fromkeys(hosts))
    return NetworkHosts(hosts=named) if named else NetworkOff()


def _meet(one: Rule, other: Rule) -> bool:
    """Whether two rules for hosts may mean the same host."""
    if one.detail is None or other.detail is None or other.is_broken:
        return True
    mine, theirs = _without_port(one.detail), _without_port(other.detail)
    return covers_host(replace(other, detail=theirs), mine.removeprefix("*."), "") or _under(mine, theirs)


def _without_port(detail: str) -> str:
    return detail.rpartition(":")[0] if ":" in detail else detail


def _under(wide: str, narrow: str) -> bool:
    plain = narrow.removeprefix("*")
    return narrow == wide or (wide.startswith("*.") and (plain.endswith(wide[1:]) or wide[1:].endswith(plain)))
