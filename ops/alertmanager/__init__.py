"""An example of routing for the alerts, rendered beside the code."""
