"""The work of runs that are struck: waves of agents, so that there are many moments, and each wave reaches the disk."""

from __future__ import annotations

import random
from typing import Any

WAVES = 12
IN_A_WAVE = 5
AGENTS = WAVES * IN_A_WAVE

FOREVER = {"label": "for ever*", "result": "late", "delay_ms": 600_000}
"""The answer of an agent that is still at work whenever a run is struck."""

BODY = f"""
const ask = i => agent('do ' + i, {{ label: 'w' + i }}).then(answer => log('saw w' + i))
agent('for ever', {{ label: 'for ever' }})
for (let wave = 0; wave < {WAVES}; wave++)
  await parallel(Array.from({{ length: {IN_A_WAVE} }}, (_, i) => () => ask(wave * {IN_A_WAVE} + i)))
"""
"""Says `saw w0` and so on, each when it has the answer; returns nothing."""

THEN_REST = "await new Promise(resolve => setTimeout(resolve, 600_000))"
THEN_SPIN = "for (;;) await 0"

EVENTS = 5 * AGENTS
"""A run of it has at least so many events."""


def answers(chance: random.Random, *, writing: bool = False) -> tuple[dict[str, Any], ...]:
    """Agents that take 5 to 30 ms, in an order of their own; of those that write every third leaves a file."""
    return (
        *(
            {"label": f"w{i}", "result": f"answer {i}", "delay_ms": chance.randint(5, 30)}
            | ({"writes": {f"notes/w{i}.md": f"note {i}\n"}} if writing and i % 3 == 0 else {})
            for i in range(AGENTS)
        ),
        FOREVER,
    )
