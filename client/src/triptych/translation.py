"""The one boundary where a transport's failures become Triptych's errors, by their code. The original stays chained.

A model's message begins with its code: "[image_unreadable] ...", behind what Triton puts before it. Codes are looked up
in `error_codes`; only messages without one are taken apart, by `uncoded_messages`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from triptych.error_codes import ERROR_OF_STATUS, MEANINGS
from triptych.errors import DeadlineExceeded, ServerFault, TriptychError
from triptych.protocol import TransportError
from triptych.uncoded_messages import OLDER_SERVER, OTHERS, RULES, Rule


@dataclass(frozen=True)
class Sent:
    """What an error message may say about the call that failed."""

    target: str
    timeout_s: float
    model: str
    request_id: str


@dataclass(frozen=True)
class Reading:
    """What a failure is.

    Attributes:
        code: as the server or the client says it.
        error: the class that it becomes.
        sentence: the message, with fields.
        detail: the server's sentence, without what is not for the caller.
    """

    code: str
    error: type[TriptychError]
    sentence: str
    detail: str


# Triton's words for its log, repeated by nested ensembles, and the code: what follows it is the model's sentence.
_BEFORE_SENTENCE = re.compile(r"\[request id: [^\]]*\]\s*|in ensemble '[^']*',\s*|\[(?P<code>[a-z][a-z0-9_]*)\]\s")
_WHY_UNREACHED = re.compile(
    r"^(?:failed to connect to all addresses|connections to all backends failing|errors resolving).*: (.+?)\]?$",
    re.IGNORECASE | re.DOTALL,
)
_WHY_UNTRUSTED = re.compile(
    r"certificate_verify_failed\W+(?:certificate verify failed: )?(.+?)(?:: ok| \(_ssl[^)]*\))?$",
    re.IGNORECASE | re.DOTALL,
)


def translate(failure: TransportError, sent: Sent) -> TriptychError:
    """The Triptych error that a failure means."""
    reading = read(failure)
    message = reading.sentence.format(
        target=sent.target,
        timeout_s=sent.timeout_s,
        model=sent.model,
        request_id=sent.request_id,
        status=failure.status,
        detail=reading.detail,
    )
    return reading.error(message, code=reading.code, model=sent.model, request_id=sent.request_id)


def read(failure: TransportError) -> Reading:
    """What a failure is: by its code, of an unknown code by its status, without a code by its words."""
    code, words = _split(failure.detail or "no details")
    sentence = None
    if code is None:
        rule = find_rule(failure.status, words)
        of_status = OTHERS.get(failure.status, (ServerFault.code, None))
        code, sentence = of_status if rule is None else (rule.code, rule.sentence)
        words = _without_noise(words)
    words = words.rstrip(".")
    if code not in MEANINGS:
        return Reading(code, ERROR_OF_STATUS.get(failure.status, ServerFault), "{detail}.", words)
    meaning = MEANINGS[code]
    return Reading(code, meaning.error, sentence or meaning.sentence, words)


def find_rule(status: str, words: str) -> Rule | None:
    """The first that fits a message without a code, of which the request's id and the ensemble are taken off."""
    return next((rule for rule in (*OLDER_SERVER, *RULES) if rule.fits(status, words)), None)


def is_refused_unseen(failure: TransportError) -> bool:
    """Whether a server that loads or goes away refused before any work."""
    return failure.status in ("UNAVAILABLE", "NOT_FOUND") and read(failure).code == "model_not_ready"


def deadline_exceeded(sent: Sent) -> DeadlineExceeded:
    """The error for a deadline that passed here, between two calls to the server."""
    message = MEANINGS[DeadlineExceeded.code].sentence.format(target=sent.target, timeout_s=sent.timeout_s)
    return DeadlineExceeded(message, model=sent.model, request_id=sent.request_id)


def _split(text: str) -> tuple[str | None, str]:
    """The outermost code, None where there is none, and the sentence behind it."""
    code = None
    while code is None and (match := _BEFORE_SENTENCE.match(text)) is not None:
        code = match["code"]
        text = text[match.end() :]
    return code, text


def _without_noise(words: str) -> str:
    """Triton's or a transport's words without advice for operators; of a failed connection, only why it failed."""
    words = words.partition(". NOTE: Setting a non-zero max_batch_size")[0].rstrip(".")
    cause = _WHY_UNTRUSTED.search(words) or _WHY_UNREACHED.match(words)
    return words if cause is None else cause[1].lower()
