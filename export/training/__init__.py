"""Trains heads and fine-tunes backbones on a shop's own labels. Must not import `placement`."""
