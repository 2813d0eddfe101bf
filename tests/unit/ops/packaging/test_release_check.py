"""A release has one version in every place that declares it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.errors import OpsError, WrongUsage
from ops.packaging.release_check import check_release, find_disagreements, read_versions

SAME = {"client/pyproject.toml": "1.2.0", "model_repository/pyproject.toml": "1.2.0", "Chart.yaml, version": "1.2.0"}


def test_versions_of_this_repository_agree() -> None:
    versions = read_versions()
    assert len(versions) == 4
    assert len(set(versions.values())) == 1, versions


@pytest.mark.parametrize(
    ("versions", "heading", "tags", "sentence"),
    [
        (SAME, "Unreleased", [], None),
        (SAME, "1.2.0", [], None),
        (SAME, "1.2.0", ["v1.2.0"], None),
        (
            SAME | {"Chart.yaml, version": "1.1.0"},
            "1.2.0",
            [],
            "Chart.yaml, version has version 1.1.0, expected 1.2.0",
        ),
        (SAME, "1.2.0", ["v1.3.0"], "The commit has the tag v1.3.0, expected v1.2.0."),
        (SAME, "Unreleased", ["v1.2.0"], "CHANGELOG.md begins with Unreleased, expected 1.2.0."),
        (SAME, "1.1.0", [], "CHANGELOG.md begins with 1.1.0, expected Unreleased or 1.2.0."),
    ],
)
def test_disagreement_is_named(versions: dict[str, str], heading: str, tags: list[str], sentence: str | None) -> None:
    found = find_disagreements(versions, heading, tags)
    if sentence is None:
        assert found == []
    else:
        assert len(found) == 1
        assert sentence in found[0]


def test_release_is_refused_when_helm_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match=r"No command no-such-helm. `make chart-tools` fetches Helm"):
        check_release("no-such-helm", tmp_path / "dist")
    assert not (tmp_path / "dist").exists()


def test_release_is_refused_when_a_file_declares_no_version(tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(OpsError, match="has no line of the form"):
        read_versions(tmp_path)
