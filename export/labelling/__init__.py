"""Labelling with less work: which photos to label, automatic labels, label errors. Must not import `cli`."""
