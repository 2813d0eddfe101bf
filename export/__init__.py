"""Weights -> verified ONNX -> placed in the model repository. Must not import `ops`, `loadtest` or the client."""
