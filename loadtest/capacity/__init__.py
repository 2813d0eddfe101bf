"""Capacity plans: replicas for a rate, from a measured latency curve. Must not import another room of `loadtest`."""
