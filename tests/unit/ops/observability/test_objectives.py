"""`ops/slo.yaml`: what it may say, and the sentence for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.errors import OpsError
from ops.observability.slo.objectives import SLO_FILE, parse_span, read_objectives
from ops.settings import REPOSITORY

SLO = SLO_FILE.read_text(encoding="utf-8")


def read(tmp_path: Path, text: str, repository: Path = REPOSITORY) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(text, encoding="utf-8")
    read_objectives(repository, file)


def test_committed_objectives_are_those_that_were_promised() -> None:
    objectives = read_objectives(REPOSITORY)
    recognizer = objectives.models["recognizer"]
    assert (recognizer.availability.percent, objectives.window_days) == (99.9, 30)
    assert (recognizer.latency.percent, recognizer.latency.threshold_s("cpu")) == (99, 0.25)
    assert [burn.factor for burn in objectives.burn_rates] == [14.4, 6, 3, 1]


def test_profile_without_a_threshold_of_its_own_has_the_models() -> None:
    latency = read_objectives(REPOSITORY).models["recognizer"].latency
    assert latency.threshold_s("h100") == latency.threshold_s(None) == latency.under_ms / 1000


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("least_failures: 5", "least_failure: 5", r"least_failure: unknown key; got 5"),
        ("least_failures: 5", "", r"least_failures: missing key"),
        ("percent: 99.9", "percent: 100", r"models\.recognizer\.availability\.percent: .*less than 100; got 100"),
        ("under_ms: 100", "under_ms: -1", r"latency\.under_ms: .*greater than 0; got -1"),
        ("long: 1h", "long: 1 hour", r"burn_rates\.0\.long: '1 hour' is not a duration"),
        ('release: "24.10"', "release: latest", r"server\.release: .*got 'latest'"),
        ("severity: page", "severity: panic", r"burn_rates\.0\.severity: .*'page' or 'ticket'; got 'panic'"),
        ("window_days: 30", "window_days: [", r"slo\.yaml is not YAML"),
        ("  recognizer:", "  recogniser:", r"models\.recogniser: the repository has no such model"),
    ],
)
def test_mistake_is_a_sentence_that_names_the_place(tmp_path: Path, right: str, wrong: str, sentence: str) -> None:
    assert right in SLO
    with pytest.raises(OpsError, match=sentence):
        read(tmp_path, SLO.replace(right, wrong))


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300), ("6h", 21600), ("3d", 259200)])
def test_span_is_read_in_seconds(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds
