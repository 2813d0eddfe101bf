"""Numerical checks of ONNX files and photo decoding against torch and Pillow. Must not import `sources`."""
