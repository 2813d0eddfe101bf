"""Places verified files in a model repository, all of them or none. Must not import `release`."""
