"""The attributes of our spans: those of the GenAI conventions by their names, and our own.

https://github.com/open-telemetry/semantic-conventions-genai, on top of the general conventions 1.41. Nothing of
OpenTelemetry is imported for them: its package of constants moves the unstable ones about.
"""

from __future__ import annotations

from callsheet.model.outcome import Usage

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
WORKFLOW = "gen_ai.workflow.name"
AGENT_ID = "gen_ai.agent.id"
AGENT_NAME = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
MAX_TOKENS = "gen_ai.request.max_tokens"
STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
OUTPUT_TYPE = "gen_ai.output.type"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"

RUN_ID = "callsheet.run.id"
RUN_STATUS = "callsheet.run.status"
RUN_BACKEND = "callsheet.run.backend"
RUN_ATTEMPT = "callsheet.run.attempt"
RUN_AGENTS = "callsheet.run.agents"
RUN_REUSED = "callsheet.run.agents_reused"
RUN_PROBLEMS = "callsheet.run.problems"
RUN_INPUT_TOKENS = "callsheet.run.input_tokens"
RUN_OUTPUT_TOKENS = "callsheet.run.output_tokens"
RUN_COST = "callsheet.run.cost_usd"
PHASE = "callsheet.phase"
AGENT_STATUS = "callsheet.agent.status"
AGENT_TYPE = "callsheet.agent.type"
AGENT_BACKEND = "callsheet.agent.backend"
AGENT_REUSED = "callsheet.agent.reused"
AGENT_ATTEMPTS = "callsheet.agent.attempts"
AGENT_QUEUED_S = "callsheet.agent.queued_s"
AGENT_FILES_CHANGED = "callsheet.agent.files_changed"
AGENT_COST = "callsheet.agent.cost_usd"
REQUEST_COST = "callsheet.request.cost_usd"
LINK = "callsheet.link"

EARLIER_ATTEMPT = "earlier attempt"

SERVICES = {
    "anthropic": "anthropic",
    "bedrock": "aws.bedrock",
    "bedrock-mantle": "aws.bedrock",
    "vertex": "gcp.vertex_ai",
    "foundry": "azure.ai.inference",
}
"""What the conventions call where models are had."""

NO_SERVICE = "callsheet"
"""Of agents that no service of models stands behind: `offline`, `scripted`, `command`."""

UNKNOWN_FAULT = "_OTHER"

Value = str | bool | int | float | list[str]
Attributes = dict[str, Value]


def provider_of(backend: str, service: str) -> str:
    """The `gen_ai.provider.name` of an agent."""
    if backend == "anthropic":
        return SERVICES.get(service, service)
    return "anthropic" if backend == "claude_code" else NO_SERVICE


def usage_attributes(usage: Usage, *, cost: str) -> Attributes:
    """What was used, as the conventions count it: input tokens are all of them, those from a cache too."""
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    found: Attributes = {INPUT_TOKENS: usage.input_tokens + cached, OUTPUT_TOKENS: usage.output_tokens}
    if usage.cache_read_tokens:
        found[CACHE_READ_TOKENS] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        found[CACHE_WRITE_TOKENS] = usage.cache_write_tokens
    if usage.cost_usd is not None:
        found[cost] = usage.cost_usd
    return found
