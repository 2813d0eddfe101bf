"""Translation of a transport's failures to Triptych's errors, by their code. The original error stays chained.

A model's message starts with its code, "[image_unreadable] ...", after a prefix of Triton. `codes` has the meaning of a
code; `uncoded_messages` assigns a code to a message that has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from triptych._core.failures.codes import ERROR_OF_STATUS, MEANINGS
from triptych._core.failures.uncoded_messages import OLDER_SERVER, OTHERS, RULES, Rule
from triptych._core.protocol import TransportError
from triptych.errors import DeadlineExceeded, ServerFault, TriptychError


@dataclass(frozen=True)
class Sent:
    """The facts of a failed call that its error message may name."""

    target: str
    timeout_s: float
    model: str
    request_id: str


@dataclass(frozen=True)
class Reading:
    """The meaning of a failure.

    Attributes:
        code: of the server or the client.
        error: the class of the error.
        sentence: template of the message.
        detail: the server's message, without the parts that do not concern the caller.
    """

    code: str
    error: type[TriptychError]
    sentence: str
    detail: str


# Prefixes of Triton, repeated by nested ensembles, and the code; the model's message follows the code.
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
    """Translates a failure to an error of Triptych."""
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
    """Reads a failure: by its code; by its status for an unknown code; by its message without a code."""
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
    """The first rule that matches a message without a code; the message has no prefix of Triton."""
    return next((rule for rule in (*OLDER_SERVER, *RULES) if rule.fits(status, words)), None)


def is_refused_unseen(failure: TransportError) -> bool:
    """Whether a server that starts or shuts down refused the call before any work."""
    return failure.status in ("UNAVAILABLE", "NOT_FOUND") and read(failure).code == "model_not_ready"


def deadline_exceeded(sent: Sent) -> DeadlineExceeded:
    """The error for a deadline that passed in the client, between two tries."""
    message = MEANINGS[DeadlineExceeded.code].sentence.format(target=sent.target, timeout_s=sent.timeout_s)
    return DeadlineExceeded(message, model=sent.model, request_id=sent.request_id)


def _split(text: str) -> tuple[str | None, str]:
    """The outermost code, None where there is none, and the message after it."""
    code = None
    while code is None and (match := _BEFORE_SENTENCE.match(text)) is not None:
        code = match["code"]
        text = text[match.end() :]
    return code, text


def _without_noise(words: str) -> str:
    """The message without advice for operators; of a failed connection only the reason."""
    words = words.partition(". NOTE: Setting a non-zero max_batch_size")[0].rstrip(".")
    cause = _WHY_UNTRUSTED.search(words) or _WHY_UNREACHED.match(words)
    return words if cause is None else cause[1].lower()
