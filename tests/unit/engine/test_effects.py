"""Recorded outcomes whose files are other now: of agents asked anew, and of anyone else since the run stopped."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from callsheet.engine.effects import Effects, PutBack, known_files
from callsheet.model.outcome import AgentOutcome, AgentWorktree
from callsheet.model.past import PastAgent, ReuseMode
from tests.support.fake_backend import FakeBackend, ok
from tests.support.fake_session import Js
from tests.support.memory_store import MemoryStore
from tests.support.resuming import asked, past_of, resumed
from tests.unit.engine.stage import play

pytestmark = [pytest.mark.anyio, pytest.mark.contract("R03")]

LOST = AgentOutcome(status="failed", error="no", files_changed=("a.py",))


def did(label: str, *, read: tuple[str, ...] = (), changed: tuple[str, ...] = (), tools: tuple[str, ...] = ()) -> Any:
    return AgentOutcome(
        status="ok", value=label, usage=ok().usage, files_read=read, files_changed=changed, tools_called=tools
    )


async def chain(js: Js) -> Any:
    """A writer, and after it four that look at what there is."""
    await js.agent("write", label="writer", **WRITER)
    return await js.all(*[js.agent(f"look {name}", label=name, **more) for name, more in LOOKERS.items()])


WRITER: dict[str, Any] = {}
LOOKERS: dict[str, dict[str, Any]] = {
    "reader": {},
    "other": {},
    "tester": {},
    "scoped": {"scope": ["docs/**"]},
}
OUTCOMES = {
    "reader": did("reader", read=("a.py",)),
    "other": did("other", read=("b.py",), changed=("c.py",)),
    "tester": did("tester", tools=("read", "bash")),
    "scoped": did("scoped", tools=("bash",)),
}


async def after_a_live_writer(outcome: AgentOutcome, *, reuse: ReuseMode = "unchanged") -> list[str]:
    """Who is asked when the writer failed at first, and ends so now."""
    store = MemoryStore()
    await play(chain, store=store, backend=FakeBackend(outcomes={"writer": LOST, **OUTCOMES}))
    again = FakeBackend(outcomes={"writer": outcome, **OUTCOMES})
    return asked(await resumed(chain, store, backend=again, reuse=reuse))


async def test_who_read_or_changed_what_a_live_agent_has_changed_before_is_asked_anew() -> None:
    labels = await after_a_live_writer(did("writer", changed=("a.py",)))
    assert labels == ["reader", "tester", "writer"]


async def test_a_live_agent_that_changed_nothing_leaves_all_answers_as_they_are() -> None:
    assert await after_a_live_writer(did("writer", read=("a.py",))) == ["writer"]


async def test_reuse_all_looks_at_no_file() -> None:
    labels = await after_a_live_writer(did("writer", changed=("a.py",)), reuse="all")
    assert labels == ["writer"]


@pytest.mark.parametrize(("merged", "labels"), [(False, ["writer"]), (True, ["reader", "tester", "writer"])])
async def test_of_a_worktree_only_what_was_merged_counts(
    monkeypatch: pytest.MonkeyPatch, merged: bool, labels: list[str]
) -> None:
    monkeypatch.setitem(WRITER, "isolation", "worktree")
    outcome = AgentOutcome(
        status="ok", value="w", files_changed=("a.py",), worktree=AgentWorktree(branch="b", merged=merged)
    )
    backends = [FakeBackend(outcomes={"writer": each, **OUTCOMES}, needs_workspace=False) for each in (LOST, outcome)]
    store = MemoryStore()
    await play(chain, store=store, backend=backends[0])
    assert asked(await resumed(chain, store, backend=backends[1])) == labels


async def test_calls_made_before_the_live_outcome_was_delivered_keep_their_answers() -> None:
    async def together(js: Js) -> Any:
        return await js.all(js.agent("write", label="writer"), js.agent("look", label="reader"))

    store = MemoryStore()
    await play(together, store=store, backend=FakeBackend(outcomes={"writer": LOST, **OUTCOMES}))
    again = FakeBackend(outcomes={"writer": did("writer", changed=("a.py",)), **OUTCOMES})
    assert asked(await resumed(together, store, backend=again)) == ["writer"]


@pytest.mark.parametrize(
    ("changed", "labels"),
    [
        ({"a.py"}, ["reader", "tester"]),
        ({"c.py"}, ["other", "tester"]),
        ({"docs/x.md"}, ["scoped", "tester"]),
        (set(), []),
    ],
)
async def test_what_anyone_else_changed_since_counts_in_the_same_way(changed: set[str], labels: list[str]) -> None:
    store = MemoryStore()
    await play(chain, store=store, backend=FakeBackend(outcomes=OUTCOMES))
    again = await resumed(chain, store, backend=FakeBackend(outcomes=OUTCOMES), changed_since=changed)
    assert asked(again) == labels
    report = again.result.resumed
    assert report is not None
    assert all("changed since the run stopped" in (call.why or "") for call in report.calls if not call.reused)


async def test_what_is_gone_and_can_be_put_back_is_no_reason_to_ask_anew() -> None:
    """Who changed it has it put back, and who reads it after that finds it as it was."""
    store = MemoryStore()
    outcomes = {**OUTCOMES, "writer": did("writer", changed=("a.py",))}
    await play(chain, store=store, backend=FakeBackend(outcomes=outcomes))
    tried: list[tuple[str, frozenset[str]]] = []

    async def restore(agent: PastAgent, paths: frozenset[str]) -> PutBack | None:
        tried.append((agent.label, paths))
        return PutBack(written=("a.py",), whole=paths) if agent.label == "writer" else None

    again = await resumed(chain, store, changed_since=["a.py"], restore=restore)
    assert asked(again) == []
    assert tried == [("writer", frozenset({"a.py"}))]
    assert 'what agent "writer" (a0001) had changed was gone, and was put back: a.py' in again.lines

    nobody = await resumed(chain, store, changed_since=["b.py"], restore=restore)
    assert asked(nobody) == ["other", "tester"]


async def test_a_run_stopped_while_files_are_put_back_says_what_was_and_takes_the_call_no_more() -> None:
    store = MemoryStore()
    await play(chain, store=store, backend=FakeBackend(outcomes={"writer": did("writer", changed=("a.py",))}))
    writer = past_of(store).agents[0]
    told: list[tuple[str, ...]] = []
    effects = Effects(["a.py"])
    effects.tell = lambda agent, paths: told.append(paths)

    with anyio.CancelScope() as scope:

        async def restore(agent: PastAgent, paths: frozenset[str]) -> PutBack | None:
            scope.cancel()
            return PutBack(written=("a.py",), whole=paths)

        effects.restore = restore
        await effects.why_not(writer, None)

    assert scope.cancelled_caught
    assert told == [("a.py",)]


@pytest.mark.parametrize("merged", [True, False])
async def test_of_an_agent_in_a_worktree_what_was_merged_is_marked(merged: bool) -> None:
    tree = AgentWorktree(merged=merged)
    outcome = AgentOutcome(status="ok", files_read=("r.py",), files_changed=("a.py",), worktree=tree)
    assert known_files(outcome, is_apart=True) == (("a.py",) if merged else ())
    assert known_files(outcome, is_apart=False) == ("a.py", "r.py")
