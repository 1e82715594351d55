from __future__ import annotations

import pytest

from callsheet.agents.web.connect import SystemResolver
from tests.support.deadline import within

pytestmark = pytest.mark.anyio


async def test_the_system_gives_each_address_of_a_name_once() -> None:
    with within():
        assert await SystemResolver()("127.0.0.1", 80) == ["127.0.0.1"]
        found = await SystemResolver()("localhost", 80)
    assert len(set(found)) == len(found)
    assert "127.0.0.1" in found
