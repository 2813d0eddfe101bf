"""The catalogue: products, their photos and embeddings, who may write to them, and the model `catalogue`."""
