"""Calls `verify`, `backup` and `restore` of the embedded store."""
