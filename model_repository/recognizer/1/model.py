"""The whole of `recognizer` in one Python model: what the `cpu` profile serves behind the ensemble's tensors.

Between Python models each hop costs a copy and two wake-ups; on a CPU three hops are a tenth of the work. The decoder,
the ONNX files and the limits are the sibling models': this file owns none of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from allocator import keep_buffers
from answer_cache import AnswerCache
from load_board import LoadBoard
from metrics import RECOGNITION_DURATION
from network import Network
from publisher import Publisher, open_meter
from refusals import refuse
from running_mean import Reference, RunningMean
from server_folder import open_server_folder
from stage_metrics import CacheMetrics, ClassifyMetrics, DecodeMetrics, EmbedMetrics, StageMetrics, record_shared_memory

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "preprocess/1"))
# That folder may be in a release, which must stay as its manifest says.
sys.dont_write_bytecode = True

import preprocessing  # noqa: E402

TRANSFORM = REPOSITORY / "preprocess/1/transform.json"
EMBEDDER = REPOSITORY / "embedder/1/model.onnx"
CLASSIFIER = REPOSITORY / "classifier/1/model.onnx"
REFERENCE = REPOSITORY / "embedder/1/reference.json"
LABELS = REPOSITORY / "classifier/labels.txt"
WARM_UP_PHOTO = REPOSITORY / "recognizer/warmup/photo"


@dataclass
class Job:
    """One request on its way.

    Attributes:
        keys: of its photos in the cache; none where there is no cache.
        pixels: uint8[N,S,S,3], when it must be computed.
        rows: float32[N,L], the answers: the outputs in the order of the config, end to end.
        error: what the caller is told instead.
    """

    request: Any
    keys: list[bytes] = field(default_factory=list)
    pixels: Any = None
    rows: Any = None
    error: Any = None


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        keep_buffers()
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        for file in (TRANSFORM, EMBEDDER, CLASSIFIER, LABELS):
            if not file.is_file():
                raise pb_utils.TritonModelException(f"recognizer: no {file}. Place the weights with `make export`.")
        self.transform = preprocessing.Transform(**json.loads(TRANSFORM.read_text(encoding="utf-8")))
        self.limits = preprocessing.Limits(int(parameters["max_image_bytes"]), int(parameters["max_image_pixels"]))
        self.network = Network(EMBEDDER, CLASSIFIER, lone_threads=int(parameters["lone_threads"]))
        _decode_warm_up_photo(self.transform, self.limits)
        self.outputs = [output["name"] for output in config["output"]]
        self.edges = np.cumsum([0, *(int(output["dims"][0]) for output in config["output"])])
        folder = open_server_folder()
        self.load = LoadBoard(folder, int(args["model_instance_name"].rpartition("_")[2]))
        cache_mb = int(os.environ.get("TRIPTYCH_CACHE_MB", parameters["cache_mb"]))
        self.cache = AnswerCache(folder, cache_mb, 4 * int(self.edges[-1]), _fingerprint()) if cache_mb else None
        self._open_metrics(config, folder, float(parameters["abstain_below"]))

    def _open_metrics(self, config: dict[str, Any], server_folder: Path, abstain_below: float) -> None:
        reference = Reference.read(REFERENCE)
        self.meter = open_meter("recognizer", config)
        self.decode = DecodeMetrics(self.meter)
        self.embed = EmbedMetrics(self.meter, RunningMean(server_folder, reference) if reference is not None else None)
        self.classify = ClassifyMetrics(self.meter, LABELS.read_text(encoding="utf-8").splitlines(), abstain_below)
        self.cached = CacheMetrics(self.meter)
        self.seconds = self.meter.histogram(RECOGNITION_DURATION)
        record_shared_memory(self.meter)
        Publisher(self.meter).start()

    def execute(self, requests: list[Any]) -> list[Any]:
        with self.meter.execution():
            started_s = time.perf_counter()
            with self.load.busy() as is_alone:
                jobs = [self._prepare(request) for request in requests]
                self._compute([job for job in jobs if job.pixels is not None], is_alone)
            responses = [self._respond(job) for job in jobs]
            self.seconds.observe(time.perf_counter() - started_s, sum(job.error is None for job in jobs))
            return responses

    def _prepare(self, request: Any) -> Job:
        photos = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1).tolist()
        job = Job(request)
        if self.cache is not None:
            job.keys = [self.cache.key(photo) for photo in photos]
            answers = [answer for answer in map(self.cache.get, job.keys) if answer is not None]
            if len(answers) == len(photos):
                job.rows = np.frombuffer(b"".join(answers), np.float32).reshape(len(photos), -1)
                self.cached.hits.add(len(photos))
                return job
            self.cached.misses.add(len(photos))
        try:
            with self.decode.timed():
                job.pixels = preprocessing.preprocess_all(photos, self.transform, self.limits, self.decode.record_photo)
        except Exception as error:
            job.error = refuse(self.decode, error, [request])
        return job

    def _compute(self, jobs: list[Job], is_alone: bool) -> None:
        """One run for the photos of all jobs: four at once take 5 % less time each than one by one."""
        if not jobs:
            return
        batches = [job.pixels for job in jobs]
        pixels = batches[0] if len(jobs) == 1 else np.concatenate(batches)
        stage: StageMetrics = self.embed
        try:
            with stage.timed(len(jobs)):
                arrays = self.network.embed(pixels, is_alone)
            stage = self.classify
            with stage.timed(len(jobs)):
                arrays |= self.network.classify(arrays["features"], is_alone)
        except Exception as error:
            refusal = refuse(stage, error, [job.request for job in jobs])
            for job in jobs:
                job.error = refusal
            return
        rows = np.concatenate([arrays[name] for name in self.outputs], axis=1)
        for job, stop in zip(jobs, np.cumsum([len(batch) for batch in batches]), strict=True):
            job.rows = rows[stop - len(job.pixels) : stop]
            if self.cache is not None:
                for key, row in zip(job.keys, job.rows, strict=True):
                    self.cache.put(key, row.tobytes())

    def _respond(self, job: Job) -> Any:
        if job.error is not None:
            return pb_utils.InferenceResponse(error=job.error)
        answers = {
            name: np.ascontiguousarray(job.rows[:, start:stop])
            for name, start, stop in zip(self.outputs, self.edges, self.edges[1:], strict=False)
        }
        self.embed.record_answer(answers["embedding"])
        self.classify.record_answer(answers["category_scores"])
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, array) for name, array in answers.items()]
        )


def _decode_warm_up_photo(transform: preprocessing.Transform, limits: preprocessing.Limits) -> None:
    """The first photo loads the decoder; Triton's own warm-up does that in one instance only, as with the network."""
    if WARM_UP_PHOTO.is_file():
        # As Triton reads it: four bytes of length, then the photo.
        preprocessing.preprocess(WARM_UP_PHOTO.read_bytes()[4:], transform, limits)


def _fingerprint() -> bytes:
    """Of all that decides an answer: a release that takes over must not find the answers of the one before."""
    digest = hashlib.sha256()
    for file in (TRANSFORM, EMBEDDER, CLASSIFIER, Path(preprocessing.__file__)):
        digest.update(file.read_bytes())
    return digest.digest()
