"""An example of Alertmanager routing for the alerts; the YAML is beside the code. Must not import dashboards."""
