"""The serving package, which Triton's Python models run: recognition, explanation, catalogue and search.

Only `triton/` imports Triton's modules; every other module can be imported and tested without a server. Imports no
other room.
"""
