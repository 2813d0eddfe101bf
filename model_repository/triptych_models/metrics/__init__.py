"""Metrics of Triptych's own: declared in `families`, counted in the process, published once a second."""
