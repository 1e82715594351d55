"""A model on loopback that is orchestrator and agents of a task: each says what it was told to, in order."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.messages_replies import Hang, Received, Refuse, Reply, Say, tool_use

KEY = "sk-ant-of-this-test-0123456789abcdef"

UNDERSTAND = """\
export const meta = { name: 'understand', description: 'Reads both notes', phases: [{ title: 'Read' }] }
const NOTE = { type: 'object', properties: { says: { type: 'string' } }, required: ['says'] }
phase('Read')
const read = await parallel(['a.txt', 'b.txt'].map((file) => () =>
  agent(`What does ${file} say?`, { label: `read ${file}`, schema: NOTE })))
return read.map((note, n) => ({ label: ['read a.txt', 'read b.txt'][n], says: note?.says ?? null }))
"""
TWO_FAULTS = UNDERSTAND.replace("map((file) => () =>", "map((file) =>").replace(
    "const NOTE = ", "const NOTE: object = "
)
ONE_FAULT = UNDERSTAND.replace("map((file) => () =>", "map((file) =>")
VERIFY = """\
export const meta = { name: 'verify', description: 'Has one claim doubted' }
const VERDICT = { type: 'object', properties: { says: { type: 'string' } }, required: ['says'] }
const verdict = await agent(`Is this so? ${args.claim}`, { label: 'doubt', schema: VERDICT })
return { label: 'doubt', says: verdict?.says ?? null }
"""


def step(n: int, *, output_tokens: int = 900, **value: Any) -> Say:
    """A turn of the orchestrator that hands in a workflow or the answer."""
    return Say([tool_use("answer", id=f"toolu_step_{n}", **value)], output_tokens=output_tokens)


def runs(script: str, n: int = 1, *, output_tokens: int = 900, **more: Any) -> Say:
    """A turn that hands in a script."""
    return step(n, output_tokens=output_tokens, workflow={"script": script, "why": "to know", **more})


def done(n: int, *agents: str, conflicts: Sequence[Mapping[str, Any]] = (), left_out: Sequence[str] = ()) -> Say:
    """The turn that answers, with one claim that cites agents."""
    evidence = [{"claim": "Both notes were read.", "agents": [*agents]}]
    answer = {"answer": "It is **three**.", "evidence": evidence}
    return step(n, done={**answer, "conflicts": [*conflicts], "left_out": [*left_out]})


@dataclass
class Orchestra:
    """Answers requests to the Messages API, and keeps books.

    Attributes:
        turns: What the orchestrator says, request by request.
        agents: What an agent says whose prompt holds a text; the first that fits. Others say what they were asked.
        budget: Output tokens that all of it may have; None for no such bound.
        asked: The orchestrator's requests; `worked`: those of agents.
        beyond: Requests that asked for more than was left.
    """

    turns: Sequence[Reply]
    agents: Mapping[str, Reply] = field(default_factory=dict)
    budget: int | None = None
    asked: list[Received] = field(default_factory=list)
    worked: list[Received] = field(default_factory=list)
    billed: int = 0
    beyond: list[str] = field(default_factory=list)

    def __call__(self, request: Received) -> Reply:
        if self.budget is not None and request.body["max_tokens"] > self.budget - self.billed:
            self.beyond.append(f"{request.body['max_tokens']} of {self.budget - self.billed}")
        reply = self._reply(request)
        self.billed += reply.output_tokens if isinstance(reply, Say) else 0
        return reply

    def _reply(self, request: Received) -> Reply:
        tools = {tool["name"]: tool for tool in request.body["tools"]}
        if "done" in tools["answer"]["input_schema"]["properties"]:
            self.asked.append(request)
            if len(self.asked) > len(self.turns):
                return Refuse(400, "invalid_request_error", f"the orchestrator has only {len(self.turns)} turns")
            return self.turns[len(self.asked) - 1]
        self.worked.append(request)
        said = json.dumps(request.messages[0], ensure_ascii=False)
        fits = next((reply for text, reply in self.agents.items() if text in said), None)
        return fits or Say([tool_use("answer", id=f"toolu_{request.n}", says="three")], output_tokens=300)

    def told(self, n: int) -> str:
        """What the orchestrator was told before its n-th request since the one before it."""
        before = len(self.asked[n - 2].messages) if n > 1 else 0
        return json.dumps(self.asked[n - 1].messages[before:], ensure_ascii=False)

    def prefixes_hold(self) -> bool:
        """Whether each request of the orchestrator begins with all of the one before it, byte by byte."""
        bodies = [_plain(request.body) for request in self.asked]
        return all(
            _bytes(later["messages"][: len(earlier["messages"])]) == _bytes(earlier["messages"])
            and all(_bytes(later.get(part)) == _bytes(earlier.get(part)) for part in ("system", "tools", "model"))
            for earlier, later in itertools.pairwise(bodies)
        )

    def environ(self, base_url: str) -> dict[str, str]:
        """For a command that is to ask here."""
        return {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": base_url}


def hanging() -> Reply:
    """An agent that never ends."""
    return Hang()


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """A request without the marks of the cache, which are no part of what is cached."""
    plain = copy.deepcopy(body)
    for block in _blocks(plain):
        block.pop("cache_control", None)
    return plain


def _blocks(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [block for each in value for block in _blocks(each)]
    if isinstance(value, dict):
        return [value, *(block for each in value.values() for block in _blocks(each))]
    return []


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
