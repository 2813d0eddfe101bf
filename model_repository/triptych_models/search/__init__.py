"""Owns the vector index, the search backends and ranking, and model `index`. Imports `catalogue`, never the reverse."""
