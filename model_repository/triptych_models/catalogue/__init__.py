"""Owns products, photos, embeddings, the calls that write them, and model `catalogue`. Does not import `search`."""
