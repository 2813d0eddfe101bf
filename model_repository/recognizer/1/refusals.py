"""A stage that gives no answer: counted, logged with the request's id, and told to the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

import metrics
from log_lines import describe
from stage_metrics import StageMetrics


def refuse(stage: StageMetrics, error: Exception, requests: Sequence[Any]) -> Any:
    """The error for each of the requests that the exception left without an answer.

    An exception with a `reason` is the caller's to fix and its message is for them. Any other is ours: they learn that,
    and the log the rest. Returned, not raised: a raised one fails the photos of others in the batch too, and Triton
    would count it a second time.
    """
    reason = getattr(error, "reason", metrics.INTERNAL)
    stage.count_error(reason, len(requests))
    ids = ",".join(request.request_id() or "-" for request in requests)
    fields = {"model": stage.model, "stage": stage.stage, "reason": reason, "request_id": ids}
    if reason == metrics.INTERNAL:
        pb_utils.Logger.log_error(describe("failed", **fields, message=f"{type(error).__name__}: {error}"))
        sentence = (
            f"{stage.model} failed at stage {stage.stage}; the photo is not at fault. "
            "Send it again; the server's log says why."
        )
        return pb_utils.TritonError(sentence, pb_utils.TritonError.INTERNAL)
    pb_utils.Logger.log_info(describe("refused", **fields, message=str(error)))
    return pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
