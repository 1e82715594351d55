"""What stands in two places is the same in both: counts, option names, the author's types."""

from __future__ import annotations

import math
import re

import pytest
import tree_sitter
import tree_sitter_typescript

from callsheet.model import counts
from callsheet.model.call import EFFORTS, OPTION_NAMES
from callsheet.model.outcome import AGENT_STATUSES
from callsheet.sandbox.process import runtime_folder
from tests.support.drive import drive

RUNTIME = {path.name: path.read_text(encoding="utf-8") for path in runtime_folder().iterdir()}
SCRIPTS = {name: text for name, text in RUNTIME.items() if name.endswith(".js")}


@pytest.mark.contract("L03")
def test_the_counts_of_the_runtime_are_those_of_the_host() -> None:
    found = {
        name: math.prod(int(factor) for factor in value.split("*"))
        for text in SCRIPTS.values()
        for name, value in re.findall(r"^  const (MAX_[A-Z_]+) = ([\d_ *]+)$", text, re.MULTILINE)
    }
    shared = {name: value for name, value in vars(counts).items() if name.startswith("MAX_")}
    assert {name: found.get(name, value) for name, value in shared.items()} == shared
    assert set(shared) - set(found) == {"MAX_CONTEXTS", "MAX_SCHEMA_BYTES", "MAX_SCHEMA_DEPTH"}


@pytest.mark.contract("A07", "A14")
def test_the_option_names_of_the_runtime_and_of_the_types_are_those_of_the_model() -> None:
    (listed,) = re.findall(r"const OPTION_NAMES = \[(.*?)\]", SCRIPTS["20-calls.js"], re.DOTALL)
    assert tuple(re.findall(r"'(\w+)'", listed)) == OPTION_NAMES
    (options,) = re.findall(r"interface AgentOptions \{(.*?)^\}", RUNTIME["workflow.d.ts"], re.DOTALL | re.MULTILINE)
    assert sorted(re.findall(r"^  (\w+)\?:", options, re.MULTILINE)) == sorted(OPTION_NAMES)
    assert " | ".join(f"'{effort}'" for effort in EFFORTS) in options
    assert " | ".join(f"'{status}'" for status in AGENT_STATUSES) in RUNTIME["workflow.d.ts"]


def test_the_types_parse_and_no_line_is_long() -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_typescript.language_typescript()))
    assert not parser.parse(RUNTIME["workflow.d.ts"].encode()).root_node.has_error
    assert [
        (name, number)
        for name, text in RUNTIME.items()
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > 120
    ] == []


@pytest.mark.anyio
async def test_the_types_declare_what_is_there_and_nothing_else() -> None:
    declared = set(re.findall(r"^declare (?:function|const|class) (\w+)", RUNTIME["workflow.d.ts"], re.MULTILINE))
    driven = await drive("return Object.getOwnPropertyNames(globalThis)")
    assert isinstance(driven.result, list)
    assert declared <= set(driven.result)
    ours = set(re.findall(r"rt\.expose\('(\w+)'", "".join(SCRIPTS.values()))) | {
        "agent",
        "spawnAgent",
        "workflow",
        "log",
        "phase",
    }
    assert declared == ours | {"args", "meta", "queueMicrotask"}
