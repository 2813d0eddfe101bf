"""Propagates the caller's trace to the server as W3C trace context; needs the extra `tracing`."""

from __future__ import annotations

from collections.abc import Mapping

from triptych._optional import require

__all__ = [
    "trace_headers",
]

_WANTED_BY = "tracing=True"
_trace = require("opentelemetry.trace", extra="tracing", wanted_by=_WANTED_BY)
_propagation = require("opentelemetry.trace.propagation.tracecontext", extra="tracing", wanted_by=_WANTED_BY)
_propagator = _propagation.TraceContextTextMapPropagator()


def trace_headers() -> Mapping[str, str]:
    """`traceparent` and any `tracestate` of the current OpenTelemetry span; no headers unless it is sampled.

    Triton records every request that has a traceparent, regardless of its sampled flag.
    Triton loses about one in four over gRPC, none over HTTP.
    Source: https://github.com/triton-inference-server/server/issues/8474; docs/decisions/0056.
    """
    headers: dict[str, str] = {}
    if _trace.get_current_span().get_span_context().trace_flags.sampled:
        _propagator.inject(headers)
    return headers
