"""What Triton's Python models run: recognition, explanation, the catalogue and search over it.

Only `triton/` knows Triton; everything else can be imported, and tested, without a server. Imports no other room.
"""
