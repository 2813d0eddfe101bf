"""The calls: requests, answers, retries. Performs no I/O and imports no transport and no client."""
