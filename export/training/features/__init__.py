"""Feature extraction with the placed backbone, and the feature cache. Must not import other rooms of `training`."""
