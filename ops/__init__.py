"""What runs Triptych: the local server, objectives, dashboards and runbooks. Must not import `export` or `triptych`."""
