"""`--output jsonl`: every event as it happens, one a line, `run.finished` last (FORMATS 1 and 3)."""

from __future__ import annotations

import json
from typing import TextIO

from callsheet.cli.follower import View
from callsheet.cli.streams import write_lines
from callsheet.model.events import Event, RunFinished
from callsheet.model.public import event_json, result_json
from callsheet.model.run import RunResult
from callsheet.model.values import JsonValue
from callsheet.views.safe_text import defused_json, under_github


class JsonLines(View):
    """Writes events as they come; remembers whether the last one was there."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.seq = 0
        self.has_finished = False

    def show(self, events: list[Event], remarks: list[str]) -> None:
        """Writes the events; remarks are for people and go elsewhere."""
        write_lines(self._stream, [json_text(event_json(event)) for event in events])
        if events:
            self.seq = events[-1].seq
            self.has_finished = isinstance(events[-1].body, RunFinished)

    def tick(self) -> None:
        """Nothing to do."""

    def pause(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do: `finish` writes the last line where the run could not."""

    def finish(self, result: RunResult, at: str) -> None:
        """Writes `run.finished` for a run that ended without saying so: refused, or broken off by an error of ours."""
        if not self.has_finished:
            event = Event(run_id=result.run_id, seq=self.seq + 1, at=at, body=RunFinished(result=result))
            self.show([event], [])


def json_text(value: JsonValue) -> str:
    """One line of JSON in ASCII: nothing in it can act on a terminal, whatever a script put there."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return defused_json(text) if under_github() else text


def result_text(result: RunResult) -> str:
    """The object of `--output json`."""
    return json_text(result_json(result))
