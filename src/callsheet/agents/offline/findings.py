"""What the offline agent finds in tool results, and which of it it holds to be of interest."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import PurePath

from callsheet.model.dataclass import dataclass

MAX_KEYWORDS = 8
MAX_QUOTE_CHARS = 160
PER_FILE = 3

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{3,}")
_PATH = re.compile(r"[\w./-]*\w\.[A-Za-z]\w{0,7}\b")
_ASKS = re.compile(r"(^|/)workflow\.m?js$|(^|/)\.claude/workflows/")
_SAYS_SOMETHING = re.compile(r"[A-Za-z0-9]{2}")
_IMPORT = re.compile(r"(from|import|use|include|require|const \w+ = require)\b")
_COMMON_WORDS = """
about above after again also another answer back because been before being below between both could does done down
each either every file files find first following from give given have here into itself just keep know like line lines
list look made make many matters more most much must name named need never none note only other over own path please
quote read repository return returns right said same search should show since some such sure take task tell text than
that their them then there these they thing this those through under until upon used uses using very want well were
what when where whether which while will with without work workspace would write your
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A line of a file; `path` is relative to the workspace."""

    path: str
    line: int
    text: str


def keywords(prompt: str) -> tuple[str, ...]:
    """The words of a task worth searching for, in order of first use."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(prompt))
    return tuple(word for word in words if word not in _COMMON)[:MAX_KEYWORDS]


def paths_in(prompt: str) -> list[str]:
    """What in a task looks like the path of a file."""
    found = (match[0].removeprefix("./") for match in _PATH.finditer(prompt))
    return list(dict.fromkeys(path for path in found if not path.startswith("/")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is known after looking.

    Attributes:
        files: All paths listed.
        matches: Lines that hold a keyword.
    """

    prompt: str
    files: tuple[str, ...]
    matches: tuple[Finding, ...]

    def ranked_files(self) -> list[str]:
        """Files worth reading, best first.

        Those named in the task by path, then by their bare name, then those with most keywords, then an order drawn by
        lot that is always the same for the same task. The script that asks holds every word of the task and is no
        answer to it: it comes only where it is named.
        """
        words = keywords(self.prompt)
        hits: Counter[str] = Counter()
        held: defaultdict[str, set[str]] = defaultdict(set)
        for finding in self.matches:
            hits[finding.path] += 1
            lowered = finding.text.lower()
            held[finding.path].update(word for word in words if word in lowered)
        known = [path for path in dict.fromkeys([*self.files, *hits]) if not _ASKS.search(path)]
        by_name = [path for path in known if PurePath(path).stem.lower() in words]
        matching = sorted((path for path in known if path in hits), key=lambda p: (-len(held[p]), -hits[p], p))
        drawn = sorted(known, key=lambda path: hashlib.sha256(f"{self.prompt}\0{path}".encode()).digest())
        return list(dict.fromkeys([*paths_in(self.prompt), *by_name, *matching, *drawn]))


def parse_listing(text: str, root: str) -> tuple[str, ...]:
    """The files of a glob's result, relative to the workspace."""
    lines = [line for line in text.split("\n") if line.startswith(f"{root}/") and not line.endswith("/")]
    return tuple(sorted(line.removeprefix(f"{root}/") for line in lines))


def parse_matches(text: str, root: str) -> tuple[Finding, ...]:
    """The lines of a grep's result."""
    found = re.finditer(rf"^{re.escape(root)}/(.+?):(\d+):(.*)$", text, re.MULTILINE)
    return tuple(
        Finding(path=match[1], line=int(match[2]), text=_quoted(match[3])) for match in found if match[3].strip()
    )


def parse_text(path: str, text: str, words: Sequence[str]) -> tuple[Finding, ...]:
    """The lines of a file that say most of what is looked for; where none does, the first that say something."""
    lines = [
        Finding(path=path, line=number, text=_quoted(line))
        for number, line in enumerate(text.split("\n"), 1)
        if _SAYS_SOMETHING.search(line)
    ]
    return tuple(best_first(lines, words)[:PER_FILE])


def best_first(findings: Iterable[Finding], words: Sequence[str]) -> list[Finding]:
    """Lines with most of the words first; imports, which name things without saying anything of them, last."""

    def rank(finding: Finding) -> tuple[bool, int]:
        lowered = finding.text.lower()
        return _IMPORT.match(lowered) is not None, -sum(word in lowered for word in words)

    return sorted(findings, key=rank)


def interleaved(findings: Iterable[Finding]) -> list[Finding]:
    """One of each file, then the next of each, so that a few findings show several files."""
    by_file: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_file[finding.path].append(finding)
    rounds = zip_longest(*by_file.values())
    return [finding for of_round in rounds for finding in of_round if finding is not None]


def _quoted(line: str) -> str:
    text = " ".join(line[: 4 * MAX_QUOTE_CHARS].split())
    return text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 1]}…"
