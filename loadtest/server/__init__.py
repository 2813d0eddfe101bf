"""The server under test: its objectives, counters and processes. Must not import another room of `loadtest`."""
