"""What recorded agents had changed is gone from the workspace when their run is resumed."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.support.deadline import within
from tests.support.messages_replies import Received, Reply, Say, text, tool_use
from tests.support.messages_service import MessagesService, open_messages_service
from tests.surfaces.command import Command, Done

pytestmark = pytest.mark.anyio

BODY = """
return await parallel([0, 1, 2].map(i => () => agent('task ' + i, { label: 'e' + i })))
"""
BEFORE = "one\ntwo\nthree\n"
AFTER = "1\ntwo\n3 and 3\n"
WORK: dict[int, list[tuple[str, dict[str, Any]]]] = {
    0: [("write", {"file_path": "out/new.txt", "content": "made\n"})],
    1: [
        ("edit", {"file_path": "a.txt", "old_string": "one", "new_string": "1"}),
        ("edit", {"file_path": "a.txt", "old_string": "three", "new_string": "3 and three"}),
        ("edit", {"file_path": "a.txt", "old_string": "three", "new_string": "3", "replace_all": True}),
    ],
    2: [("edit", {"file_path": "b.txt", "old_string": "one", "new_string": "1"})],
}


class Model:
    """Does the work of each task, call by call."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def __call__(self, request: Received) -> Reply:
        found = re.search(r"task (\d+)", json.dumps(request.messages))
        assert found is not None
        number, step = int(found[1]), (len(request.messages) - 1) // 2
        self.asked[number] += 1
        if step < len(WORK[number]):
            tool, given = WORK[number][step]
            return Say([tool_use(tool, **given)])
        return Say([text(f"done {number}")])


async def called(command: Command, service: MessagesService, *words: str) -> Done:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-of-this-test", "ANTHROPIC_BASE_URL": service.base_url}
    with within(60):
        return await to_thread.run_sync(partial(command, *words, "--output", "json", environ=environ))


def changed_later(*paths: Path) -> None:
    """As if it were a while since the run ended."""
    later = time.time() + 60
    for path in paths:
        os.utime(path, (later, later))


@pytest.mark.contract("R03")
async def test_what_is_gone_is_put_back_where_that_is_proved_and_else_asked_anew(command: Command) -> None:
    folder, model = command.folder, Model()
    a, b, new = folder / "a.txt", folder / "b.txt", folder / "out" / "new.txt"
    for path in (a, b):
        path.write_text(BEFORE, encoding="utf-8")
    async with open_messages_service(model) as service:
        first = await called(command, service, "run", command.script(BODY), "--no-cache-warmup")
        assert first.status == 0, first.err
        assert (a.read_text(encoding="utf-8"), new.read_text(encoding="utf-8")) == (AFTER, "made\n")

        a.write_text(BEFORE, encoding="utf-8")
        new.unlink()
        b.write_text(BEFORE + "a line of the user's\n", encoding="utf-8")
        changed_later(a, b, new.parent)
        model.asked.clear()
        again = await called(command, service, "resume")
        assert again.status == 0, again.err
        assert set(model.asked) == {2}
        assert (a.read_text(encoding="utf-8"), new.read_text(encoding="utf-8")) == (AFTER, "made\n")
        assert b.read_text(encoding="utf-8") == "1\ntwo\nthree\na line of the user's\n"
        lines = [line["message"] for line in again.json["logs"]]
        assert 'what agent "e1" (a0002) had changed was gone, and was put back: a.txt' in lines
        assert 'what agent "e0" (a0001) had changed was gone, and was put back: out/new.txt' in lines

        a.write_text("one\ntwo\nthree\nfour of the user's\n", encoding="utf-8")
        new.write_text("the user's own\n", encoding="utf-8")
        changed_later(a, new)
        model.asked.clear()
        third = await called(command, service, "resume", "--explain")
        assert set(model.asked) == {0, 1}
        assert new.read_text(encoding="utf-8") == "the user's own\n"
        assert a.read_text(encoding="utf-8").endswith("four of the user's\n")
        assert "changed since the run stopped: a.txt, out/new.txt" in third.err
