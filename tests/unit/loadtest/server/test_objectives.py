"""Objectives read from ops/slo.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import LoadTestError
from loadtest.server.objectives import read_objective


def test_objective_is_that_of_the_profile() -> None:
    assert read_objective("recognizer", "cpu").under_s == 0.25
    assert read_objective("recognizer", "gpu").under_s == 0.1
    assert read_objective("recognizer", None).availability == pytest.approx(0.999)


def test_objective_is_refused_when_the_file_says_nothing_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="has no objective for shelf"):
        read_objective("shelf")
    with pytest.raises(LoadTestError, match=r"FileNotFoundError.* Pass the file with --slo"):
        read_objective(file=tmp_path / "slo.yaml")
    (tmp_path / "slo.yaml").write_text("- a list\n")
    with pytest.raises(LoadTestError, match="has no objective for recognizer"):
        read_objective(file=tmp_path / "slo.yaml")
