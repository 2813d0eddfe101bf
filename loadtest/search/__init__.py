"""Search over the size of the catalogue, against the same library in this process. Must not import another room."""
