"""A verified float32 graph in half precision, with the same tensors outside."""

from __future__ import annotations

import warnings

import onnx

PRECISIONS = ("fp32", "fp16", "int8")


def to_fp16(onnx_bytes: bytes) -> bytes:
    """Weights and arithmetic in float16; inputs and outputs keep their types. For GPUs: a CPU converts back and forth.

    Normalisation stays in float32: pixels are exact there, and sums of squares overflow float16 beyond 65,504.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load_model_from_string(onnx_bytes)
    kept = [node.name for node in model.graph.node if node.op_type in ("ReduceL2", "LpNormalization", "Softmax")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights below float16's least are rounded to it: the checks say what it costs
        converted = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    # The converter puts its casts at the end; ONNX wants every node after those it reads.
    sorted_model = OnnxModel(converted)
    sorted_model.topological_sort()
    return sorted_model.model.SerializeToString()  # type: ignore[no-any-return]
