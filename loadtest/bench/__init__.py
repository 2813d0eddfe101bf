"""The paired benchmark: the server, in-process and FastAPI baselines in interleaved turns. Must not import `cli`."""
