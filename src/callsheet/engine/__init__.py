"""One run from start to end: calls, limits, schedule, budget, events, outcomes."""
