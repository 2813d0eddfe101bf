"""Backbones by name, checkpoint, module or ONNX file, as trunk and head. Must not import `graphs`."""
