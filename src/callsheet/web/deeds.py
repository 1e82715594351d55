"""What a person in a browser, or a program, has done to a run: each over the run's own control socket."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from callsheet.app.control import RunControl, open_control, why_not_there
from callsheet.app.quantities import MOST_MORE_USD
from callsheet.app.records import open_runs
from callsheet.app.stopping import stop_run
from callsheet.model.approval import PersonsVerdict
from callsheet.web.faults import NO_STORE, RequestRefusedError
from callsheet.web.reads import path_name, path_run
from callsheet.web.watching import Hub

BY = "a person in the browser"
MOST_BODY_BYTES = 2 * 1024 * 1024
"""A message of 256 KiB of which every byte is escaped fits."""
BODY_S = 10.0

Done = Callable[[RunControl], Awaitable[bool | None]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Nothing(_Body):
    """Of a deed of which there is nothing more to say."""


class Words(_Body):
    """A message to an agent."""

    text: Annotated[str, Field(min_length=1)]


class Verdict(_Body):
    """An answer to a question; `words` are for the agent, with a no; `more_usd` for `once` to what a run may cost."""

    verdict: PersonsVerdict
    words: str | None = None
    more_usd: Annotated[float, Field(gt=0, le=MOST_MORE_USD, allow_inf_nan=False)] | None = None


BodyT = TypeVar("BodyT", bound=_Body)


class Deeds:
    """Has things done to runs. Who may is the guard's to say."""

    def __init__(self, hub: Callable[[], Hub]) -> None:
        self._hub = hub

    # --- a run ------------------------------------------------------------------------------------------------------

    async def pause(self, request: Request) -> Response:
        """`POST …/pause`: no further agent starts."""
        await _said(request, Nothing)
        return await self._do(request, lambda control: control.pause(by=BY))

    async def go_on(self, request: Request) -> Response:
        """`POST …/go_on`: agents start again."""
        await _said(request, Nothing)
        return await self._do(request, lambda control: control.go_on(by=BY))

    async def stop(self, request: Request) -> Response:
        """`POST …/stop`: the run ends as with Ctrl-C, and can be resumed. Answers when it has ended."""
        await _said(request, Nothing)
        hub, run_id = self._hub(), path_run(request)
        found = await hub.in_thread(partial(hub.catalogue.find, run_id))
        stopped = await stop_run(run_id, found.where)
        return _done(changed=stopped.was == "running", status=stopped.status, ended=stopped.is_ended)

    # --- an agent ---------------------------------------------------------------------------------------------------

    async def skip(self, request: Request) -> Response:
        """`POST …/agents/{agent_id}/skip`."""
        await _said(request, Nothing)
        agent_id = path_name(request, "agent_id")
        return await self._do(request, lambda control: control.skip(agent_id, by=BY))

    async def stop_agent(self, request: Request) -> Response:
        """`POST …/agents/{agent_id}/stop`."""
        await _said(request, Nothing)
        agent_id = path_name(request, "agent_id")
        return await self._do(request, lambda control: control.stop_agent(agent_id, by=BY))

    async def restart(self, request: Request) -> Response:
        """`POST …/agents/{agent_id}/restart`."""
        await _said(request, Nothing)
        agent_id = path_name(request, "agent_id")
        return await self._do(request, lambda control: control.restart(agent_id, by=BY))

    async def message(self, request: Request) -> Response:
        """`POST …/agents/{agent_id}/message` with `{"text"}`."""
        said = await _said(request, Words)
        agent_id = path_name(request, "agent_id")
        return await self._do(request, lambda control: control.message(agent_id, said.text, by=BY))

    # --- a question -------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        """`POST …/questions/{question_id}/answer` with `{"verdict", "words"?, "more_usd"?}`."""
        said = await _said(request, Verdict)
        question_id = path_name(request, "question_id")

        async def answer(control: RunControl) -> None:
            await control.answer(question_id, said.verdict, words=said.words, more_usd=said.more_usd, by=BY)

        return await self._do(request, answer)

    # --- behind it --------------------------------------------------------------------------------------------------

    async def _do(self, request: Request, deed: Done) -> Response:
        """Does something to the run that the path names.

        Raises:
            NotFoundError: There is no such run or agent.
            ControlRefusedError: It cannot be done (any more).
            ControlLostError: The run cannot be reached.
        """
        hub, run_id = self._hub(), path_run(request)
        found = await hub.in_thread(partial(hub.catalogue.find, run_id))
        if found.reach is None:
            raise await hub.in_thread(partial(_why_not, found.where, run_id))
        async with open_control(found.reach) as control:
            changed = await deed(control)
        return _done(changed=changed is not False)


def _why_not(where: Any, run_id: str) -> Exception:
    with open_runs(where, is_checked=False) as runs:
        return why_not_there(run_id, runs.find(run_id).status)


def _done(**said: Any) -> Response:
    return JSONResponse({"done": True, **said}, headers=NO_STORE)


async def _said(request: Request, kind: type[BodyT]) -> BodyT:
    """The body of a request, checked.

    Raises:
        RequestRefusedError: It is too large, too slow, or not what is asked for.
    """
    data = bytearray()
    try:
        with anyio.fail_after(BODY_S):
            async for piece in request.stream():
                data += piece
                if len(data) > MOST_BODY_BYTES:
                    raise RequestRefusedError("The body is too large.", status=413, kind="too_large")
    except TimeoutError:
        raise RequestRefusedError("The body did not come in time.", status=408, kind="too_slow") from None
    try:
        value = json.loads(data or b"{}")
        if not isinstance(value, Mapping):
            raise ValueError("it is no object")
        return kind.model_validate(value)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise RequestRefusedError(f"{where}: {first['msg']}", status=400, kind="usage") from None
    except (ValueError, RecursionError):
        raise RequestRefusedError("The body is no JSON object.", status=400, kind="usage") from None
