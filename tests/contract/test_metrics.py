"""The declarations of our own metrics: named by the rules, bounded, and the same wherever they are written down."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import export.placement.companion_files
from docs.generation.tables import render_metrics
from export.profiles.cpu import size_for
from export.profiles.rendering import render_profiles
from export.repository.configs import read_config, read_configs
from export.repository.labels import SEPARATOR, read_retail_categories
from ops.observability.rules.indicators import FAULT_CODES
from triptych._core import protocol
from triptych_models.errors import Code, Origin
from triptych_models.metrics import sources, stages
from triptych_models.metrics.families import MAX_CATEGORIES, METRICS, REFUSALS, Metric, format_bound

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "model_repository"

# Prometheus slows down by series, not by samples. All combinations of labels; a server has a part of them.
MAX_SERIES = 4000


def test_page_has_every_metric_with_its_labels_and_buckets() -> None:
    page = render_metrics()
    for metric in METRICS:
        labels = ", ".join(f"`{name}`" for name in metric.labels) or "-"
        assert f"| `{metric.name}` | {metric.kind} | {labels} | " in page
        bounds = f"| `{metric.name}` | {', '.join(map(format_bound, metric.buckets))} |"
        assert (bounds in page) is bool(metric.buckets)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metric_is_named_by_the_rules(metric: Metric) -> None:
    assert re.fullmatch(r"triptych_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.meaning.endswith(".")


def test_label_sets_are_bounded() -> None:
    series = 0
    for metric in METRICS:
        combinations = 1
        for name, values in metric.labels.items():
            assert values or name == "category", f"{metric.name}: {name} may be anything"
            combinations *= len(values) or MAX_CATEGORIES + 2
        series += combinations * (len(metric.buckets) + 3 if metric.buckets else 1)
    assert series < MAX_SERIES


def test_retail_categories_fit_under_the_limit() -> None:
    assert len(set(read_retail_categories().values())) < MAX_CATEGORIES
    assert stages.SEPARATOR == SEPARATOR
    lines = (REPOSITORY / "models/classifier/labels.txt").read_text().splitlines()
    assert set(stages.categories_of(lines)) == {*read_retail_categories().values(), "none"}


def test_refusals_are_counted_by_every_code_that_models_say() -> None:
    assert {code.text for code in Code if code.origin is Origin.MODEL} <= set(REFUSALS.labels["code"])
    assert set(REFUSALS.labels["code"]) <= {code.text for code in Code}
    assert set(REFUSALS.labels["model"]) >= {"recognizer", "preprocess", "index", "catalogue"}


def test_client_and_server_know_the_same_sources() -> None:
    assert (*protocol.SOURCES, sources.OTHER) == sources.SOURCES
    assert protocol.SOURCES[0] == sources.SHOPPER


def test_abstention_threshold_has_one_home() -> None:
    threshold = read_config(REPOSITORY, "classifier").parameters["abstain_below"].string_value
    assert 0 < float(threshold) < 1
    fused = render_profiles(read_configs(REPOSITORY), size_for(2), ["cpu"])["models/recognizer/configs/cpu.pbtxt"]
    assert re.search(rf'key: "abstain_below"\s+value {{\s+string_value: "{re.escape(threshold)}"', fused)


def test_placed_reference_is_the_mean_of_unit_vectors() -> None:
    reference = json.loads((REPOSITORY / export.placement.companion_files.REFERENCE).read_text())
    (embedding,) = [o for o in read_config(REPOSITORY, "embedder").output if o.name == "embedding"]
    mean = np.array(reference["mean_embedding"])
    assert [len(mean)] == list(embedding.dims)
    assert reference["photos"] >= 1
    assert 0 < np.linalg.norm(mean) <= 1 + 1e-6


def test_rules_and_chart_count_the_codes_that_are_the_servers_fault() -> None:
    faults = sorted(code.text for code in Code if code.is_servers_fault and code.text in REFUSALS.labels["code"])
    assert sorted(FAULT_CODES) == faults
    queries = (ROOT / "helm/triptych/templates/_queries.tpl").read_text()
    assert f'code=~"{"|".join(faults)}"' in queries
