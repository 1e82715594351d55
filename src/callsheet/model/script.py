"""A script that was read: its meta, its body, and what a reader of it found."""

from __future__ import annotations

from typing import Literal

from callsheet.model.counts import MAX_SCRIPT_BYTES as MAX_SCRIPT_BYTES
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredPhase:
    """One entry of `meta.phases` (CONTRACT S03). `model` is shown and routes nothing."""

    title: str
    detail: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """The `export const meta` of a script, read without running it (CONTRACT S02, S03).

    Attributes:
        value: The whole literal, unknown keys kept.
    """

    name: str
    description: str
    when_to_use: str | None
    phases: tuple[DeclaredPhase, ...]
    value: dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script ready for the sandbox. That its syntax is right is not yet known: the engine's compile says so.

    Attributes:
        origin: The path or name as the caller gave it; `-` for standard input.
        path: The file's absolute path, or None where the text did not come from a file.
        text: The file as written, decoded, without a byte-order mark.
        body: `text` with a `#!` line and the meta statement replaced by spaces, line ends kept, so that every line and
            column in it is that of the file as written.
        sha256: Hex digest of the file's bytes.
    """

    origin: str
    path: str | None
    text: str
    body: str
    meta: Meta
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that the reader or the checker has to say about a script.

    Attributes:
        code: A stable short name, for instance `meta-not-literal`; `contract` is the line it stands for.
        message: What is wrong and what to do, in one or two sentences.
        source_line: The line as written, for showing with a caret; None where there is none.
    """

    severity: Literal["error", "warning"]
    code: str
    contract: str
    message: str
    place: Place | None = None
    source_line: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteralUse:
    """Something that a script says literally and that can be tried before any money is spent.

    Attributes:
        kind: What sort of name or value it is.
        value: The literal: a name for most kinds, the JSON Schema for `schema`.
    """

    kind: Literal["model", "agent_type", "effort", "isolation", "workflow", "schema"]
    value: JsonValue
    place: Place
