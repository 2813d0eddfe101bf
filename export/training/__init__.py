"""Teaching a shop's own labels: a catalogue of photos -> heads over the placed backbone's features -> a trained folder.

The rooms' rule holds here too: what is trained sees photos through the serving package and the placed
ONNX file, so that what is measured here is what will be served.
"""
