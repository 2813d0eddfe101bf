"""A catalogue as training data: reading, near-duplicates, splits. Must not import `training.tuning`."""
