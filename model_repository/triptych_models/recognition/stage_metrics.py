"""Opens the metrics of a stage from a model's config and release."""

from __future__ import annotations

from triptych_models.metrics.embedding_drift import open_running_mean
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.stages import ClassifyMetrics, EmbedMetrics
from triptych_models.triton.model import ModelConfig
from triptych_models.triton.server_folder import open_server_folder


def open_embed_metrics(config: ModelConfig, metrics: MetricRegistry, **labels: str) -> EmbedMetrics:
    """With the release's reference mean, where the release has one; for `labels` see `StageMetrics`."""
    return EmbedMetrics(metrics, open_running_mean(open_server_folder(), config.files.reference), **labels)


def open_classify_metrics(config: ModelConfig, metrics: MetricRegistry) -> ClassifyMetrics:
    """With the release's labels and the config's `abstain_below`."""
    return ClassifyMetrics(metrics, config.files.read_labels(), float(config.parameters["abstain_below"]))
