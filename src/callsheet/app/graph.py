"""The graph of a run, from its record alone: its calls, and which results had been seen when each was made.

A call can follow from nothing but what had been handed to its script by then. That is an order of intervals: each
call lasts from the delivery before it (`seen`) to its own (`delivered`), and one comes after another if it was made
when the other had been delivered. Edges are the least that say as much: what had been seen through another call is left
out. A nested script sees what its caller had seen when it began, and shows what it found when it is over.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Literal

from callsheet.app.records import Listed, milliseconds
from callsheet.model.dataclass import dataclass
from callsheet.model.values import JsonValue
from callsheet.store.record import CallLine, Record

MOST_EDGES = 20_000
"""Above it only those edges are given whose result led to the call."""

_NEVER = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A call.

    Attributes:
        seen: The place of the last delivery before it was made; None where the record does not say.
        context: Which script made it: 0 the run's own.
    """

    call: CallLine
    seen: int | None
    context: int

    @property
    def id(self) -> str:
        """Its agent's."""
        return self.call.agent_id

    @property
    def delivered(self) -> int:
        """The place at which its result was handed to its script; beyond all where it was not."""
        return _NEVER if self.call.delivered_seq is None else self.call.delivered_seq

    @property
    def duration_ms(self) -> int | None:
        """How long it was at work."""
        return milliseconds(self.call.timestamp_start, self.call.timestamp_end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The result of `source` had been seen when `target` was called.

    Attributes:
        kind: `led_to` where the call was made in the very turn in which the result was handed over.
    """

    source: str
    target: str
    kind: Literal["led_to", "seen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The calls of a run and what they had seen.

    Attributes:
        is_known: The record says what each call had seen; else there are no edges.
        left_out: How many edges there are besides, that would have been too many.
    """

    run: Listed
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    is_known: bool
    left_out: int


def graph_of(record: Record, run: Listed) -> Graph:
    """The graph of a run.

    Raises:
        StoreError: The record cannot be read.
    """
    said = {
        event.payload.get("agent_id"): event.payload for event in record.events(run.run_id, names=("agent.queued",))
    }
    nodes = []
    for call in record.calls(run.run_id):
        payload = said.get(call.agent_id, {})
        seen, context = payload.get("seen"), payload.get("context")
        nodes.append(
            Node(
                call=call,
                seen=seen if isinstance(seen, int) else None,
                context=context if isinstance(context, int) else 0,
            )
        )
    is_known = all(node.seen is not None for node in nodes)
    edges, left_out = _edges(nodes) if is_known else ((), 0)
    return Graph(run=run, nodes=tuple(nodes), edges=edges, is_known=is_known, left_out=left_out)


# --- edges ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A call of one script, or all of a script that it started.

    Attributes:
        first: The calls that others can lead to.
        last: The calls whose results others can have seen.
    """

    seen: int
    delivered: int
    first: Sequence[Node]
    last: Sequence[Node]


def _edges(nodes: Sequence[Node]) -> tuple[tuple[Edge, ...], int]:
    scripts: dict[int, list[Node]] = {}
    for node in nodes:
        scripts.setdefault(node.context, []).append(node)
    spans = {context: [_span(node) for node in made] for context, made in scripts.items()}
    own = spans.setdefault(0, [])
    own.extend(_whole(made) for context, made in scripts.items() if context != 0)
    found: list[Edge] = []
    count = 0
    for spans_of_script in spans.values():
        reach = _Reach(spans_of_script)
        for span in spans_of_script:
            for source in reach.before(span):
                for edge in _between(source, span):
                    count += 1
                    if edge.kind == "led_to" or count <= MOST_EDGES:
                        found.append(edge)
    if count <= MOST_EDGES:
        return tuple(found), 0
    kept = tuple(edge for edge in found if edge.kind == "led_to")
    return kept, count - len(kept)


def _span(node: Node) -> _Span:
    return _Span(seen=node.seen or 0, delivered=node.delivered, first=(node,), last=(node,))


def _whole(made: Sequence[Node]) -> _Span:
    """A nested script as one: from what its caller had seen to its last result."""
    begin = min(node.seen or 0 for node in made)
    results = sorted(node.delivered for node in made)
    latest = max(node.seen or 0 for node in made)
    return _Span(
        seen=begin,
        delivered=results[-1],
        first=[node for node in made if (node.seen or 0) < results[0]],
        last=[node for node in made if node.delivered > latest],
    )


class _Reach:
    """Finds what a span follows directly: of what had been delivered that which nothing delivered had seen."""

    def __init__(self, spans: Sequence[_Span]) -> None:
        self._spans = sorted((span for span in spans if span.delivered < _NEVER), key=lambda span: span.delivered)
        self._places = [span.delivered for span in self._spans]
        self._latest: list[int] = []  # the latest that any of the first n had seen
        latest = -1
        for span in self._spans:
            latest = max(latest, span.seen)
            self._latest.append(latest)

    def before(self, span: _Span) -> Sequence[_Span]:
        end = bisect_right(self._places, span.seen)
        if end == 0:
            return ()
        return self._spans[bisect_right(self._places, self._latest[end - 1]) : end]


def _between(source: _Span, target: _Span) -> Iterator[Edge]:
    for one in source.last:
        for other in target.first:
            kind: Literal["led_to", "seen"] = "led_to" if one.delivered == other.seen else "seen"
            yield Edge(source=one.id, target=other.id, kind=kind)


# --- public JSON ------------------------------------------------------------------------------------------------------


def graph_json(graph: Graph) -> dict[str, JsonValue]:
    """The graph as public JSON."""
    return {
        "run_id": graph.run.run_id,
        "workflow": graph.run.line.workflow,
        "status": graph.run.status,
        "edges_known": graph.is_known,
        "edges_left_out": graph.left_out,
        "nodes": [_node_json(node) for node in graph.nodes],
        "edges": [{"from": edge.source, "to": edge.target, "kind": edge.kind} for edge in graph.edges],
    }


def _node_json(node: Node) -> dict[str, JsonValue]:
    call = node.call
    return {
        "id": call.agent_id,
        "call": call.call,
        "label": call.label,
        "phase": call.phase,
        "workflow": call.workflow,
        "script": node.context,
        "status": call.status,
        "model": call.model,
        "backend": call.backend,
        "usage": {
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
            "cache_read_tokens": call.cache_read_tokens,
            "cache_write_tokens": call.cache_write_tokens,
            "cost_usd": call.cost_usd if call.attempts else 0.0,
        },
        "queued_at": call.timestamp_queued,
        "started_at": call.timestamp_start,
        "ended_at": call.timestamp_end,
        "duration_ms": node.duration_ms,
        "seen": node.seen,
        "delivered": call.delivered_seq,
    }
