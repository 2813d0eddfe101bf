"""Grafana dashboards as code; the JSON made of them lies beside it, and drawings from a live server in preview/."""
