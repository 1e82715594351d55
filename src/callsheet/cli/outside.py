"""Programs of the person's own that take the terminal for a while: a pager, an editor."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from callsheet.errors import UsageError
from callsheet.model.script import MAX_SCRIPT_BYTES
from callsheet.programs import host_path

PAGERS = ("less", "more")
EDITORS = ("editor", "nano", "vim", "vi", "emacs")
_TERMINAL_ERROR = 2
"""The descriptor that programs write to: standard output may be a pipe, to which the run's result goes."""
_LAST_WORD_S = 1.0


def page(text: str, *, environ: Mapping[str, str], outside: Path) -> bool:
    """Shows text in the person's pager; False where there is none, or the terminal cannot be drawn on.

    Args:
        text: Made safe before.
        environ: For `PAGER`, `TERM` and `PATH`.
        outside: The workspace, of which no program counts.
    """
    found = _pager(environ, outside)
    if found is None:
        return False
    line, own = found
    with _theirs():
        try:
            subprocess.run(line, input=text.encode(errors="replace"), stdout=_TERMINAL_ERROR, env=own, check=False)
        except OSError:
            return False
    return True


async def page_meanwhile(text: str, *, environ: Mapping[str, str], outside: Path) -> bool:
    """As `page`, while other things go on. Cancelling ends the pager."""
    import anyio

    found = _pager(environ, outside)
    if found is None:
        return False
    line, own = found
    with _theirs():
        try:
            process = await anyio.open_process(line, stdout=_TERMINAL_ERROR, stderr=None, env=own)
        except OSError:
            return False
        async with process:
            assert process.stdin is not None
            try:
                with suppress(anyio.BrokenResourceError):  # it was left before its end
                    await process.stdin.send(text.encode(errors="replace"))
                await process.stdin.aclose()
                await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()  # so that it leaves the terminal as it was
                    with anyio.move_on_after(_LAST_WORD_S, shield=True):
                        await process.wait()
    return True


def _pager(environ: Mapping[str, str], outside: Path) -> tuple[list[str], dict[str, str]] | None:
    """The person's pager and its environment; None where there is none, or the terminal cannot be drawn on."""
    if environ.get("TERM", "dumb") == "dumb":
        return None
    line = _program([environ.get("PAGER", "")], PAGERS, environ=environ, outside=outside)
    if line is None or Path(line[0]).name == "cat":
        return None
    own = dict(environ)
    if Path(line[0]).name == "less":
        own["LESSSECURE"] = "1"
        own.setdefault("LESS", "-Mc")
        line = [*line, "-Ps q goes back to the question.", "-PM q goes back to the question. ?pB%pB\\%."]
    return line, own


def edit(text: str, *, name: str, environ: Mapping[str, str], outside: Path) -> str:
    """Has the person edit text in their editor, in a file of its own that only they can read; gives what it then is.

    Args:
        text: As it is.
        name: Of the file, so that the editor knows the language.
        environ: For `VISUAL`, `EDITOR` and `PATH`.
        outside: The workspace, of which no program counts.

    Raises:
        UsageError: There is no editor, it failed, or what it left is no text.
    """
    asked = [environ.get("VISUAL", ""), environ.get("EDITOR", "")]
    line = _program(asked, EDITORS, environ=environ, outside=outside)
    if line is None:
        raise UsageError("no editor was found. Say which one you use: export EDITOR=nano")
    with tempfile.TemporaryDirectory(prefix="callsheet-edit-") as folder:
        file = Path(folder, name)
        try:
            file.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
            with _theirs():
                done = subprocess.run([*line, str(file)], stdout=_TERMINAL_ERROR, check=False)
            if done.returncode != 0:
                raise UsageError(f"{line[0]} ended with status {done.returncode}: nothing of it was taken.")
            with file.open("rb") as left:
                return left.read(MAX_SCRIPT_BYTES + 1).decode("utf-8")
        except OSError as fault:
            raise UsageError(f"{line[0]} could not be used: {fault.strerror}.") from None
        except UnicodeDecodeError:
            raise UsageError("what the editor left is not UTF-8: nothing of it was taken.") from None


def _program(
    asked: Sequence[str], usual: Sequence[str], *, environ: Mapping[str, str], outside: Path
) -> list[str] | None:
    """The command line of the first program that is there, asked for before usual; none of the workspace's."""
    path = host_path(environ.get("PATH"), outside=(outside,))
    for words in (*asked, *usual):
        try:
            name, *rest = shlex.split(words)
        except ValueError:
            continue
        found = shutil.which(name, path=path)
        if found is not None and not _is_inside(Path(found), outside):
            return [found, *rest]
    return None


def _is_inside(program: Path, outside: Path) -> bool:
    root = outside.resolve()
    return root != Path(root.anchor) and program.resolve().is_relative_to(root)


@contextmanager
def _theirs() -> Iterator[None]:
    """Leaves the keys that interrupt and quit to the program: the terminal sends their signals to us too."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        """Does nothing, and is not inherited by the program as ignoring would be."""

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def file_name(path: str | None) -> str:
    """What a copy of a script is called."""
    name = "" if path is None else Path(path).name
    return name if name.endswith((".js", ".mjs")) and len(name) < 200 else "workflow.js"
