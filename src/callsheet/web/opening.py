"""Opening a browser at an address that holds a token, so that other users of the machine do not see it."""

from __future__ import annotations

import html
import os
import shutil
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from anyio import to_thread

_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
    '<meta http-equiv="refresh" content="0;url={url}"><title>Callsheet</title>'
    '<p><a href="{url}">Open the dashboard</a></p>\n'
)


class _Opening(Protocol):
    async def __call__(self) -> bool: ...


def _has_screen(environ: Mapping[str, str]) -> bool:
    """Whether there is a screen: else a browser for terminals might be found, and would take this one."""
    named = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(environ.get(name) for name in named)


@contextmanager
def opened(url: str) -> Iterator[_Opening]:
    """A way to open the address in a browser, and to await whether there was one.

    What a browser is started with every user of the machine can read. So it is started with a file that only this user
    can read, which leads on to the address; at the end of the block that file is gone.
    """
    folder = Path(tempfile.mkdtemp(prefix="callsheet-open-"))
    try:
        file = folder / "dashboard.html"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(_PAGE.format(url=html.escape(url)))

        async def open_it() -> bool:
            if not _has_screen(os.environ):
                return False
            return await to_thread.run_sync(webbrowser.open, file.as_uri(), abandon_on_cancel=True)

        yield open_it
    finally:
        shutil.rmtree(folder, ignore_errors=True)
