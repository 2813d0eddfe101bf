"""The front: Envoy, the only listener that callers reach. It bounds each request before Triton reads it."""
