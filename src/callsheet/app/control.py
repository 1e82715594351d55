"""A run that goes on in any process of this user on this machine: found, followed from any event on, acted upon.

    async with open_control("last") as control:
        async for event in control.events():
            ...
        await control.pause()

What surfaces use: command line, dashboards. The run goes on when they end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
from anyio import to_thread

from callsheet.app.naming import LAST
from callsheet.app.records import RUNNING, Where, open_runs
from callsheet.control.client import ControlClient, Gap, open_client
from callsheet.control.places import Reach, reachable
from callsheet.errors import ControlLostError, ControlRefusedError, NotFoundError, StoreError, UsageError
from callsheet.model.approval import PersonsVerdict, ScriptShown
from callsheet.model.events import ApprovalAsked, Event
from callsheet.model.recorded import recorded_event
from callsheet.permissions.redact import Redactor
from callsheet.store.reader import EventRecord
from callsheet.store.record import open_record

PERSON = "a person"
_NAMES = "run_"
_BATCH = 2_000
_RECORDED_WITHIN_S = 10.0
"""How long an event that was seen may take to its place in the record, where it is not waited for."""
_LOOK_AGAIN_S = 0.02
_STOPPING_S = 12.0
_TRIES = 5
_LAST_EVENT = "run.finished"

Payload: TypeAlias = dict[str, Any]


def live_runs(where: Where | None = None) -> tuple[Reach, ...]:
    """The runs of this user on this machine that can be reached, newest first; of whatever workspace."""
    return reachable((where or Where()).environ)


def find_run(name: str, where: Where | None = None) -> Reach:
    """How the run that a name means is reached: an id, the beginning of one, or `last` of this folder's record.

    Raises:
        NotFoundError: There is none of that name, here or elsewhere on this machine.
        UsageError: Several begin so.
        ControlRefusedError: It is over.
        ControlLostError: Its process is gone, or it serves no socket.
    """
    where = where or Where()
    found = [reach for reach in live_runs(where) if reach.run_id.startswith(name)] if name.startswith(_NAMES) else []
    exact = [reach for reach in found if reach.run_id == name]
    if exact or len(found) == 1:
        return (exact or found)[0]
    if found:
        names = ", ".join(reach.run_id for reach in found)
        raise UsageError(f"{name} is the beginning of several runs: {names}. Give more of it.")
    try:
        with open_runs(where, is_checked=False) as runs:
            listed = runs.find(name)
    except NotFoundError:
        here = [reach for reach in live_runs(where) if name == LAST and Path(reach.record) == where.record]
        if not here:
            raise
        return here[0]  # it has just begun, and nothing of it is on record yet
    except StoreError as fault:
        raise NotFoundError(
            f"No run {name} goes on on this machine, and this folder has no record: {fault.message}", name=name
        ) from None
    for reach in reachable(where.environ, prefix=listed.run_id):
        return reach
    raise why_not_there(listed.run_id, listed.status)


def why_not_there(run_id: str, status: str) -> ControlRefusedError | ControlLostError:
    """Why a run that is on record cannot be reached."""
    if status == RUNNING:
        return ControlLostError(
            f"{run_id} goes on, but cannot be reached: it serves no control socket that is seen from here (its notes "
            "say why). Its process can be ended with Ctrl-C, or kill -INT.",
            why="gone",
        )
    if status == "interrupted":
        return ControlLostError(
            f"{run_id} does not go on: it was interrupted, or its process is gone. Go on with it: callsheet resume "
            f"{run_id}",
            why="gone",
        )
    return ControlRefusedError(f"{run_id} is over ({status}): nothing more can be done in it.", why="run_over")


class RunControl:
    """A run in another process. Deeds may be asked for from any task.

    Each deed raises NotFoundError, ControlRefusedError or UsageError as `callsheet.Run` has it, and ControlLostError
    where the run ended or cannot be reached any more. `by` says who, in events and record.

    Attributes:
        reach: Which run, whose process, its workspace and record.
    """

    def __init__(self, reach: Reach, client: ControlClient, hiding: Redactor) -> None:
        self.reach = reach
        self._client = client
        self._hiding = hiding

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.reach.run_id

    # --- what happens -----------------------------------------------------------------------------------------------

    async def events(self, after: int = 0) -> AsyncGenerator[Event]:
        """Every event with a greater `seq`, in order and without gaps: from the record, then live, to `run.finished`.

        Who joins in the middle sees the same as who was there from the start; of a resumed run that begins with what
        earlier attempts said, their `run.finished` too. Any number of times, each with a connection of its own; one
        that is lost, since it was not read for a minute, is made again. Events that this version does not know are
        left out.

        Raises:
            ControlLostError: The run's process is gone before its end.
            StoreError: The record cannot be read.
        """
        async with aclosing(self.payloads(after)) as payloads:
            async for payload in payloads:
                event = recorded_event(payload)
                if event is not None:
                    yield event

    async def payloads(self, after: int = 0) -> AsyncGenerator[Payload]:
        """As `events`, each as its public JSON (FORMATS 3), those too that this version does not know."""
        async with aclosing(self._said(after)) as payloads:
            async for payload in payloads:
                yield self._shown(payload)

    def _shown(self, said: Payload) -> Payload:
        """Without the secrets that are known here: the run's process may know others."""
        shown = self._hiding.json(said)
        assert isinstance(shown, dict)
        return shown

    async def _said(self, after: int) -> AsyncGenerator[Payload]:
        in_vain, is_finished = 0, False
        while True:
            start = after
            try:
                async with aclosing(self._once(after)) as found:
                    async for payload in found:
                        after, is_finished = payload["seq"], payload["event"] == _LAST_EVENT
                        yield payload
                return
            except ControlLostError as fault:
                lost = fault
            async with aclosing(self._recorded(after)) as recorded:
                async for payload in recorded:
                    after, is_finished = payload["seq"], payload["event"] == _LAST_EVENT
                    yield payload
            is_alive = await to_thread.run_sync(self.reach.is_alive)
            if is_finished and not is_alive:
                return
            in_vain = in_vain + 1 if after == start else 0
            if lost.why == "refused" or in_vain > _TRIES or (in_vain and not is_alive):
                raise lost
            await anyio.sleep(_LOOK_AGAIN_S * in_vain)

    async def _once(self, after: int) -> AsyncGenerator[Payload]:
        """What is on record, then what happens, over one connection."""
        async with aclosing(self._recorded(after)) as recorded:
            async for payload in recorded:
                after = payload["seq"]
                yield payload
        async with open_client(self.reach) as client, aclosing(client.events(after)) as live:
            async for said in live:
                if isinstance(said, Gap):
                    async with aclosing(self._missed(said)) as missed:
                        async for payload in missed:
                            yield payload
                else:
                    yield said

    async def _recorded(self, after: int) -> AsyncGenerator[Payload]:
        """What is on record."""
        while found := await to_thread.run_sync(partial(self._read, after, _BATCH)):
            for one in found:
                after = one.seq
                yield dict(one.payload)

    async def _missed(self, gap: Gap) -> AsyncGenerator[Payload]:
        """What the run has on record alone; of what it has just let go the last is about to be written."""
        after, until = gap.first - 1, anyio.current_time() + _RECORDED_WITHIN_S
        while after < gap.last and anyio.current_time() < until:
            found = await to_thread.run_sync(partial(self._read, after, min(_BATCH, gap.last - after)))
            for one in found:
                if one.seq <= gap.last:
                    after = one.seq
                    yield dict(one.payload)
            if not found or found[-1].seq > gap.last:
                await anyio.sleep(_LOOK_AGAIN_S)

    def _read(self, after: int, limit: int) -> tuple[EventRecord, ...]:
        with open_record(Path(self.reach.record), is_checked=False) as record:
            return record.events(self.run_id, after=after, limit=limit)

    # --- the run ----------------------------------------------------------------------------------------------------

    async def pause(self, *, by: str = PERSON) -> bool:
        """Starts no further agent until `go_on`. False where the run is paused already."""
        return bool(await self._client.ask("pause", by=by))

    async def go_on(self, *, by: str = PERSON) -> bool:
        """Starts agents again. False where the run is not paused."""
        return bool(await self._client.ask("go_on", by=by))

    async def stop(self, *, now: bool = False) -> None:
        """Ends the run as Ctrl-C does; returns when its record is closed. `now`: as a second Ctrl-C, at once.

        Raises:
            ControlRefusedError: `now`, of a run in a program of somebody else's, which would end with it.
        """
        await self._client.ask("stop", now=now, within_s=_STOPPING_S)

    # --- one agent --------------------------------------------------------------------------------------------------

    async def skip(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Ends an agent as `skipped`. False where it was skipped already."""
        return bool(await self._client.ask("skip", agent_id=agent_id, by=by))

    async def stop_agent(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Ends an agent as `cancelled`. False where it was stopped already."""
        return bool(await self._client.ask("stop_agent", agent_id=agent_id, by=by))

    async def restart(self, agent_id: str, *, by: str = PERSON) -> bool:
        """Starts an agent's call over. False where that is under way already."""
        return bool(await self._client.ask("restart", agent_id=agent_id, by=by))

    async def message(self, agent_id: str, text: str, *, by: str = PERSON) -> None:
        """Sends a message to an agent."""
        await self._client.ask("message", agent_id=agent_id, text=text, by=by)

    # --- its questions ----------------------------------------------------------------------------------------------

    async def questions(self) -> tuple[ApprovalAsked, ...]:
        """The questions that wait for a person's answer now, oldest first."""
        return tuple(_question(self._shown(each)) for each in await self._client.ask("questions"))

    async def answer(
        self,
        question_id: str,
        verdict: PersonsVerdict,
        *,
        words: str | None = None,
        more_usd: float | None = None,
        by: str = PERSON,
    ) -> None:
        """Answers one of them, whoever else it was put to. `more_usd` goes with `once`: so much more a run may cost."""
        more = {} if more_usd is None else {"more_usd": more_usd}  # which a run of an older program does not know
        await self._client.ask("answer", question_id=question_id, verdict=verdict, words=words, by=by, **more)


def _question(said: Payload) -> ApprovalAsked:
    """A question as it was sent; what a newer run says of it besides is left out."""
    known: dict[str, Any] = {
        each.name: tuple(value) if isinstance(value := said[each.name], list) else value
        for each in fields(ApprovalAsked)
        if each.name in said
    }
    if (script := known.get("script")) is not None:
        shown = {each.name: script[each.name] for each in fields(ScriptShown) if each.name in script}
        known["script"] = ScriptShown(**shown | {"plan": tuple(shown["plan"])})
    return ApprovalAsked(**known)


@asynccontextmanager
async def open_control(run: str | Reach, where: Where | None = None) -> AsyncGenerator[RunControl]:
    """Connects to a run that goes on. Leaving the context disconnects; the run goes on.

    Args:
        run: As `find_run` takes it, or what that or `live_runs` gave.
        where: Whose record names are looked up in; that of the current folder without it.

    Raises:
        NotFoundError, UsageError, ControlRefusedError, ControlLostError: As `find_run`; also where the run does not
            take us in.
    """
    reach = await to_thread.run_sync(find_run, run, where) if isinstance(run, str) else run
    async with open_client(reach) as client:
        yield RunControl(reach, client, Redactor((where or Where()).environ))
