"""Recording rules and alerts, made of the objectives; the rendered files lie beside the code."""
