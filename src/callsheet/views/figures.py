"""Figures as people read them: tokens, money, time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callsheet.model.rehearsal import Range


def tokens(count: int) -> str:
    """`950`, `1.2k`, `34k`, `2.1M`."""
    if count < 1_000:
        return str(count)
    for unit, size in (("k", 1_000), ("M", 1_000_000)):
        amount = count / size
        if amount < 9.95:
            return f"{amount:.1f}{unit}"
        if amount < 999.5:
            return f"{amount:.0f}{unit}"
    return f"{count / 1_000_000:,.0f}M"


def money(usd: float | None) -> str:
    """`$0`, `$0.0123`, `$12.34`; a cost that is not known says so."""
    if usd is None:
        return "cost unknown"
    if usd == 0:
        return "$0"
    return f"${usd:.4f}" if usd < 0.1 else f"${usd:,.2f}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12.3 s`, `2 m 05 s`, `1 h 02 m`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m"


def count(number: int, noun: str) -> str:
    """`1 agent`, `3 agents`, `1,000 agents`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(at: str) -> str:
    """How long ago a recorded time was: `12 s ago`, `5 min ago`, `3 h ago`, `9 d ago`; nothing where it is no time."""
    from datetime import UTC, datetime

    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"


def size(size_bytes: int) -> str:
    """`950 B`, `12 KB`, `3.4 MB`; the units are powers of 1024."""
    amount = float(size_bytes)
    for unit in ("B", "KB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} GB"


def token_words(told: Range) -> str:
    """What is likely, and the range."""
    return _ranged(tokens(round(told.likely)), tokens(round(told.low)), tokens(round(told.high)))


def cost_words(told: Range | None) -> str:
    """What is likely, and the range; an unknown cost says so."""
    return money(None) if told is None else _ranged(money(told.likely), money(told.low), money(told.high))


def _ranged(likely: str, low: str, high: str) -> str:
    return likely if low == likely == high else f"{likely} ({low} to {high})"
