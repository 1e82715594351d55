"""`callsheet serve`: the dashboard in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callsheet.cli.reading import json_line, json_option, printed, record_options
from callsheet.cli.streams import say
from callsheet.views.safe_text import one_line

if TYPE_CHECKING:
    import socket

    from callsheet.web.app import Dashboard


@click.command(name="serve", short_help="Shows runs in a browser: those of this folder, and all that go on.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 for any that is free.  [default: 8450, else any]")
@click.option("--control", is_flag=True, help="Act on runs from the browser: pause, stop, skip, message, answer.")
@click.option("--open", "is_opened", is_flag=True, help="Open it in the browser of this machine.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--expose", is_flag=True, help="Listen where other machines can reach it, without encryption.")
@click.option(
    "--allow-host", "allowed", multiple=True, metavar="NAME[:PORT]", help="A further name that it answers to."
)
@json_option
@record_options
def serve(
    *,
    port: int | None,
    control: bool,
    is_opened: bool,
    host: str,
    expose: bool,
    allowed: tuple[str, ...],
    as_json: bool,
    store: str | None,
    workspace: Path | None,
) -> int:
    """Serves the dashboard: the runs of this folder, and those that go on on this machine, as they happen.

    Open the printed address; whoever has it sees prompts, answers and files' names, so keep it to yourself. From
    another machine: ssh -L 8450:127.0.0.1:8450 HOST, then the same address there. Without --control nothing can be
    done to runs, only looked at. Runs go on when it ends, with Ctrl-C.

    Exit status: 0 it was ended, 1 it broke, 2 wrong usage.
    """
    from callsheet.cli.boundary import guarded

    def work() -> int:
        from callsheet.errors import UsageError
        from callsheet.web.access import is_loopback
        from callsheet.web.app import create_app
        from callsheet.web.server import listen

        if not is_loopback(host) and not expose:
            raise UsageError(
                f"--host {one_line(host)} lets other machines reach these pages. What goes there and back, the token "
                "too, is not encrypted: whoever can listen on the way sees your runs, and with --control acts on them. "
                "Better: ssh -L 8450:127.0.0.1:8450 HOST. If you mean it, say --expose as well."
            )
        listener = listen(host, port)
        with listener:
            bound = listener.getsockname()
            app = create_app(
                workspace=workspace,
                store=store,
                address=host,
                port=bound[1],
                allowed_hosts=allowed,
                control=control,
            )
            return _serve(app, listener, is_opened=is_opened, as_json=as_json)

    return guarded(work)


def _serve(app: Dashboard, listener: socket.socket, *, is_opened: bool, as_json: bool) -> int:
    import signal

    import anyio

    from callsheet.groups import meanwhile
    from callsheet.web.opening import opened
    from callsheet.web.server import serving

    async def work() -> int:
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signals.append(signal.SIGHUP)
        with anyio.open_signal_receiver(*signals) as received:
            async with serving(app, listener, at_end=app.end_streams), meanwhile(browser if is_opened else nothing):
                status = _tell(app, as_json=as_json)
                async for _ in received:
                    break
        return status

    async def browser() -> None:
        with opened(app.url) as open_it:
            if not await open_it():
                say("No browser could be opened here: open the address yourself.")
            await anyio.sleep_forever()

    async def nothing() -> None:
        pass

    return anyio.run(work)


def _tell(app: Dashboard, *, as_json: bool) -> int:
    """Says where it is to be found: on standard output, and nothing else there."""
    access = app.access
    if as_json:
        said = {"url": app.url, "token": access.token, "port": access.port, "control": access.is_control}
        status = printed([json_line(said)], is_json=True)
    else:
        status = printed([app.url])
    what = "You can act on them there." if access.is_control else "Read-only: --control lets you act on them."
    say(f"The runs of this folder, and all that go on on this machine. {what}")
    say("Ctrl-C ends this; runs go on.")
    return status
