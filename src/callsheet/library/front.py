"""Front matter: what stands between two lines of `---` at the start of agent types and skills."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

MAX_FRONT_BYTES = 32 * 1024
MAX_BRACKETS = 50
"""Brackets open at once in front matter: with 5,000 the parser takes seconds."""

_FRONT = re.compile(r"---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_PLAIN_LINE = re.compile(r"^([A-Za-z][\w-]*):[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)


class FrontMatterError(Exception):
    """Front matter that cannot be used. `str()` says why, in words that follow the file's name."""


def read_front(text: str) -> tuple[Mapping[str, Any], str]:
    """The values of a text's front matter, all of them text, lists or mappings; and what comes after it.

    Raises:
        FrontMatterError: There is none, or it cannot be read.
    """
    found = _FRONT.match(text)
    if found is None:
        raise FrontMatterError(
            "has no front matter: begin with --- and a line such as `description: …`, and end it with ---"
        )
    return _values(found.group(1)), text[found.end() :]


def _values(text: str) -> Mapping[str, Any]:
    import yaml  # 15 ms, and only needed where there are such files

    from callsheet.library.front_matter import PlainLoader

    if len(text.encode()) > MAX_FRONT_BYTES:
        raise FrontMatterError(f"has more than {MAX_FRONT_BYTES // 1024} KiB of front matter; put the text below it")
    if _brackets(text) > MAX_BRACKETS:
        raise FrontMatterError("has front matter that nests too deep")
    try:
        try:
            values = yaml.load(text, PlainLoader)
        except yaml.YAMLError:
            values = yaml.load(_PLAIN_LINE.sub(_in_quotes, text), PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 2}: " if error.problem_mark is not None else ""
        raise FrontMatterError(f"has front matter that is not YAML: {line}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise FrontMatterError(f"has front matter that is not YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise FrontMatterError("has front matter that nests too deep") from None
    if not isinstance(values, dict):
        raise FrontMatterError("has front matter without keys such as `description: …`")
    return values


def _brackets(text: str) -> int:
    """The most brackets that are open at once."""
    return max(accumulate((char in "[{") - (char in "]}") for char in text), default=0)


def _in_quotes(line: re.Match[str]) -> str:
    """A line of front matter with its text in quotes.

    Many files of this kind are not quite YAML: a description with a colon in it, `tools: *`.
    """
    key, text = line.groups()
    is_quoted = text[0] in "\"'|>" or (text[0] == "[" and text[-1] == "]")
    return line.group() if is_quoted else f"{key}: {json.dumps(text, ensure_ascii=False)}"
