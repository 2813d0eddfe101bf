"""Grafana dashboards as code; the JSON is beside the code, drawings of a live server in docs/assets/dashboards/. Starts nothing."""
