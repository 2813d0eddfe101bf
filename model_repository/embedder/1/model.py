"""Serves the ONNX file beside it with ONNX Runtime; tensors are those of the model's config.pbtxt.

Owns: batching requests into one run, splitting the answers. The classifier is this same file: what the network computes
is known by the names of its outputs, and only to the metrics.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

REPOSITORY = Path(__file__).resolve().parents[2]
# Metrics and log lines are those of the fused model.
sys.path.insert(0, str(REPOSITORY / "recognizer/1"))
# That folder may be in a release, which must stay as its manifest says.
sys.dont_write_bytecode = True

from allocator import keep_buffers  # noqa: E402
from publisher import Publisher, open_meter  # noqa: E402
from refusals import refuse  # noqa: E402
from running_mean import Reference, RunningMean  # noqa: E402
from server_folder import open_server_folder  # noqa: E402
from stage_metrics import ClassifyMetrics, EmbedMetrics, record_shared_memory  # noqa: E402

REFERENCE = REPOSITORY / "embedder/1/reference.json"
LABELS = REPOSITORY / "classifier/labels.txt"


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        keep_buffers()
        config = json.loads(args["model_config"])
        onnx_file = Path(__file__).with_name("model.onnx")
        if not onnx_file.is_file():
            raise pb_utils.TritonModelException(
                f"{config['name']}: no weights at {onnx_file}. Place them with `make export`."
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(config["parameters"]["intra_op_threads"]["string_value"])
        options.inter_op_num_threads = 1
        # A thread that spins while idle takes the core of the decoder next door.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
        self.input_name = config["input"][0]["name"]
        self.output_names = [output["name"] for output in config["output"]]
        self._refuse_other_dims(config)
        self._open_metrics(config)

    def _refuse_other_dims(self, config: dict[str, Any]) -> None:
        """Weights of another shape than `config.pbtxt` may be placed; then only the profiles have their dims."""
        shapes = {tensor.name: tensor.shape[1:] for tensor in (*self.session.get_inputs(), *self.session.get_outputs())}
        for tensor in (*config["input"], *config["output"]):
            name, stated = tensor["name"], [int(dim) for dim in tensor["dims"]]
            if shapes.get(name) != stated:
                raise pb_utils.TritonModelException(
                    f"{config['name']}: the config says {name} is {stated}, the placed ONNX file {shapes.get(name)}. "
                    "Serve a profile that was placed with it, as `--model-config-name cpu`, or run `make export`."
                )

    def _open_metrics(self, config: dict[str, Any]) -> None:
        self.stage: EmbedMetrics | ClassifyMetrics
        if "embedding" in self.output_names:
            self.meter, self.answer_name = open_meter("embedder", config), "embedding"
            reference = Reference.read(REFERENCE)
            mean = RunningMean(open_server_folder(), reference) if reference is not None else None
            self.stage = EmbedMetrics(self.meter, mean)
        else:
            self.meter, self.answer_name = open_meter("classifier", config), "category_scores"
            labels = LABELS.read_text(encoding="utf-8").splitlines()
            abstain_below = float(config["parameters"]["abstain_below"]["string_value"])
            self.stage = ClassifyMetrics(self.meter, labels, abstain_below)
        record_shared_memory(self.meter)
        Publisher(self.meter).start()

    def execute(self, requests: list[Any]) -> list[Any]:
        with self.meter.execution():
            try:
                with self.stage.timed(len(requests)):
                    responses, answers = self._run(requests)
            except Exception as error:
                refusal = refuse(self.stage, error, requests)
                return [pb_utils.InferenceResponse(error=refusal) for _ in requests]
            self.stage.record_answer(answers)
            return responses

    def _run(self, requests: list[Any]) -> tuple[list[Any], Any]:
        """A response a request, and float32[N,*]: what the metrics are taken of."""
        batches = [pb_utils.get_input_tensor_by_name(request, self.input_name).as_numpy() for request in requests]
        stacked = batches[0] if len(batches) == 1 else np.concatenate(batches)
        outputs = self.session.run(self.output_names, {self.input_name: stacked})

        responses = []
        start = 0
        for batch in batches:
            rows = slice(start, start + len(batch))
            tensors = [
                pb_utils.Tensor(name, output[rows]) for name, output in zip(self.output_names, outputs, strict=True)
            ]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
            start = rows.stop
        return responses, outputs[self.output_names.index(self.answer_name)]
