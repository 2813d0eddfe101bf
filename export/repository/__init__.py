"""A model repository on disk: layout, configs, labels, manifest, package. Imports no other room of `export`."""
