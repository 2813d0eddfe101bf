"""Owns the adapter between `Model` and Triton's Python backend. The only folder that imports Triton's modules."""
