"""A local Prometheus with the rules, a sample load, and drawings of the dashboards. Must not import `ops.cli`."""
