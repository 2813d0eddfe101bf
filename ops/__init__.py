"""Runs, checks, observes and packages Triptych. Must not import the other rooms of the repository."""
