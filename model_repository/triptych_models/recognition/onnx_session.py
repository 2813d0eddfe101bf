"""Opens ONNX Runtime sessions: number of threads, and whether they spin."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from triptych_models.placed_files import native_name


def open_session(onnx_file: Path, threads: int, *, spins_within_a_run: bool = False) -> ort.InferenceSession:
    """A session on the CPU.

    Args:
        onnx_file: the network.
        threads: threads that share one run.
        spins_within_a_run: threads spin while they wait for each other and sleep after the run. Measured on 2 cores,
            one photo: 9.3 ms; without spinning 11.4 ms; with spinning after the run (ONNX Runtime's default) 17.3 ms,
            because a spinning thread takes a core from the decoder.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if spins_within_a_run:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(native_name(onnx_file), options, providers=["CPUExecutionProvider"])
