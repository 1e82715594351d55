"""A whole run over a loopback model, when it is over: its result, its record and what the service saw must agree."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread

from callsheet.model.records import MessageRow, ToolCallRow
from callsheet.store.reader import read_agents, read_events, read_messages, read_run, read_tool_calls
from tests.support.brain import Brain
from tests.support.deadline import within
from tests.support.messages_service import MessagesService, open_messages_service
from tests.support.recorded import record_of
from tests.surfaces.command import Command, Done

LIMIT_S = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A run that has ended, from all sides."""

    done: Done
    result: dict[str, Any]
    service: MessagesService
    record: Path

    @property
    def value(self) -> Any:
        """What the script returned."""
        return self.result["result"]

    def agent(self, label: str) -> dict[str, Any]:
        """The one agent of a label, as the result has it."""
        (found,) = (agent for agent in self.result["agents"] if agent["label"] == label)
        return dict(found)

    def tool_calls(self, label: str) -> tuple[ToolCallRow, ...]:
        """Those of an agent, as recorded."""
        return read_tool_calls(self.record, self.result["run_id"], self.agent(label)["agent_id"])

    def states(self, label: str) -> list[tuple[str, str]]:
        """Tool and state of an agent's calls, as recorded."""
        return [(call.tool, call.state) for call in self.tool_calls(label)]

    def messages(self, label: str) -> tuple[MessageRow, ...]:
        """An agent's conversation, as recorded."""
        return read_messages(self.record, self.result["run_id"], self.agent(label)["agent_id"])


async def play(command: Command, body: str, brain: Brain, *words: str) -> Played:
    """Runs a script to its end, in a process of its own, and holds all that is known of it against each other."""
    name = command.script(body)
    async with open_messages_service(brain) as service:
        environ = {"ANTHROPIC_API_KEY": "k" * 30, "ANTHROPIC_BASE_URL": service.base_url}
        with within(LIMIT_S):
            done = await to_thread.run_sync(partial(command, "run", name, "--output", "json", *words, environ=environ))
    assert done.out, done.err
    played = Played(done=done, result=done.json, service=service, record=record_of(command))
    _agrees(played, brain)
    return played


_SAME = ("agent_id", "call", "label", "phase", "workflow", "status", "backend", "model", "attempts", "error")
_USED = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd")


def _agrees(played: Played, brain: Brain) -> None:
    result, run_id = played.result, played.result["run_id"]
    run = read_run(played.record, run_id)
    assert run is not None and run.end is not None
    assert (run.end.status, json.loads(run.end.result or "null")) == (result["status"], result["result"])
    agents = [found.agent for found in read_agents(played.record, run_id)]
    assert [agent.agent_id for agent in agents] == [agent["agent_id"] for agent in result["agents"]]
    for agent, shown in zip(agents, result["agents"], strict=True):
        assert {name: getattr(agent, name) for name in _SAME} == {name: shown[name] for name in _SAME}
        assert {name: getattr(agent, name) for name in _USED} == {name: shown["usage"][name] for name in _USED}
        paths = (agent.files_accessed, agent.files_changed, agent.tools_called)
        named = (shown["files_read"], shown["files_changed"], shown["tools_called"])
        assert tuple(json.loads(each) for each in paths) == named
        called = list(dict.fromkeys(call.tool for call in played.tool_calls(shown["label"])))
        assert called == shown["tools_called"]
    events = read_events(played.record, run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert result.items() <= events[-1].payload.items()
    assert played.service.count == len(brain.said), played.done.err
    for name in ("input_tokens", "output_tokens"):
        assert result["usage"][name] == sum(getattr(say, name) for say in brain.said)
