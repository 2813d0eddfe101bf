"""Load tests and benchmarks of a running server. May import the client; must not import `export` or `ops`."""
