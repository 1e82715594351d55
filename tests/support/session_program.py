"""A session in a process of its own, to be killed: `python session_program.py FOLDER HOME BACKEND [RESUMED]`.

It does the lines that it reads, says `{"did": line}` for each, and each entry of the transcript when it changes.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from callsheet.app.choices import Choices
from callsheet.app.launching import Launcher
from callsheet.app.plan import Surroundings
from callsheet.app.session import OpenSession, open_session
from callsheet.app.session_model import SessionOrder
from callsheet.app.session_words import is_command


async def main(*words: str) -> None:
    """Has a session until there is no more to read."""
    folder, home, backend, *resumed = words
    launcher = Launcher((sys.executable, "-m", "callsheet.cli.launched"), dict(os.environ))
    around = Surroundings(start=Path(folder), home=Path(home))
    order = SessionOrder(resumed=resumed[0] if resumed else None, choices=Choices(backend=backend))
    async with open_session(order, launcher=launcher, around=around) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(tell, session)
        while line := await to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            said = line.strip()
            reply = await (session.command(said) if is_command(said) else session.say(said))
            say({"did": said, "reply": type(reply).__name__, **asdict(reply)})
        tasks.cancel_scope.cancel("there is no more to do")


async def tell(session: OpenSession) -> None:
    async with aclosing(session.watch()) as changes:
        async for change in changes:
            for number in change.entries:
                entry = session.entries[number - 1]
                say({"entry": type(entry).__name__, **asdict(entry)})


def say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
