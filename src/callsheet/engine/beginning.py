"""How a run begins: what its parts share, and its first row and event."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

from callsheet import __version__
from callsheet.engine.book import RunBook
from callsheet.engine.budget import Ledger
from callsheet.engine.bus import EventBus
from callsheet.engine.checkpointing import Checkpointing
from callsheet.engine.clock import RunClock
from callsheet.engine.conversations import Conversations
from callsheet.engine.ending import store_failed
from callsheet.engine.identity import new_run_id, new_seed
from callsheet.engine.replay import Replay
from callsheet.engine.state import RunRequest, RunState
from callsheet.engine.text import to_json
from callsheet.errors import StoreError
from callsheet.model.events import RunStarted
from callsheet.model.records import RunRow
from callsheet.model.sandbox import Confinement
from callsheet.ports import EventSink, Store

RULES_VERSION = "2"
"""The version of the rules of keys and deliveries, written with every run (CONTRACT R02, R08).

Under 1 what follows from the script alone was delivered in the order in which it came, with a time of its own.
"""


def new_state(
    request: RunRequest,
    *,
    store: Store,
    sinks: Sequence[EventSink],
    redact_text: Callable[[str], str],
    checkpointing: Checkpointing,
    elapsed_s: Callable[[], float] = time.monotonic,
) -> RunState:
    """What the parts of a run share, before it begins."""
    past = None if request.resumption is None else request.resumption.past
    started_ms = request.started_ms if past is None else past.started_ms
    clock = RunClock(started_ms, is_resumed=past is not None, elapsed_s=elapsed_s)
    run_id = past.run_id if past is not None else request.run_id or new_run_id(clock.started_ms)
    settings = request.settings

    def on_store_error(error: StoreError) -> None:
        state.end(store_failed(error, run_id))

    bus = EventBus(
        run_id=run_id,
        store=store,
        sinks=(*sinks, checkpointing),
        stamp=clock.stamp,
        redact_text=redact_text,
        on_store_error=on_store_error,
        after=0 if past is None else past.last_event,
    )
    seed = request.seed if past is None else past.seed
    replay = Replay(request.resumption)
    state = RunState(
        run_id=run_id,
        request=request,
        seed=new_seed() if seed is None else seed,
        clock=clock,
        bus=bus,
        book=RunBook(bus, run_id=run_id),
        ledger=Ledger(
            tokens=settings.budget_tokens,
            usd=settings.budget_usd,
            cost_stop_usd=settings.cost_stop_usd,
            phases=settings.phase_budgets,
        ),
        replay=replay,
        checkpointing=checkpointing,
        is_live=past is None,
        conversations=Conversations(request.heard),
        answered=[] if past is None else [answer for _, answer in past.answers],
    )
    if past is not None:
        state.ledger.book_past(past.paid, last=past.last_payment)
        state.replay.effects.tell = state.book.put_back
    return state


async def open_record(state: RunState, confinement: Confinement) -> None:
    """Writes the run's row and its first event; they reach the disk before any outcome does."""
    request, script = state.request, state.request.script
    state.bus.add(
        RunRow(
            run_id=state.run_id,
            workflow=script.meta.name,
            script_text=script.text,
            script_path=script.path,
            args=request.args_json,
            seed=state.seed,
            parent_run_id=None,
            started_at=state.clock.stamp(),
            started_ms=state.clock.started_ms,
            settings=to_json(asdict(state.settings)),
            version=RULES_VERSION,
            attempts=state.attempt,
            workspace=request.workspace,
            head=request.head,
            program=__version__,
        )
    )
    state.bus.emit(
        RunStarted(
            workflow=script.meta.name,
            description=script.meta.description,
            script=script.origin,
            backend=state.settings.backend,
            workspace=request.workspace,
            phases=script.meta.phases,
            confinement=confinement,
            max_parallel=state.settings.max_parallel,
            notes=(*request.notes, *(() if state.replay.past is None else state.replay.past.notes)),
            commands=request.commands,
        )
    )
    await state.bus.flush()
