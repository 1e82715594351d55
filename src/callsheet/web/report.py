"""A run as one HTML file: the page of `callsheet serve` with the run's record in it. Nothing of it needs a network.

What is long is cut, and says so: each agent's page gets its share of the bytes that there are, the small ones whole.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from callsheet import __version__
from callsheet.app.agent_page import agent_page, agent_page_json
from callsheet.app.graph import graph_json, graph_of
from callsheet.app.records import Listed
from callsheet.app.watching import recorded_board
from callsheet.store.record import Record
from callsheet.views.figures import size
from callsheet.views.safe_text import one_line
from callsheet.web.bundle import embedded_json, page_with
from callsheet.web.cutting import cut_page, cut_text, fair_share, keep_last
from callsheet.web.shown import shown_json

LIMIT_BYTES = 1_000_000
"""A report is no larger, up to some hundreds of agents; beyond, their lines alone need more."""
_LEAST_FOR_PAGES_BYTES = 200_000
_LEAST_PAGE_BYTES = 900
_RESULT_BYTES = 150_000
_LOG_BYTES = 100_000
_WORDS_CHARS = 2_000
_SEEN_EACH = 60
_KEPT_BYTES = 32_000_000
"""So much of the agents' pages stays in memory between measuring and cutting them; the rest is read twice."""


def report_html(record: Record, run: Listed, *, written_at: str, limit_bytes: int = LIMIT_BYTES) -> str:
    """The report of a run, whatever became of it; of one that goes on, as things stand.

    Args:
        record: The record.
        run: The run.
        written_at: Now, ISO 8601 UTC: where a run that goes on is cut off.
        limit_bytes: What it may take, where its agents are not too many for that.

    Raises:
        NotFoundError: The run is gone.
        StoreError: The record cannot be read.
    """
    board = _board(record, run)
    data: dict[str, Any] = {
        "version": __version__,
        "written_at": written_at,
        "board": board,
        "graph": _graph(record, run),
        "agents": {},
    }
    title = one_line(f"{board['workflow'] or run.run_id} · Callsheet", 200)
    taken = len(page_with(data, title=title).encode())
    data["agents"] = _pages(record, run, limit_bytes - taken)
    return page_with(data, title=title)


def _board(record: Record, run: Listed) -> dict[str, Any]:
    """The board, without what the agents' pages say besides, and with long things cut."""
    said: Any = shown_json(recorded_board(record, run))
    board: dict[str, Any] = said
    if not board["run_id"]:  # it was refused, or ended before it said anything
        board |= {"run_id": run.run_id, "workflow": run.line.workflow or "", "status": run.status}
        board |= {"started_at": run.line.started_at, "ended_at": run.line.ended_at}
    for agent in board["agents"]:
        agent["files_changed"] = []
        agent["error"] = cut_text(agent["error"], _WORDS_CHARS)
        for sent in agent["messages"]:
            sent["text"] = cut_text(sent["text"], _WORDS_CHARS)
    for line in board["log"]:
        line["message"] = cut_text(line["message"], _WORDS_CHARS)
    board["log"] = keep_last(board["log"], _LOG_BYTES)
    result = board["result"]
    if result is not None:
        _cut_result(result, run.run_id)
    places = {phase["key"]: phase["place"] for phase in board["phases"]}
    board["agents"] = [_short_row(agent, places) for agent in board["agents"]]
    return board


def _short_row(agent: dict[str, Any], places: dict[str, int]) -> dict[str, Any]:
    """An agent's line without what is as with most: the page fills it in."""
    usage = {name: number for name, number in agent.pop("usage").items() if number or name == "cost_usd"}
    phase = places[agent.pop("phase_key")]
    del agent["phase"], agent["workflow"]
    return {name: value for name, value in agent.items() if value} | {"usage": usage, "phase_place": phase}


def _cut_result(result: dict[str, Any], run_id: str) -> None:
    for problem in result["problems"]:
        problem["message"] = cut_text(problem["message"], _WORDS_CHARS)
    for denial in result["denials"]:
        denial["input"] = cut_text(denial["input"], _WORDS_CHARS)
    if result["changes"]:
        result["changes"] = result["changes"][:500]
    result["resumed"] = None
    result["result"] = result.pop("text", result["result"])
    text = embedded_json(result["result"])
    if len(text.encode()) > _RESULT_BYTES:
        shown = result["result"] if isinstance(result["result"], str) else text
        result["result"] = cut_text(shown, _RESULT_BYTES // 4)
        result["cut"] = {
            "what": f"The result is long ({size(len(text))}): this is its beginning.",
            "see": f"callsheet show {run_id} --json",
        }


def _graph(record: Record, run: Listed) -> dict[str, Any]:
    """The graph, as little of it as the layout needs: lines by the places of their nodes."""
    whole: Any = graph_json(graph_of(record, run))
    nodes: Any = whole["nodes"]
    place = {node["id"]: at for at, node in enumerate(nodes)}
    kinds = [(node["script"], node["phase"], str(node["label"]).partition(":")[0]) for node in nodes]
    seen: dict[Any, int] = {}
    edges = []
    for edge in whole["edges"]:
        source, target = place[edge["from"]], place[edge["to"]]
        kind = (kinds[source], kinds[target])
        led = edge["kind"] == "led_to"
        if not led:  # siblings of one kind are one node: a few of their lines tell as much as all
            seen[kind] = seen.get(kind, 0) + 1
        if led or seen[kind] <= _SEEN_EACH:
            edges.append([source, target, int(led)])
    return {
        "edges_known": whole["edges_known"],
        "edges_left_out": whole["edges_left_out"],
        "nodes": [[node["id"], node["script"]] for node in nodes],  # the board says the rest
        "edges": edges,
    }


def _pages(record: Record, run: Listed, free_bytes: int) -> dict[str, Any]:
    """The agents' pages, in as many bytes as there are; what does not fit is cut, the largest first."""
    names = [call.agent_id for call in record.calls(run.run_id)]
    free = max(free_bytes - free_bytes // 50, _LEAST_FOR_PAGES_BYTES)  # what stands for secrets may be longer

    def read(name: str) -> dict[str, Any]:
        return _slim(agent_page_json(agent_page(record, run.run_id, name)))

    sizes: dict[str, int] = {}
    kept: dict[str, dict[str, Any]] = {}
    room = _KEPT_BYTES
    for name in names:
        whole = read(name)
        sizes[name] = _bytes(name, whole)
        room -= sizes[name]
        if room > 0:
            kept[name] = whole
    share = fair_share(list(sizes.values()), free)
    if share is not None and share < _LEAST_PAGE_BYTES:
        bad = {call.agent_id for call in record.calls(run.run_id) if call.status != "ok"}
        first = sorted(names, key=lambda name: name not in bad)
        names = sorted(first[: free // _LEAST_PAGE_BYTES])
        share = fair_share([sizes[name] for name in names], free)
    found = {}
    for name in names:
        page = kept.pop(name, None) or read(name)
        if share is not None and _bytes(name, page) > share:
            see = f"callsheet show {run.run_id} {name} --full"
            page = cut_page(page, share, see=see, whole=sizes[name], measure=partial(_bytes, name))
        found[name] = page
    return found


def _slim(page: dict[str, Any]) -> dict[str, Any]:
    """An agent's page without what its line on the board says."""
    names = ("agent_id", "prompt", "options", "mode", "result", "files_read", "files_changed", "messages", "tools")
    slim = {name: page[name] for name in names}
    for message in slim["messages"]:
        message["parts"] = [{name: value for name, value in part.items() if value} for part in message["parts"]]
    return slim


def _bytes(name: str, page: dict[str, Any]) -> int:
    return len(embedded_json(page).encode()) + len(name) + 4
