"""The graph of a run: which results had been seen when a call was made, for records of any shape."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from callsheet.app.graph import MOST_EDGES, Graph, graph_json, graph_of
from callsheet.app.records import Listed
from callsheet.cli.graph_formats import dot_lines, mermaid_lines
from callsheet.model.records import EventRow, Row
from callsheet.store.record import open_record
from callsheet.store.sqlite import open_store
from tests.support.deadline import within
from tests.support.store_rows import AT, RUN_ID, agent_row, delivered_row, run_row

pytestmark = pytest.mark.anyio

Made = tuple[int | None, int | None, int]
"""Of a call: what had been delivered before it, its own place (None: never), and the script that made it."""


def rows_of(calls: Sequence[Made], **fields: Any) -> list[Row]:
    rows: list[Row] = [run_row()]
    for number, (seen, delivered, context) in enumerate(calls, 1):
        rows.append(
            agent_row(number, **{"status": "ok", "workflow": f"nested {context}" if context else None, **fields})
        )
        queued = {"agent_id": f"a{number:04}", **({} if seen is None else {"seen": seen, "context": context})}
        rows.append(EventRow(run_id=RUN_ID, seq=number, at=AT, event="agent.queued", payload=json.dumps(queued)))
        if delivered is not None:
            rows.append(delivered_row(number, delivered_seq=delivered))
    return rows


async def graph(folder: Path, calls: Sequence[Made], **fields: Any) -> Graph:
    path = folder / "callsheet.db"
    with within():
        async with open_store(path) as store:
            await store.write(rows_of(calls, **fields), durable=True)
    with open_record(path) as record:
        (line,) = record.runs()
        return graph_of(record, Listed(line=line, status="completed"))


def edges(found: Graph) -> set[tuple[int, int, str]]:
    return {(int(edge.source[1:]), int(edge.target[1:]), edge.kind) for edge in found.edges}


async def test_calls_that_are_made_at_once_have_no_edges(tmp_path: Path) -> None:
    assert edges(await graph(tmp_path, [(0, 1, 0), (0, 3, 0), (0, 2, 0)])) == set()


async def test_a_call_after_a_barrier_has_an_edge_from_each_result_and_one_led_to_it(tmp_path: Path) -> None:
    found = await graph(tmp_path, [(0, 2, 0), (0, 1, 0), (0, 3, 0), (3, 4, 0)])

    assert edges(found) == {(1, 4, "seen"), (2, 4, "seen"), (3, 4, "led_to")}


async def test_what_was_seen_through_another_call_has_no_edge_of_its_own(tmp_path: Path) -> None:
    found = await graph(tmp_path, [(0, 1, 0), (1, 2, 0), (2, 3, 0)])

    assert edges(found) == {(1, 2, "led_to"), (2, 3, "led_to")}


async def test_a_result_that_never_reached_the_script_led_to_nothing(tmp_path: Path) -> None:
    assert edges(await graph(tmp_path, [(0, None, 0), (0, 1, 0), (1, 2, 0)])) == {(2, 3, "led_to")}


async def test_a_nested_script_sees_what_its_caller_had_and_shows_what_it_found_when_it_is_over(tmp_path: Path) -> None:
    calls = [
        (0, 1, 0),  # 1 the caller's
        (1, 2, 1),  # 2 and 3 of the nested script
        (2, 4, 1),
        (1, 3, 0),  # 4 beside it
        (3, 5, 0),  # 5 of the caller while the nested one is at work
        (5, 6, 0),  # 6 when it is over
    ]

    found = edges(await graph(tmp_path, calls))

    assert found == {
        (1, 2, "led_to"),
        (2, 3, "led_to"),
        (1, 4, "led_to"),
        (4, 5, "led_to"),
        (3, 6, "seen"),
        (5, 6, "led_to"),
    }


async def test_two_nested_scripts_at_work_at_once_see_nothing_of_each_other(tmp_path: Path) -> None:
    found = await graph(tmp_path, [(0, 1, 1), (0, 2, 2), (1, 3, 1), (2, 4, 2)])

    assert edges(found) == {(1, 3, "led_to"), (2, 4, "led_to")}


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_was_delivered_before_a_call_and_nothing_else_leads_to_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    size = 30
    places = chance.sample(range(1, 2 * size), size)
    calls: list[Made] = [(chance.randrange(place), None if chance.random() < 0.1 else place, 0) for place in places]

    found = await graph(tmp_path, calls)

    ahead: dict[int, set[int]] = {number: set() for number in range(1, size + 1)}
    for source, target, _ in edges(found):
        ahead[target].add(source)
    for target in range(1, size + 1):
        reached, todo = set[int](), list(ahead[target])
        while todo:
            one = todo.pop()
            if one not in reached:
                reached.add(one)
                todo.extend(ahead[one])
        seen = calls[target - 1][0] or 0
        assert reached == {number for number, (_, place, _) in enumerate(calls, 1) if place and place <= seen}
        for source in ahead[target]:  # none of them is there through another
            assert not any(source in ahead[other] for other in ahead[target])


async def test_an_older_record_gives_its_calls_and_says_that_the_edges_are_not_known(tmp_path: Path) -> None:
    found = await graph(tmp_path, [(None, 1, 0), (None, 2, 0)])

    assert (len(found.nodes), found.edges, found.is_known) == (2, (), False)
    assert graph_json(found)["edges_known"] is False


async def test_a_thousand_calls_take_less_than_a_second_and_their_edges_are_bounded(tmp_path: Path) -> None:
    finds: list[Made] = [(0, place, 0) for place in range(1, 501)]
    doubts: list[Made] = [(place, 500 + place, 0) for place in range(1, 501)]

    path = tmp_path / "callsheet.db"
    with within():
        async with open_store(path) as store:
            await store.write(rows_of([*finds, *doubts]), durable=True)
    began = time.process_time()
    with open_record(path) as record:
        (line,) = record.runs()
        found = graph_of(record, Listed(line=line, status="completed"))
        text = json.dumps(graph_json(found))
        list(mermaid_lines(found))
        list(dot_lines(found))
    assert time.process_time() - began < 1.0

    assert 500 <= len(found.edges) <= MOST_EDGES
    assert len(found.edges) + found.left_out == 500 * 501 // 2
    assert len(text) < 1_000_000


EVIL = 'x"]; a --> b %% <script>alert(1)</script> `code` \\N \x1b[31m \u202e\nend"]\nclick a callback'


async def test_a_label_stays_a_label_in_mermaid(tmp_path: Path) -> None:
    found = await graph(tmp_path, [(0, 1, 0), (1, 2, 0)], label=EVIL, phase=EVIL)

    lines = list(mermaid_lines(found))

    shape = re.compile(
        r'flowchart LR|  subgraph g\d+\["[^"<>`\[\]\\]*"\]|    n\d+\["[^"<>`\[\]\\]*<br/>[^"<>`\[\]\\]*"\]|  end'
        r"|  n1 --> n2|  classDef s_ok fill:#d8f0d8|  class n1,n2 s_ok"
    )
    assert all(shape.fullmatch(line) for line in lines), lines


async def test_a_label_stays_a_label_in_dot(tmp_path: Path) -> None:
    found = await graph(tmp_path, [(0, 1, 0)], label=EVIL, phase=EVIL)

    text = "\n".join(dot_lines(found))

    strings = re.findall(r'"(?:[^"\\\n]|\\.)*"', text)
    rest = re.sub(r'"(?:[^"\\\n]|\\.)*"', "S", text)
    assert any("a --> b" in string for string in strings)
    assert rest == (
        "digraph S {\n  rankdir=LR; node [shape=box, style=S, fontname=S];\n"
        "  subgraph cluster_1 { label=S;\n    S [label=S, fillcolor=S];\n  }\n}"
    )
    assert "\x1b" not in text and "\u202e" not in text


_STRING = r'"(?:[^"\\\n&]|\\.|&amp;)*"'
_DOT_LINES = re.compile(
    rf"digraph {_STRING} \{{"
    rf"|  rankdir=LR; node \[shape=box, style={_STRING}, fontname={_STRING}\];"
    rf"|(?:  |    )subgraph cluster_\d+ \{{ label={_STRING};"
    rf"| +{_STRING} \[label={_STRING}, fillcolor={_STRING}\];"
    rf"|  {_STRING} -> {_STRING}(?: \[style=dotted\])?;"
    r"| *\}"
)


async def test_every_line_of_a_graph_is_of_dots_grammar_whatever_agents_were_called(tmp_path: Path) -> None:
    for number, label in enumerate(
        (EVIL, "&lt;b&gt; & <b>", "\\", '"', "\\N\\G\\l", "{a|<p>b}", "ünï → 漢字", "\x00\x85\u2028")
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = await graph(folder, [(0, 1, 0), (1, 2, 1), (1, 3, 1), (3, 4, 0)], label=label, phase=label)
        lines = list(dot_lines(found))
        assert all(_DOT_LINES.fullmatch(line) for line in lines), lines
        assert sum(line.count("{") - line.count("}") for line in map(_without_strings, lines)) == 0
        assert sum("->" in _without_strings(line) for line in lines) == len(found.edges) > 0


def _without_strings(line: str) -> str:
    return re.sub(_STRING, "S", line)
