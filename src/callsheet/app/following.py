"""The events of a recorded run, also of one that another process is at work on: read from the record until its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from callsheet.app.records import RUNNING, Where, open_runs
from callsheet.model.dataclass import dataclass
from callsheet.store.reader import EventRecord

POLL_S = 0.25
_BATCH = 2_000


@dataclass(slots=True, kw_only=True)
class Followed:
    """The stream of one run.

    Attributes:
        seq: Of the last event that was read.
        status: How things stand with the run; `interrupted` where its process died.
    """

    run_id: str
    seq: int = 0
    status: str = RUNNING

    def events(
        self, where: Where, *, is_live: bool, wait: Callable[[float], None] = time.sleep
    ) -> Iterator[tuple[EventRecord, ...]]:
        """Events in order, as many at a time as there are; ends with the run or, unless `is_live`, with the record.

        The record is opened anew for each look at it, so that a run that ends meanwhile can close it.

        Raises:
            StoreError: The record cannot be read.
        """
        while True:
            with open_runs(where, is_checked=False) as runs:
                # First how things stand, then what is there: nothing is written of a run that is over.
                self.status = runs.find(self.run_id).status
                found = runs.record.events(self.run_id, after=self.seq, limit=_BATCH)
            if found:
                self.seq = found[-1].seq
                yield found
            elif not is_live or self.status != RUNNING:
                return
            else:
                wait(POLL_S)
