"""Objectives and the rules, dashboards and Alertmanager example made from them. Must not import `ops.cli`."""
