"""The counts of CONTRACT L03: how much of each thing one run takes from its child.

They stand here for the host, which enforces them, and in `runtime_js/20-calls.js` for speed; a test compares the two.
"""

from __future__ import annotations

MAX_LOG_LINES = 10_000
MAX_LOG_LINE_BYTES = 16 * 1024
MAX_TIMERS = 1_000
MAX_PHASES = 1_000
MAX_LABEL_CHARS = 200
MAX_PROMPT_BYTES = 4 * 1024 * 1024
MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Prompts, options and arguments of calls that are not answered yet, all together."""
MAX_CALLS = 20_000
MAX_ITEMS = 4_096
MAX_RESULT_BYTES = 64 * 1024 * 1024
MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 64
MAX_CONTEXTS = 32
MAX_SCRIPT_BYTES = 512 * 1024
"""The largest script (CONTRACT S08): a file, or a text that `workflow({script})` is given."""
