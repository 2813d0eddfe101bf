"""Search over the catalogue: filters, backends, preferences, ranking, and the model `index`."""
