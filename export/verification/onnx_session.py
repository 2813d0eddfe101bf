"""Opens and runs ONNX files in ONNX Runtime on the CPU: one place for the session options of this package."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from export.arrays import Floats, Pixels

_ONLY_ERRORS = 3
_BATCH_SIZE = 8


def open_session(onnx_bytes: bytes, threads: int | None = None) -> ort.InferenceSession:
    """A CPU session whose threads sleep after a run: spinning threads would take the cores that torch needs.

    Args:
        onnx_bytes: content of the ONNX file.
        threads: within one operator; None is one per core. With 1 the order of summation, and so the last bits of the
            result, do not depend on the machine's load.
    """
    options = ort.SessionOptions()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = _ONLY_ERRORS
    if threads is not None:
        options.intra_op_num_threads = threads
    return ort.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def run_in_batches(session: ort.InferenceSession, outputs: Sequence[str], pixels: Pixels) -> list[Floats]:
    """The outputs of an embedder for uint8[N,S,S,3], with at most 8 photos in memory at once."""
    starts = range(0, len(pixels), _BATCH_SIZE)
    parts = [session.run(outputs, {"pixels": pixels[start : start + _BATCH_SIZE]}) for start in starts]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
