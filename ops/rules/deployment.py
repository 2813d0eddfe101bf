"""What rules and dashboards are made for: the scrape, the models, the server's release and profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ops.errors import OpsError
from ops.objectives import Objectives
from ops.repository import models_folder, read_config

RECOGNIZER = "recognizer"
SEARCHER = "searcher"
# What every search ends in: a photo's through `searcher`, an embedding's or a product's by itself.
INDEX = "index"
# `nv_inference_first_response_histogram_ms` covers models that are not decoupled, that is ours, from here on.
HISTOGRAM_SINCE = "26.01"
# Which server: `pod` and `namespace` are there under Kubernetes only, and an absent label groups as an empty one.
SERVER = "namespace, job, instance, pod"
FLEET = "namespace, job"


@dataclass(frozen=True)
class Deployment:
    """Attributes:
    steps: the models behind the ensemble `recognizer`, from its `config.pbtxt`.
    time_scale: 1, or less to shorten every window and wait, so that a test sees hours pass in seconds.
    """

    objectives: Objectives
    steps: tuple[str, ...]
    time_scale: float = 1.0

    @property
    def has_latency_histogram(self) -> bool:
        return self.objectives.server.release >= HISTOGRAM_SINCE

    def judges(self, model: str) -> bool:
        """Whether the model has objectives and is there."""
        own = self.objectives.models.get(model)
        return own is not None and not own.awaited

    def span(self, seconds: float) -> str:
        """A duration as PromQL writes it, scaled."""
        return format_span(seconds * self.time_scale)

    def select(self, metric: str, **labels: str) -> str:
        """A selector of our scrape; a value may begin with its operator, as in `reason='!=CANCELED'`."""
        matchers = [f'job="{self.objectives.job}"']
        for label, value in labels.items():
            operator = next((one for one in ("!=", "!~", "=~") if value.startswith(one)), "")
            matchers.append(f'{label}{operator or "="}"{value.removeprefix(operator)}"')
        return f"{metric}{{{', '.join(matchers)}}}"


def format_span(seconds: float) -> str:
    """`90` is `1m30s`, `0.5` is `500ms`: no fractions, as Prometheus wants it."""
    rest_ms = round(seconds * 1000)
    parts = []
    for unit, length_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest_ms = divmod(rest_ms, length_ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def read_steps(repository: Path) -> tuple[str, ...]:
    """The steps of the ensemble `recognizer`.

    Raises:
        OpsError: its `config.pbtxt` is not an ensemble.
    """
    folder = models_folder(repository) / RECOGNIZER
    config = read_config(folder, None)
    steps = [] if config is None else [step.model_name for step in config.ensemble_scheduling.step]
    if not steps:
        raise OpsError(f"{folder}/config.pbtxt is not an ensemble; the rules count its steps.")
    return tuple(dict.fromkeys(steps))
