"""Releases: immutable folders with a manifest, and the targets they are published to. Must not import `training`."""
