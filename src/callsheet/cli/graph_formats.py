"""A run's graph as text for Mermaid and Graphviz; what agents and scripts wrote is only ever a label in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from callsheet.app.graph import Graph, Node
from callsheet.views.figures import duration, money, tokens
from callsheet.views.safe_text import one_line

MERMAID_EDGES = 500
"""Mermaid draws no more unless its page says so."""

_LABEL_CHARS = 60
_COLOURS = {"ok": "#d8f0d8", "running": "#d8e4f8", "queued": "#eeeeee"}
_BAD = "#f8d8d8"


def mermaid_lines(graph: Graph) -> Iterator[str]:
    """The graph as a Mermaid flowchart."""
    names = {node.id: f"n{number}" for number, node in enumerate(graph.nodes, 1)}
    yield "flowchart LR"
    yield from _grouped(
        graph.nodes,
        begin=lambda number, title: f'subgraph g{number}["{_mermaid(title)}"]',
        node=lambda node: f'{names[node.id]}["{_mermaid(_title(node))}<br/>{_mermaid(_figures(node))}"]',
        end="end",
    )
    drawn = graph.edges
    if len(drawn) > MERMAID_EDGES:
        drawn = tuple(edge for edge in drawn if edge.kind == "led_to")
        yield f"  %% {len(graph.edges) - len(drawn)} edges to what had only been seen are left out"
    for edge in drawn:
        arrow = "-->" if edge.kind == "led_to" else "-.->"
        yield f"  {names[edge.source]} {arrow} {names[edge.target]}"
    for status, colour in {node.call.status: _colour(node) for node in graph.nodes}.items():
        members = ",".join(names[node.id] for node in graph.nodes if node.call.status == status)
        yield f"  classDef {_word(status)} fill:{colour}"
        yield f"  class {members} {_word(status)}"


def dot_lines(graph: Graph) -> Iterator[str]:
    """The graph in Graphviz's language."""
    yield f"digraph {_quoted(graph.run.run_id)} {{"
    yield '  rankdir=LR; node [shape=box, style="rounded,filled", fontname="sans-serif"];'
    yield from _grouped(
        graph.nodes,
        begin=lambda number, title: f"subgraph cluster_{number} {{ label={_quoted(title)};",
        node=lambda node: (
            f"{_quoted(node.id)} [label={_quoted(_title(node), _figures(node))}, fillcolor={_quoted(_colour(node))}];"
        ),
        end="}",
    )
    for edge in graph.edges:
        style = "" if edge.kind == "led_to" else " [style=dotted]"
        yield f"  {_quoted(edge.source)} -> {_quoted(edge.target)}{style};"
    yield "}"


def _grouped(
    nodes: Sequence[Node], *, begin: Callable[[int, str], str], node: Callable[[Node], str], end: str
) -> Iterator[str]:
    """The nodes in the groups of their phases, those in the groups of the nested workflows that they belong to."""
    groups: dict[tuple[int, str | None], dict[str | None, list[Node]]] = {}
    for each in nodes:
        phases = groups.setdefault((each.context, each.call.workflow), {})
        phases.setdefault(each.call.phase, []).append(each)
    number = 0
    for (_, workflow), phases in groups.items():
        depth = "  "
        if workflow is not None:
            number += 1
            yield f"  {begin(number, f'▸ {one_line(workflow, _LABEL_CHARS)}')}"
            depth = "    "
        for phase, members in phases.items():
            inner = depth
            if phase is not None:
                number += 1
                yield f"{depth}{begin(number, one_line(phase, _LABEL_CHARS))}"
                inner += "  "
            yield from (f"{inner}{node(each)}" for each in members)
            if phase is not None:
                yield f"{depth}{end}"
        if workflow is not None:
            yield f"  {end}"


def _title(node: Node) -> str:
    return f"{one_line(node.id, _LABEL_CHARS)} {one_line(node.call.label, _LABEL_CHARS)}"


def _figures(node: Node) -> str:
    call = node.call
    parts = [one_line(call.status, _LABEL_CHARS), f"{tokens(call.input_tokens + call.output_tokens)} tokens"]
    if node.duration_ms is not None:
        parts.append(duration(node.duration_ms / 1000))
    if call.attempts:
        parts.append(money(call.cost_usd))
    return " · ".join(parts)


def _colour(node: Node) -> str:
    return _COLOURS.get(node.call.status, _BAD)


def _word(status: str) -> str:
    return "s_" + "".join(char if char.isascii() and char.isalnum() else "_" for char in status)


def _mermaid(text: str) -> str:
    """A text inside a quoted label: everything that Mermaid, Markdown or HTML would take for more is its number."""
    return "".join(char if char.isalnum() or char in " .,:·-_▸/()…" else f"#{ord(char)};" for char in text)


def _quoted(*lines: str) -> str:
    r"""A text as a quoted string of DOT, its lines apart."""
    # Graphviz takes `&lt;` and the like in a label for the character they name.
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"' + "\\n".join(escaped) + '"'
