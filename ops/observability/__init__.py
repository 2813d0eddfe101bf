"""Objectives, the rules and dashboards made from them, an Alertmanager example. Must not import `ops.cli`."""
