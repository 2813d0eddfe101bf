"""The commands of `python -m export`. Imports every room of `export`; no room imports it."""
