"""The command with agents that ask a person before they answer: `python -m tests.support.asking run …`.

An agent's prompt is JSON: the fields of its question, and `once`, a file that it waits for before it asks. It answers
with the verdict and the words that it was given; what it was not allowed is reported as denied. One without `input`
asks nothing; `cost_usd` is what it costs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import anyio

from callsheet.agents.prompt import Background
from callsheet.agents.tools.bounds import Bounds
from callsheet.app import workers
from callsheet.app.backends import BackendChoice
from callsheet.cli.commands import run_command_line
from callsheet.model.approval import Question
from callsheet.model.call import AgentTask, ServiceName
from callsheet.model.outcome import AgentOutcome, Usage
from callsheet.model.reports import Progress, ToolCalled
from callsheet.model.spending import TokenPrices
from callsheet.ports import AgentBackend, AgentReporter


class AskingBackend(AgentBackend):
    """Agents of the command's `scripted` backend, all of which ask."""

    @property
    def name(self) -> str:
        return "scripted"

    def default_model(self) -> str | None:
        return None

    async def run(self, task: AgentTask, reporter: AgentReporter) -> AgentOutcome:
        wish = json.loads(task.prompt)
        while (once := wish.get("once")) is not None and not await anyio.Path(once).exists():
            await anyio.lowlevel.checkpoint()
        usage = Usage(output_tokens=100, cost_usd=wish.get("cost_usd", 0.0))
        if "input" not in wish:
            return AgentOutcome(status="ok", value="done", usage=usage)
        question = Question(
            tool=wish.get("tool", "bash"),
            input=wish["input"],
            reason=wish.get("reason", "no rule allows it"),
            rules=tuple(wish.get("rules", ())),
        )
        await reporter.report(Progress(tool=question.tool, tool_summary=question.input[:80]))
        answer = await reporter.ask(question)
        if not answer.is_yes:
            await reporter.report(
                ToolCalled(
                    n=1, tool=question.tool, input=question.input, state="denied", rule="no rule",
                    would_allow=question.rules,
                )
            )  # fmt: skip
        return AgentOutcome(status="ok", value=f"{answer.verdict}: {answer.words}", usage=usage)

    async def aclose(self) -> None:
        pass


def _asking(
    choice: BackendChoice,
    bounds: Bounds,
    background: Background | None = None,
    *,
    models: Mapping[str, str] | None = None,
    prices: Mapping[str, TokenPrices] | None = None,
    service: ServiceName = "anthropic",
    cache_warmup: bool = True,
    environ: Mapping[str, str] | None = None,
) -> AgentBackend:
    return AskingBackend()


if __name__ == "__main__":
    workers.load_backend = _asking
    sys.exit(run_command_line(sys.argv[1:]))
