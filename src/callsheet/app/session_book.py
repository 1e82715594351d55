"""What a session has of itself: its file, the transcript that its lines make, and who is told of changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import anyio
from anyio import to_thread

from callsheet.app.session_file import SessionFile
from callsheet.app.session_lines import Line, OpenedLine, ProblemLine, line_of
from callsheet.app.session_model import Change
from callsheet.app.session_tale import Tale
from callsheet.app.session_transcript import Entry
from callsheet.errors import StoreError
from callsheet.model.values import JsonValue

Part: TypeAlias = Literal["questions", "runs", "settings", "figures"]

_TEXTS = {"text", "task", "notes", "error", "remedy"}
"""The fields of lines that hold words of people, models and machines: secrets are taken out of them."""

_UNKEPT = "{why} From here on nothing of this session is kept: it goes on, and is forgotten when you leave."
_UNKEPT_REMEDY = "Runs have their own record. When that is mended, leave and continue: callsheet --continue {id}"


class SessionBook:
    """Keeps lines, and makes of them what is shown. Of one event loop.

    Attributes:
        tale: What the lines have told so far.
        is_kept: False once the file could not be written: what comes after it is in memory alone, so that the file
            holds the beginning of the session and never a part of it with holes.
    """

    def __init__(
        self, session_id: str, file: SessionFile, *, opened: OpenedLine, redact: Callable[[JsonValue], JsonValue]
    ) -> None:
        """Makes it of a session that has no line yet.

        Args:
            session_id: Its name.
            file: Where its lines go.
            opened: Its first line: written with the first that follows, so that nothing is left of a session in which
                nothing happened.
            redact: Takes secrets out of what a line says.
        """
        self.id = session_id
        self.tale = Tale(workspace=opened.workspace, record=opened.record)
        self.is_kept = True
        self._file = file
        self._opened: OpenedLine | None = opened
        self._redact = redact
        self._writing = anyio.Lock()
        self._news = anyio.Event()
        self._revision = 0
        self._entries: dict[int, int] = {}
        self._parts: dict[Part, int] = {"questions": 0, "runs": 0, "settings": 0, "figures": 0}
        self._is_closed = False

    # --- lines ------------------------------------------------------------------------------------------------------

    def read_back(self, lines: Iterable[Mapping[str, JsonValue]]) -> None:
        """Takes the lines of a session that was there before."""
        self.tale, self._opened = Tale(), None
        for said in lines:
            line = line_of(said)
            if line is not None:
                self._tell_entries(self.tale.apply(line))

    async def write(self, line: Line) -> tuple[int, ...]:
        """Puts a line on disk, then tells what it changes. Cancelling waits for that.

        A file that cannot be written is told once, as a problem; then the session goes on in memory.

        Returns:
            The numbers of the entries that it added or changed.
        """
        with anyio.CancelScope(shield=True):
            async with self._writing:
                kept = self._without_secrets(line.model_copy(update={"at": now(), "n": self.tale.next_number}))
                fault: StoreError | None = None
                if self.is_kept:
                    try:
                        await to_thread.run_sync(self._write, kept)
                    except StoreError as error:
                        fault, self.is_kept = error, False
                changed = self._take(kept)
                if fault is not None:
                    text, remedy = _UNKEPT.format(why=fault.message), _UNKEPT_REMEDY.format(id=self.id)
                    self._take(ProblemLine(at=now(), text=text, remedy=remedy))
        return changed

    def _without_secrets(self, line: Line) -> Line:
        said = line.model_dump(include=_TEXTS, mode="json")
        redacted = self._redact(said)
        assert isinstance(redacted, dict)
        return line.model_copy(update={name: _as_was(value) for name, value in redacted.items()})

    def _write(self, line: Line) -> None:
        if self._opened is not None:
            self._file.append(self._opened.model_copy(update={"at": line.at, "n": 1}).model_dump(mode="json"))
            self._opened = None
        self._file.append(line.model_dump(mode="json"))

    def _take(self, line: Line) -> tuple[int, ...]:
        changed = self.tale.apply(line)
        self._tell_entries(changed)
        self.tell("figures", "settings")
        return changed

    # --- news -------------------------------------------------------------------------------------------------------

    def show(self, entry: Entry) -> None:
        """Shows an entry otherwise than its lines have it, until the next of them: how a turn goes on."""
        self.tale.put(entry)
        self._tell_entries((entry.number,))

    def tell(self, *parts: Part) -> None:
        """Tells that parts of the session are other than before."""
        self._revision += 1
        for part in parts:
            self._parts[part] = self._revision
        self._wake()

    def close(self) -> None:
        """Tells that nothing more is told."""
        self._is_closed = True
        self.tell()

    async def watch(self) -> AsyncGenerator[Change]:
        """What changes, from how everything stands now; see `Session.watch`."""
        seen = -1
        while True:
            news, reached = self._news, self._revision
            entries = tuple(sorted(number for number, at in self._entries.items() if at > seen))
            parts = {part: at > seen for part, at in self._parts.items()}
            seen, is_closed = reached, self._is_closed
            yield Change(entries=entries, is_closed=is_closed, **parts)
            if is_closed:
                return
            if self._revision == seen:
                await news.wait()

    def _tell_entries(self, numbers: tuple[int, ...]) -> None:
        self._revision += 1
        for number in numbers:
            self._entries[number] = self._revision
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def _as_was(value: JsonValue) -> JsonValue | tuple[JsonValue, ...]:
    return tuple(value) if isinstance(value, list) else value


def seconds_since(at: str) -> float:
    """How long ago a time was that `now` gave; 0 for one that cannot be read, or is yet to come."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def now() -> str:
    """The time, ISO 8601 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
