"""Names that a run gives: its own, its agents', and the seeds of its scripts."""

from __future__ import annotations

import hashlib
import re
import secrets

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_run_id(epoch_ms: int) -> str:
    """`run_` and a ULID: sorts by time, and two hosts never give the same."""
    number = (epoch_ms << 80) | secrets.randbits(80)
    return "run_" + "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def agent_id(number: int) -> str:
    """The name of the run's nth agent: `a0001`."""
    return f"a{number:04d}"


_QUESTION_ID = re.compile(r"q(?:([1-9][0-9]{0,8})-)?([0-9]{4,9})", re.ASCII)


def question_id(attempt: int, number: int) -> str:
    """The name of the nth question of an attempt at the run, for good: `q0001`; from the second attempt on `q2-0001`.

    By the attempt, and not by what is on record of earlier ones: of that a crash or damage may have taken something.
    """
    return f"q{number:04d}" if attempt == 1 else f"q{attempt}-{number:04d}"


def question_number(name: str) -> tuple[int, int] | None:
    """The attempt and the number that a question's name says; None where it is none."""
    found = _QUESTION_ID.fullmatch(name)
    return None if found is None else (int(found[1] or 1), int(found[2]))


def new_seed() -> int:
    """A seed for `Math.random`; 63 bits, so that the record's integer column holds it."""
    return secrets.randbits(63)


def context_seed(seed: int, context: int) -> int:
    """The seed of a nested script: fixed by the run's seed and the context's number (CONTRACT D04)."""
    if context == 0:
        return seed
    digest = hashlib.sha256(f"{seed}:{context}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
