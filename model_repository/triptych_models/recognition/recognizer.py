"""Model `recognizer` in one process, with the tensors of the ensemble: what profile `cpu` serves.

Each hop between Python models costs a copy and two thread wake-ups; on a CPU three hops take 10 % of the time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from triptych_models.errors import Code
from triptych_models.metrics.families import RECOGNITION_DURATION
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.sources import by_source
from triptych_models.metrics.stages import CacheMetrics, DecodeMetrics
from triptych_models.placed_files import PlacedFiles
from triptych_models.recognition import preprocessing
from triptych_models.recognition.answer_cache import AnswerCache
from triptych_models.recognition.instance_activity import InstanceActivity
from triptych_models.recognition.network import Network
from triptych_models.recognition.stage_metrics import open_classify_metrics, open_embed_metrics
from triptych_models.recognition.transform import read_transform
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server
from triptych_models.triton.server_folder import open_server_folder

CACHE_VARIABLE = "TRIPTYCH_CACHE_MB"


class StageFailed(Exception):
    """A stage failed; the photo is not the cause."""

    def __init__(self, stage: str, error: Exception) -> None:
        super().__init__(f"stage {stage}: {type(error).__name__}: {error}")


@dataclass
class Job:
    """One request in progress.

    Attributes:
        source: what the request is for.
        keys: cache keys of its photos; empty without a cache.
        pixels: uint8[N,S,S,3]; None where the cache has all answers.
        rows: float32[N,L], the outputs concatenated in the order of the config.
        error: why the request failed.
    """

    source: str
    keys: list[bytes] = field(default_factory=list)
    pixels: Any = None
    rows: Any = None
    error: Exception | None = None


class Recognizer(Model):
    """Decodes photos and runs the network, or returns the answer from the cache."""

    role = "recognizer"
    reuses_buffers = True
    codes = (Code.IMAGE_UNREADABLE, Code.IMAGE_TOO_LARGE)

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        files, parameters = config.files, config.parameters
        files.require(files.transform, files.embedder, files.classifier, files.labels())
        self._transform = read_transform(files.transform)
        self._limits = preprocessing.Limits.from_parameters(parameters)
        self._network = Network(files.embedder, files.classifier, lone_threads=int(parameters["lone_threads"]))
        self._decode_warm_up_photo(files.warm_up_photo)
        self._outputs = list(config.outputs)
        self._edges = np.cumsum([0, *(dims[0] for dims in config.outputs.values())])
        folder = open_server_folder()
        self._activity = InstanceActivity(folder, config.instance)
        cache_mb = int(os.environ.get(CACHE_VARIABLE, parameters["cache_mb"]))
        answer_bytes = 4 * int(self._edges[-1])
        self._cache = AnswerCache(folder, cache_mb, answer_bytes, _fingerprint(files)) if cache_mb else None
        self._decode = DecodeMetrics(metrics)
        self._embed = open_embed_metrics(config, metrics)
        self._classify = open_classify_metrics(config, metrics)
        self._cached = CacheMetrics(metrics)
        self._seconds = by_source(metrics.histogram, RECOGNITION_DURATION)

    def _decode_warm_up_photo(self, file: Path) -> None:
        """Loads the decoder, which the first photo does; Triton's warm-up reaches one instance only."""
        if file.is_file():
            preprocessing.preprocess(file.read_bytes()[4:], self._transform, self._limits)

    def answer_batch(self, requests: Sequence[Request]) -> list[Arrays | Exception]:
        """See `Model`. One run of the network for the photos of all requests."""
        started_s = time.perf_counter()
        with self._activity.busy() as is_alone:
            jobs = [self._prepare(request) for request in requests]
            self._compute([job for job in jobs if job.pixels is not None], is_alone)
        answers = [self._split(job) if job.error is None else job.error for job in jobs]
        duration_s = time.perf_counter() - started_s
        for job in jobs:
            if job.error is None:
                self._seconds[job.source].observe(duration_s)
        return answers

    def _prepare(self, request: Request) -> Job:
        photos = request.array("image").reshape(-1).tolist()
        job = Job(request.source)
        if self._cache is not None:
            job.keys = [self._cache.key(photo) for photo in photos]
            answers = [answer for answer in map(self._cache.get, job.keys) if answer is not None]
            if len(answers) == len(photos):
                job.rows = np.frombuffer(b"".join(answers), np.float32).reshape(len(photos), -1)
                self._cached.hits.add(len(photos))
                return job
            self._cached.misses.add(len(photos))
        try:
            record = partial(self._decode.record_photo, job.source)
            with self._decode.timed():
                job.pixels = preprocessing.preprocess_all(photos, self._transform, self._limits, record)
        except Exception as error:
            job.error = error
        return job

    def _compute(self, jobs: list[Job], is_alone: bool) -> None:
        """One run for the photos of all jobs: a batch of four takes 5 % less time a photo than four runs."""
        if not jobs:
            return
        batches = [job.pixels for job in jobs]
        pixels = batches[0] if len(jobs) == 1 else np.concatenate(batches)
        stage = "embed"
        try:
            with self._embed.timed(len(jobs)):
                arrays = self._network.embed(pixels, is_alone)
            stage = "classify"
            with self._classify.timed(len(jobs)):
                arrays |= self._network.classify(arrays["features"], is_alone)
        except Exception as error:
            for job in jobs:
                job.error = StageFailed(stage, error)
            return
        rows = np.concatenate([arrays[name] for name in self._outputs], axis=1)
        for job, stop in zip(jobs, np.cumsum([len(batch) for batch in batches]), strict=True):
            job.rows = rows[stop - len(job.pixels) : stop]
            if self._cache is not None:
                for key, row in zip(job.keys, job.rows, strict=True):
                    self._cache.put(key, row.tobytes())

    def _split(self, job: Job) -> Arrays:
        answer = {
            name: np.ascontiguousarray(job.rows[:, start:stop])
            for name, start, stop in zip(self._outputs, self._edges, self._edges[1:], strict=False)
        }
        self._embed.record_answer(answer["embedding"], job.source)
        self._classify.record_answer(answer["category_scores"], job.source)
        return answer


def _fingerprint(files: PlacedFiles) -> bytes:
    """Digest of everything that determines an answer: a new release must not find answers of the previous one."""
    digest = hashlib.sha256()
    code = sorted(Path(__file__).parent.glob("*.py"))
    for file in (files.transform, files.embedder, files.classifier, *code):
        digest.update(file.read_bytes())
    return digest.digest()
