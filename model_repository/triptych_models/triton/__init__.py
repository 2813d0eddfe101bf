"""The adapter to Triton's Python backend: the only place that knows Triton."""
