"""Figures against the raw model client on the same loopback service, in the same run: ratios, never a timed test."""
