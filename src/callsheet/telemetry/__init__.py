"""Spans of a run for OpenTelemetry, made of its events and of what its agents report.

A pure consumer: nothing else knows of it, and no run depends on it. Importing this package imports nothing of
OpenTelemetry; what does is imported where a run is traced.
"""
