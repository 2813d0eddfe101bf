"""Prints ops/METRICS.md."""

from triptych_models.metrics.families import render

print(render(), end="")
