"""Recording rules and alerts, made from the objectives; the YAML is beside the code. Must not import dashboards."""
