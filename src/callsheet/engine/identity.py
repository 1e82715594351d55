"""Names that a run gives: its own, its agents', and the seeds of its scripts."""

from __future__ import annotations

import hashlib
import secrets

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_run_id(epoch_ms: int) -> str:
    """`run_` and a ULID: sorts by time, and two hosts never give the same."""
    number = (epoch_ms << 80) | secrets.randbits(80)
    return "run_" + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def agent_id(number: int) -> str:
    """The name of the run's nth agent: `a0001`."""
    return f"a{number:04d}"


def new_seed() -> int:
    """A seed for `Math.random`; 63 bits, so that the record's integer column holds it."""
    return secrets.randbits(63)


def context_seed(seed: int, context: int) -> int:
    """The seed of a nested script: fixed by the run's seed and the context's number (CONTRACT D04)."""
    if context == 0:
        return seed
    digest = hashlib.sha256(f"{seed}:{context}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
