"""The deployment that rules and dashboards are made for: scrape job, models, release and profile of the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ops.errors import OpsError
from ops.observability.slo.objectives import Objectives
from ops.repository import models_folder, read_config

RECOGNIZER = "recognizer"
SEARCHER = "searcher"
# Every search ends in this model: the search of a photo through `searcher`, that of an embedding or product directly.
INDEX = "index"
# From this release on, `nv_inference_first_response_histogram_ms` covers models that are not decoupled, as ours are.
HISTOGRAM_SINCE = "26.01"
# The labels of one server. `pod` and `namespace` exist under Kubernetes only; an absent label groups as an empty one.
SERVER = "namespace, job, instance, pod"
FLEET = "namespace, job"


@dataclass(frozen=True)
class Deployment:
    """Attributes:
    steps: the models that the ensemble `recognizer` calls, from its `config.pbtxt`.
    time_scale: 1, or less to shorten every window and hold time, so that a test covers hours in seconds.
    """

    objectives: Objectives
    steps: tuple[str, ...]
    time_scale: float = 1.0

    @property
    def has_latency_histogram(self) -> bool:
        return self.objectives.server.release >= HISTOGRAM_SINCE

    def threshold_s(self, model: str) -> float:
        """Returns the latency objective of the model in the server's profile."""
        return self.objectives.models[model].latency.threshold_s(self.objectives.server.profile)

    def span(self, seconds: float) -> str:
        """Returns the scaled duration in PromQL notation."""
        return format_span(seconds * self.time_scale)

    def select(self, metric: str, **labels: str) -> str:
        """Returns a selector of the scrape job; a value may begin with its operator, as in `reason='!=CANCELED'`."""
        matchers = [f'job="{self.objectives.job}"']
        for label, value in labels.items():
            operator = next((one for one in ("!=", "!~", "=~") if value.startswith(one)), "")
            matchers.append(f'{label}{operator or "="}"{value.removeprefix(operator)}"')
        return f"{metric}{{{', '.join(matchers)}}}"

    def rate(self, metric: str, by: str, window_s: float, **labels: str) -> str:
        """Returns the sum of the rates per second over the scaled window, for each value of the labels `by`."""
        return f"sum by ({by}) (rate({self.select(metric, **labels)}[{self.span(window_s)}]))"


def format_span(seconds: float) -> str:
    """Returns `1m30s` for 90 and `500ms` for 0.5, because Prometheus accepts no fractions."""
    rest_ms = round(seconds * 1000)
    parts = []
    for unit, length_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest_ms = divmod(rest_ms, length_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def read_steps(repository: Path) -> tuple[str, ...]:
    """Returns the steps of the ensemble `recognizer`.

    Raises:
        OpsError: the model's `config.pbtxt` is not an ensemble.
    """
    folder = models_folder(repository) / RECOGNIZER
    config = read_config(folder, None)
    steps = [] if config is None else [step.model_name for step in config.ensemble_scheduling.step]
    if not steps:
        raise OpsError(
            f"{folder}/config.pbtxt is not an ensemble. Rules and dashboards need its steps: restore the config."
        )
    return tuple(dict.fromkeys(steps))
