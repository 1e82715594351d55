"""What the workflow tools take, and how they are described to models: the same for an MCP host and in process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from callsheet.authoring import tool_text
from callsheet.errors import UsageError
from callsheet.model.dataclass import dataclass
from callsheet.model.past import ReuseMode
from callsheet.model.values import JsonValue

LONGEST_WAIT_S = 600.0
MOST_LISTED = 100
_MOST_FAULTS = 5


def decoded(value: JsonValue) -> JsonValue:
    """A value of a model's call: an object or array that it passed as JSON text is decoded, once (CONTRACT G01)."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        found: JsonValue = json.loads(value, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return value
    return found


def _no_json(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _amount(value: Any) -> Any:
    """A budget that was given as a number is one of tokens."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class StartInput(_Input):
    """What `workflow` takes."""

    script: str | None = Field(None, description="The whole text of a workflow script. It is kept in a file.")
    name: str | None = Field(None, description="A saved workflow, as workflow_list names it.")
    script_path: str | None = Field(
        None, description="A .js or .mjs file in the workspace; also the scriptPath that an earlier call answered."
    )
    args: Annotated[Any, BeforeValidator(decoded)] = Field(
        None, description="The script's args: any JSON value, best an object. Pass it as JSON, not as text."
    )
    resume_from_run_id: str | None = Field(
        None,
        description="Go on with this run: agents that have answered answer from its record. With script or scriptPath "
        "the edited script goes on; without one the recorded one.",
    )
    reuse: ReuseMode = Field("unchanged", description="Of a resumed run: which recorded answers hold.")
    budget: Annotated[str | None, BeforeValidator(_amount)] = Field(
        None, description="A hard limit: output tokens ('200k', '2M'), dollars ('$5'), or both ('2M $5')."
    )
    max_agents: int | None = Field(None, ge=1, description="Agents that the run may start.")
    max_parallel: int | None = Field(None, ge=1, description="Agents at work at a time.")
    model: str | None = Field(None, description="For agents whose call names none.")
    permission_mode: Literal["plan", "ask", "acceptEdits", "bypass"] | None = Field(
        None, description="What agents may do where no rule says anything. It can only narrow; plan reads only."
    )

    @property
    def has_args(self) -> bool:
        """Whether args were given; null counts as given."""
        return "args" in self.model_fields_set


class StatusInput(_Input):
    """What `workflow_status` and `workflow_stop` take."""

    run_id: str = Field(description="The run's id, or `last`.")


class ResultInput(StatusInput):
    """What `workflow_result` takes."""

    wait_seconds: float = Field(
        0, ge=0, le=LONGEST_WAIT_S, description="Wait so long for the run's end; progress is told meanwhile."
    )


class ListInput(_Input):
    """What `workflow_list` takes."""

    runs: int = Field(10, ge=0, le=MOST_LISTED, description="So many of the newest runs are listed.")
    guide: bool = Field(False, description="Give the authoring guide too: read it before you write a script.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as a model sees it.

    Attributes:
        is_reading: It changes nothing.
    """

    name: str
    title: str
    description: str
    takes: type[BaseModel]
    is_reading: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """Its input as JSON Schema, named as models name things."""
        return self.takes.model_json_schema(by_alias=True)


TOOLS = (
    ToolSpec(name="workflow", title="Run a workflow", description=tool_text(), takes=StartInput),
    ToolSpec(
        name="workflow_status",
        title="How a run stands",
        description="How a run stands now: phases, agents at work, what failed, questions that wait for a person, use "
        "and limits, the end of its log, and what to do next.",
        takes=StatusInput,
        is_reading=True,
    ),
    ToolSpec(
        name="workflow_result",
        title="A run's result",
        description="What a run came to: status, the script's result, problems, what agents were denied, use and cost. "
        "With waitSeconds it waits for the end, at most so long; call it again where isOver is false. A run that is "
        "degraded returned although something in it went wrong: problems say what.",
        takes=ResultInput,
        is_reading=True,
    ),
    ToolSpec(
        name="workflow_stop",
        title="Stop a run",
        description="Ends a run in order: agents under way are cancelled, what has answered stays on record, and it "
        "can be resumed. Answers when it has ended.",
        takes=StatusInput,
    ),
    ToolSpec(
        name="workflow_list",
        title="Workflows and runs",
        description="The saved workflows that can be run by name, the newest runs, and what limits hold here; with "
        "guide: true the authoring guide.",
        takes=ListInput,
        is_reading=True,
    ),
)

InputT = TypeVar("InputT", bound=BaseModel)


def tool_named(name: str) -> ToolSpec:
    """A tool.

    Raises:
        UsageError: There is none of that name.
    """
    for tool in TOOLS:
        if tool.name == name:
            return tool
    raise UsageError(f"There is no tool {name[:80]!r}. There are {', '.join(tool.name for tool in TOOLS)}.")


def read_input(kind: type[InputT], said: Mapping[str, Any]) -> InputT:
    """What a call says, checked.

    Raises:
        UsageError: Something is missing, wrong, or unknown; says which, and what it may be.
    """
    try:
        return kind.model_validate(dict(said))
    except ValidationError as fault:
        known = [field.alias or name for name, field in kind.model_fields.items()]
        found = fault.errors(include_url=False, include_context=False, include_input=False)
        words = [_words(each["loc"], each["type"], each["msg"], known) for each in found[:_MOST_FAULTS]]
        raise UsageError(" ".join(words)) from None


def _words(place: tuple[int | str, ...], kind: str, said: str, known: list[str]) -> str:
    name = ".".join(str(part) for part in place) or "the input"
    if kind == "extra_forbidden":
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Is {near[0]} meant?" if near else f"There are {', '.join(known)}."
        return f"There is no input {name[:80]!r}. {hint}"
    return f"{name}: {said}."
