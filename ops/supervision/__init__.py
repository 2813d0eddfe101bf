"""Runs one server over time: restarts it, reloads models, replaces releases. May import only `ops.server`."""
