"""A replay of a record comes to what the run came to, and every edit of a call is named."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import callsheet
from tests.support.deadline import within
from tests.support.examples import times

META = "export const meta = { name: 'case', description: 'a case' }"
SUB = """export const meta = { name: 'sub', description: 'below' }
log('below', args)
return [await agent('below ' + args), await agent('refused', { agentType: 'nobody' }).catch(error => error.message)]
"""
HEAD = """const seen = []
const safe = promise => promise.catch(error => `${error.name}: ${error.message}`)
const state = () => `${seen.length} ${Date.now()} ${budget.spent()} ${Math.random()} ${JSON.stringify(seen).length}`
"""

OPTIONS = ("{}", "{ settle: true }", "{ label: 'a label' }", "{ phase: 'Later', effort: 'low' }", "{ schema: SCHEMA }")
SCHEMA = "{ type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }"


@dataclass(frozen=True)
class Step:
    """One line of a script.

    Attributes:
        line: With `WORD` where the text stands that an edit changes; without where it asks nobody.
    """

    line: str

    @property
    def asks(self) -> bool:
        return "WORD" in self.line


def steps() -> st.SearchStrategy[Step]:
    options = st.sampled_from(OPTIONS).map(lambda text: text.replace("SCHEMA", SCHEMA))
    lines = st.one_of(
        options.map(lambda text: f"seen.push(await safe(agent(`WORD ${{state()}}`, {text})))"),
        st.integers(1, 5).map(
            lambda n: f"seen.push(await parallel([...Array({n}).keys()].map(i => () => agent('WORD ' + i % 3))))"
        ),
        options.map(
            lambda text: (
                "seen.push(await pipeline([1, 2, 3], i => agent('WORD' + i), "
                f"(was, i) => agent(`${{was}} ${{i}}`, {text})))"
            )
        ),
        st.just("seen.push(await Promise.race([1, 2].map(i => safe(agent('WORD ' + i)))))"),
        st.just("seen.push(await safe(agent('WORD', { agentType: 'nobody' })))"),
        st.integers(0, 4).map(lambda ms: f"await new Promise(done => setTimeout(done, {ms})); seen.push(Date.now())"),
        st.just("log(state()); phase('at ' + seen.length)"),
        st.just("seen.push(await safe(workflow('sub', seen.length)))"),
        st.just("seen.push(await safe(workflow('nothing')))"),
    )
    return lines.map(Step)


def answers() -> st.SearchStrategy[dict[str, Any]]:
    """An answers file, without what depends on which agent is at work first."""
    delays = st.sampled_from([0, 0, 1, 4])
    fails = st.builds(
        lambda n, ms: {"prompt": str(n), "error": "it does not work", "status": "failed", "delay_ms": ms},
        st.integers(0, 3),
        delays,
    )
    slow = st.builds(lambda n, ms: {"prompt": str(n), "result": f"said {n}", "delay_ms": ms}, st.integers(0, 3), delays)
    return st.lists(st.one_of(fails, slow), max_size=4).map(lambda all_: {"answers": all_, "otherwise": "synthetic"})


@dataclass(frozen=True)
class Case:
    steps: list[Step]
    answers: dict[str, Any]
    budget: int | None
    throws: bool

    def script(self, edited: int | None = None) -> str:
        lines = [
            step.line.replace("WORD", "edited" if at == edited else f"do {at}") for at, step in enumerate(self.steps)
        ]
        end = "throw new Error('at the end ' + state())" if self.throws else "return [seen, state()]"
        return "\n".join([META, HEAD.rstrip("\n"), *lines, end]) + "\n"

    def line_of(self, step: int) -> int:
        return 2 + HEAD.count("\n") + step


CASES = st.builds(
    Case,
    steps=st.lists(steps(), min_size=1, max_size=6),
    answers=answers(),
    budget=st.sampled_from([None, None, 120, 400]),
    throws=st.booleans(),
)


async def _run_and_replay(folder: Path, case: Case, edited: int | None) -> None:
    (folder / ".claude" / "workflows").mkdir(parents=True)
    (folder / ".claude" / "workflows" / "sub.js").write_text(SUB, encoding="utf-8")
    (folder / "case.js").write_text(case.script(), encoding="utf-8")
    (folder / "answers.json").write_text(json.dumps(case.answers), encoding="utf-8")
    live = await callsheet.run(
        folder / "case.js", workspace=folder, backend=f"scripted:{folder / 'answers.json'}", budget=case.budget
    )
    (folder / ".claude" / "workflows" / "sub.js").unlink()  # the record has it

    again = await callsheet.replay(live.run_id, workspace=folder)
    assert again.status == "same", again
    assert again.result == live.result
    assert (again.error and again.error.message) == (live.error and live.error.message)

    if edited is not None:
        (folder / "edited.js").write_text(case.script(edited), encoding="utf-8")
        other = await callsheet.replay(live.run_id, workspace=folder, script=folder / "edited.js")
        assert other.status == "differs"
        assert other.differences[0].line == case.line_of(edited), other.differences
        assert "edited" in str(other.differences[0].now)


@pytest.mark.contract("R02", "R08", "D04")
@settings(max_examples=times(10), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=CASES, data=st.data())
def test_a_replay_comes_to_what_the_run_came_to_and_an_edit_is_always_named(case: Case, data: st.DataObject) -> None:
    asking = [at for at, step in enumerate(case.steps) if step.asks]
    edited = data.draw(st.sampled_from(asking)) if asking else None

    async def both(folder: Path) -> None:
        with within(50):
            await _run_and_replay(folder, case, edited)

    with tempfile.TemporaryDirectory(prefix="callsheet-replay-") as folder:
        anyio.run(both, Path(folder))
