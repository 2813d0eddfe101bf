"""Prometheus metrics of a client's calls; needs the extra `metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triptych._core.recognition import Classify, Embed, Recognize
from triptych._optional import require
from triptych.errors import InvalidInput, TriptychError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = [
    "ClientMetrics",
]

# From a cached photo on the same host to the default deadline.
LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_METHODS = (Recognize.name, Classify.name, Embed.name, "search", "search_embedding", "similar_to")


class ClientMetrics:
    """Counts and times the requests of the clients it is passed to: `Client(metrics=ClientMetrics())`.

    A request of the `_many` calls, which may hold several photos, counts under the name of the single call.

    | metric | kind | labels |
    |---|---|---|
    | `triptych_client_requests_total` | counter: finished requests, successful or not | `method` |
    | `triptych_client_errors_total` | counter: requests that failed | `method`, `error`: the class, `code` |
    | `triptych_client_latency_seconds` | histogram: with retries and pauses | `method` |
    | `triptych_client_retries_total` | counter: failed tries that were repeated | `error`: the class, `code` |
    | `triptych_client_in_flight` | gauge: requests in flight | `method` |

    `code` is the code of the error, empty for an error that is no `TriptychError`: a cancelled call, for example.
    """

    def __init__(self, registry: CollectorRegistry | None = None, namespace: str = "triptych_client") -> None:
        """Registers the metrics.

        Args:
            registry: the registry to use; None is the default registry of Prometheus.
            namespace: the prefix of the metrics' names.

        Raises:
            InvalidInput: the registry already has metrics of these names; share one `ClientMetrics` between clients.
            ModuleNotFoundError: the extra `metrics` is not installed.
        """
        prometheus: Any = require("prometheus_client", extra="metrics", wanted_by="ClientMetrics")
        place = {"namespace": namespace, "registry": prometheus.REGISTRY if registry is None else registry}
        try:
            self._requests = prometheus.Counter(
                "requests", "Finished requests, successful or not.", ["method"], **place
            )
            self._errors = prometheus.Counter("errors", "Requests that failed.", ["method", "error", "code"], **place)
            self._latency = prometheus.Histogram(
                "latency_seconds",
                "Time from request to answer or failure, with retries and pauses.",
                ["method"],
                buckets=LATENCY_BUCKETS_S,
                **place,
            )
            self._retries = prometheus.Counter(
                "retries", "Failed tries that were repeated.", ["error", "code"], **place
            )
            self._in_flight = prometheus.Gauge("in_flight", "Requests in flight.", ["method"], **place)
        except ValueError as error:
            raise InvalidInput(
                f"The metrics {namespace}_* cannot be registered ({error}). Share one ClientMetrics between clients, "
                "or pass another namespace or registry."
            ) from error
        for method in _METHODS:  # otherwise a series, and an alert on its rate, starts with the first request
            self._requests.labels(method)
            self._latency.labels(method)
            self._in_flight.labels(method)

    def started(self, method: str) -> None:
        """See `Observer`."""
        self._in_flight.labels(method).inc()

    def ended(self, method: str, seconds: float, error: BaseException | None) -> None:
        """See `Observer`."""
        self._in_flight.labels(method).dec()
        self._requests.labels(method).inc()
        self._latency.labels(method).observe(seconds)
        if error is not None:
            code = error.code if isinstance(error, TriptychError) else ""
            self._errors.labels(method, type(error).__name__, code).inc()

    def retried(self, error: TriptychError) -> None:
        """See `Observer`."""
        self._retries.labels(type(error).__name__, error.code).inc()
