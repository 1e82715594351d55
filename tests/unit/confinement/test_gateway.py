from __future__ import annotations

import gc
import os
import socket
import warnings
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from callsheet.confinement.gateway import open_gateway
from tests.support.deadline import within

_MOMENTS = 12


async def _left_while_somebody_connects(moment: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, within(20), socket.socket() as caller:
        caller.setblocking(False)
        async with open_gateway(("example.com",)) as gateway:
            with socket.socket(fileno=os.dup(gateway.descriptor)) as bridge:
                socket.send_fds(bridge, [b"."], [listener.fileno()])
            for _ in range(4):  # until it is served
                await anyio.lowlevel.checkpoint()
            caller.connect_ex(listener.getsockname())
            for _ in range(moment):
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("moment", range(_MOMENTS))
def test_left_at_any_moment_it_leaves_no_connection_open(moment: int) -> None:
    gc.collect()  # what other tests have left open is theirs
    before = len(list(Path("/proc/self/fd").iterdir()))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        anyio.run(_left_while_somebody_connects, moment)
        gc.collect()
    assert [str(each.message) for each in said] == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before
