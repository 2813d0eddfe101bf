"""Every template has a test file."""

from __future__ import annotations

from pathlib import Path

from tests.chart.rendering import CHART

HERE = Path(__file__).parent
# Templates with a test file of another name.
ELSEWHERE = {
    "validation": "test_validation.py",
    "ready": "templates/test_helm_tests.py",
    "recognize": "templates/test_helm_tests.py",
}


def test_every_template_has_a_test_file() -> None:
    templates = [path.stem for path in (CHART / "templates").rglob("*.yaml")]
    expected = {name: ELSEWHERE.get(name, f"templates/test_{name.replace('-', '_')}.py") for name in templates}
    assert {name: file for name, file in expected.items() if not (HERE / file).exists()} == {}


def test_every_template_file_makes_one_kind_of_object() -> None:
    for path in (CHART / "templates").rglob("*.yaml"):
        kinds = {line.split(":")[1].strip() for line in path.read_text().splitlines() if line.startswith("kind:")}
        assert len(kinds) <= 1, path.name
