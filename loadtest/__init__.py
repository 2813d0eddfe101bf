"""Load tests, benchmarks and capacity plans of a running server. Must not import `export` or `ops`."""
