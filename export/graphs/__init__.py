"""ONNX files of a backbone: export, lower precision, activation map. Must not import `placement` or `training`."""
