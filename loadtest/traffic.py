"""One call to the server and what is made of its answer. No Locust in here: any driver may use it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loadtest.corpus import Corpus, Draw, Drawer
from loadtest.golden import Answer, GoldenAnswers
from loadtest.tally import Tally
from triptych import Client, ConnectionFailed, DeadlineExceeded, InvalidInput, Overloaded, Retry, TriptychError

RECOGNIZE, EMBED, SEARCH, REFUSE = "recognize", "embed", "search", "refuse"
MODELS = ("recognizer", "searcher")
# Of a call that fails in one of these ways nobody knows whether the server counted it.
UNCERTAIN = (ConnectionFailed.__name__, DeadlineExceeded.__name__)
BAD_PHOTO_ANSWERED, WRONG_ANSWER = "BadPhotoAnswered", "WrongAnswer"
# A retry would be a second request of the server's for one of ours.
NO_RETRY = Retry(tries=1)


class WrongOutcome(Exception):
    """The server answered, and should have answered otherwise; `reason` is the name it is counted under."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Outcome:
    """One call.

    Attributes:
        kind: RECOGNIZE, EMBED, SEARCH, or REFUSE for a bad photo.
        error: why it is a failure; None where the outcome is as it should be.
    """

    kind: str
    latency_s: float
    error: Exception | None


class Traffic:
    """Calls of one process: draws photos, judges answers, counts. Threads or greenlets may share it.

    Attributes:
        examples: reason of failures -> the first sentence of it.
    """

    def __init__(self, drawer: Drawer, golden: GoldenAnswers, tally: Tally) -> None:
        self._drawer = drawer
        self._golden = golden
        self._tally = tally
        self.examples: dict[str, str] = {}

    def call(self, client: Client, kind: str) -> Outcome:
        """Sends the next photo; a bad one now and then where the kind is RECOGNIZE."""
        drawn = self._drawer.draw(may_be_bad=kind == RECOGNIZE)
        if drawn.key is None:
            kind = REFUSE
        started_s = time.perf_counter()
        error: Exception | None = None
        try:
            judged = self._judge(kind, drawn, lambda: ask(client, kind, drawn.content), started_s)
            latency_s = judged
        except (TriptychError, WrongOutcome) as caught:
            error, latency_s = caught, time.perf_counter() - started_s
        self._count(kind, latency_s, error)
        return Outcome(kind, latency_s, error)

    def _judge(self, kind: str, drawn: Draw, send: Callable[[], Answer], started_s: float) -> float:
        """Seconds until the answer; raises for one that is wrong."""
        try:
            answer = send()
        except InvalidInput:
            if kind == REFUSE:
                return time.perf_counter() - started_s
            raise
        latency_s = time.perf_counter() - started_s
        if drawn.key is None:
            raise WrongOutcome(
                BAD_PHOTO_ANSWERED, f"{drawn.content[:12]!r}... is no photo and was answered {answer.top!r}."
            )
        difference = self._golden.differs(kind, drawn.key, answer)
        if difference is not None:
            raise WrongOutcome(WRONG_ANSWER, difference)
        return latency_s

    def _count(self, kind: str, latency_s: float, error: Exception | None) -> None:
        if error is None:
            self._tally.answered(time.time(), kind, latency_s)
            return
        reason = error.reason if isinstance(error, WrongOutcome) else type(error).__name__
        self._tally.failed(time.time(), kind, reason)
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


def answer_alone(client: Client, corpus: Corpus, kinds: list[str]) -> dict[tuple[str, str], Answer]:
    """The answer to every photo, one call at a time: what golden answers are."""
    return {(kind, key): ask(client, kind, photo) for key, photo in corpus.photos.items() for kind in kinds}


def count_calls(tally: Tally, searcher_asks_recognizer: bool) -> dict[str, tuple[int, int]]:
    """Model -> requests that its server should have counted, and how many of them may not have arrived there.

    Args:
        tally: of all calls.
        searcher_asks_recognizer: as in the profile cpu; then a search is a request of both models.
    """
    requests, uncertain = Counter(dict.fromkeys(MODELS, 0)), Counter(dict.fromkeys(MODELS, 0))
    for kind in tally.kinds():
        cell = tally.total([kind])
        models = MODELS if kind == SEARCH and searcher_asks_recognizer else MODELS[kind == SEARCH :][:1]
        for model in models:
            requests[model] += cell.calls
            # What a full queue turns away Triton 2.51.0 does not count.
            uncertain[model] += sum(cell.failures[reason] for reason in (*UNCERTAIN, Overloaded.__name__))
    return {model: (requests[model], uncertain[model]) for model in MODELS}
