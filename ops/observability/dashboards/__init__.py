"""Grafana dashboards as code; the JSON is beside the code, drawings are in docs/assets/dashboards. Starts nothing."""
