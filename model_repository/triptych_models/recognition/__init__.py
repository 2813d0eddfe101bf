"""Owns decoding, the network, the answer cache and the recognition models. Does not import `catalogue` or `search`."""
