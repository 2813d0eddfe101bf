"""Owns metrics: defined in `families`, counted in the process, published once a second. Imports no model."""
