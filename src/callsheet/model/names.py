"""Names of files that several rooms must know."""

from __future__ import annotations

KEY_ENDING = ".callsheet-key"
"""How the file ends that lets its reader control a run. Agents may not read one, wherever it lies and in no mode."""
