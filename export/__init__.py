"""Weights to verified ONNX files, model repositories, training, releases. Must not import `ops` or `loadtest`."""
