"""Error codes and metrics: tables of what `triptych_models` defines."""

from __future__ import annotations

import inspect

import triptych
from docs.generation.pages import Page, as_text, table
from triptych._core.failures.codes import MEANINGS
from triptych_models.errors import Code, Origin
from triptych_models.metrics.families import METRICS, format_bound

_CODES = """# Error codes

An error of a model has the text `[code] sentence`, over gRPC and HTTP. Triton puts `[request id: x] ` before the text
if the request has an id, and `in ensemble 'searcher', ` if the model is a step of an ensemble. An error of the client
has the code as `.code`. `model_repository/triptych_models/errors.py` defines the codes.
"""
_CLASSES = """## Errors of the client

Each class has its own codes. The client passes on a code that it does not know unchanged; the class then follows from
the gRPC status.
"""
_METRICS = """# Metrics

Triton's `/metrics` has these metrics beside Triton's own; `model_repository/triptych_models/metrics/families.py`
defines them. Label `source` is the request parameter of this name: what the request is for
([Tensors](tensors.md)). Only listed values exist; figures of whole servers (stages, cache) have no source.
"""
_MEASURING = """
Each Python process counts its own events and publishes once a second, so a value is up to 1 s old, and a killed process
loses its last second. Every series starts at 0 with the server, except the drift of a release without reference.
Triton's warm-up is not counted here, but in Triton's own counters. A histogram is published as the counters `_bucket`,
`_sum` and `_count`: the series that PromQL needs, with another `# TYPE`.

`model` is `recognizer` in the profile `cpu`; in an ensemble it is the step of the stage: `preprocess` (decode),
`embedder` (embed) or `classifier` (classify). So a sum over models counts a photo once in every profile.

## Buckets

Upper bounds; each histogram also has `+Inf`.
"""


def render() -> list[Page]:
    """The two pages."""
    return [Page("reference/error-codes.md", render_error_codes()), Page("reference/metrics.md", render_metrics())]


def render_error_codes() -> str:
    """Every code by its origin, then the client's classes with their codes."""
    parts = [_CODES]
    for origin in Origin:
        rows = [
            (f"`{code.text}`", code.status.value, _link(MEANINGS[code.text].error), as_text(code.meaning))
            for code in Code
            if code.origin is origin
        ]
        parts.append(f"## {origin.value}\n\n{table(('code', 'gRPC status', 'error of the client', 'meaning'), rows)}")
    rows = [
        (_link(error), "yes" if error.retryable else "no", _codes_of(error), _summary(error)) for error in list_errors()
    ]
    parts.append(f"{_CLASSES}\n{table(('class', 'retryable', 'codes', 'meaning'), rows)}")
    return "\n".join(parts)


def list_errors() -> list[type[triptych.TriptychError]]:
    """The client's public error classes, the base excluded."""
    found = [getattr(triptych, name) for name in triptych.__all__]
    errors = [each for each in found if inspect.isclass(each) and issubclass(each, triptych.TriptychError)]
    return [error for error in errors if error is not triptych.TriptychError]


def render_metrics() -> str:
    """Every metric, then the bounds of the histograms."""
    rows = [
        (f"`{each.name}`", each.kind, ", ".join(f"`{name}`" for name in each.labels) or "-", as_text(each.meaning))
        for each in METRICS
    ]
    bounds = [
        (f"`{each.name}`", ", ".join(format_bound(bound) for bound in each.buckets)) for each in METRICS if each.buckets
    ]
    tables = table(("metric", "kind", "labels", "meaning"), rows), table(("metric", "bounds"), bounds)
    return f"{_METRICS}\n{tables[0]}{_MEASURING}\n{tables[1]}"


def _codes_of(error: type[triptych.TriptychError]) -> str:
    return ", ".join(f"`{code}`" for code, meaning in MEANINGS.items() if meaning.error is error) or "-"


def _link(error: type[triptych.TriptychError]) -> str:
    return f"[`{error.__name__}`](python/errors.md#triptych.{error.__name__})"


def _summary(error: type[triptych.TriptychError]) -> str:
    return as_text((inspect.getdoc(error) or "").split("\n\n")[0])
