"""Owns class activation maps and model `activation_map`. Does not import `catalogue` or `search`."""
