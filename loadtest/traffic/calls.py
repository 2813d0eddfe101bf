"""One call to the server, and the check of its answer."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

from loadtest.traffic.corpus import Corpus, DrawnPhoto, PhotoSampler
from loadtest.traffic.latency_histogram import LatencyHistogram
from loadtest.traffic.reference_answers import Answer, ReferenceAnswers
from triptych import Client, ConnectionFailed, DeadlineExceeded, InvalidInput, Overloaded, Retry, TriptychError

RECOGNIZE, EMBED, SEARCH, REFUSE = "recognize", "embed", "search", "refuse"
MODELS = ("recognizer", "searcher")
# After these failures the server may or may not have counted the request. Triton 2.51.0 does not count a request that
# a full queue refuses.
UNCERTAIN = (ConnectionFailed.__name__, DeadlineExceeded.__name__, Overloaded.__name__)
BAD_PHOTO_ANSWERED, WRONG_ANSWER = "BadPhotoAnswered", "WrongAnswer"
# A retry would be a second request of the server for one call.
NO_RETRY = Retry(tries=1)


class WrongOutcome(Exception):
    """The server answered, but wrongly; `reason` is the name under which the failure is counted."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Outcome:
    """Result of one call.

    Attributes:
        kind: RECOGNIZE, EMBED, SEARCH, or REFUSE for an invalid photo.
        error: the failure; None when the call had the expected result.
    """

    kind: str
    latency_s: float
    error: Exception | None


class CallRunner:
    """Draws photos, sends them, checks and counts the answers. Threads or greenlets may share it.

    Attributes:
        examples: reason of a failure -> its first sentence.
    """

    def __init__(self, sampler: PhotoSampler, references: ReferenceAnswers, histogram: LatencyHistogram) -> None:
        self._sampler = sampler
        self._references = references
        self._histogram = histogram
        self.examples: dict[str, str] = {}

    def call(self, client: Client, kind: str) -> Outcome:
        """Sends the next photo; where the kind is RECOGNIZE, some photos are invalid."""
        drawn = self._sampler.draw(may_be_bad=kind == RECOGNIZE)
        if drawn.key is None:
            kind = REFUSE
        started_s = time.perf_counter()
        try:
            answer: Answer | TriptychError = ask(client, kind, drawn.content)
        except TriptychError as refusal:
            answer = refusal
        latency_s = time.perf_counter() - started_s
        error = self._check(kind, drawn, answer)
        self._count(kind, latency_s, error)
        return Outcome(kind, latency_s, error)

    def _check(self, kind: str, drawn: DrawnPhoto, answer: Answer | TriptychError) -> Exception | None:
        if isinstance(answer, TriptychError):
            return None if drawn.key is None and isinstance(answer, InvalidInput) else answer
        if drawn.key is None:
            return WrongOutcome(
                BAD_PHOTO_ANSWERED, f"The invalid photo {drawn.content[:12]!r}... was answered with {answer.top!r}."
            )
        difference = self._references.differs(kind, drawn.key, answer)
        return None if difference is None else WrongOutcome(WRONG_ANSWER, difference)

    def _count(self, kind: str, latency_s: float, error: Exception | None) -> None:
        if error is None:
            self._histogram.answered(time.time(), kind, latency_s)
            return
        reason = error.reason if isinstance(error, WrongOutcome) else type(error).__name__
        self._histogram.failed(time.time(), kind, reason)
        self.examples.setdefault(reason, str(error))


def ask(client: Client, kind: str, photo: bytes) -> Answer:
    """One call; raises `TriptychError`."""
    if kind == SEARCH:
        top_match = client.search(photo, k=5).top
        similarity = [] if top_match is None else [top_match.similarity]
        return Answer("" if top_match is None else top_match.product_id, np.array(similarity, np.float32))
    if kind == EMBED:
        return Answer("", client.embed(photo).vector)
    recognition = client.recognize(photo)
    return Answer(str(recognition.labels[0]), recognition.embedding)


def record_references(client: Client, corpus: Corpus, kinds: list[str]) -> dict[tuple[str, str], Answer]:
    """The answer to each photo, one call at a time."""
    return {(kind, key): ask(client, kind, photo) for key, photo in corpus.photos.items() for kind in kinds}


def expected_requests(histogram: LatencyHistogram, searcher_calls_recognizer: bool) -> dict[str, tuple[int, int]]:
    """Model -> requests that the server should have counted, and how many of them it may not have counted.

    With `searcher_calls_recognizer`, as in the profile cpu, a search is a request of both models.
    """
    requests, uncertain = Counter(dict.fromkeys(MODELS, 0)), Counter(dict.fromkeys(MODELS, 0))
    for kind in histogram.kinds():
        counts = histogram.total([kind])
        models = MODELS if kind == SEARCH and searcher_calls_recognizer else MODELS[kind == SEARCH :][:1]
        for model in models:
            requests[model] += counts.calls
            uncertain[model] += sum(counts.failures[reason] for reason in UNCERTAIN)
    return {model: (requests[model], uncertain[model]) for model in MODELS}
