"""The SBOM says what the image's requirements say, and under which licence each part comes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ops.cli.main import main
from ops.packaging.sbom import LICENCES, REQUIREMENTS, UNKNOWN, make_licence_table, make_sbom

PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def sbom() -> str:
    return make_sbom()


def packages(sbom: str) -> list[dict[str, Any]]:
    return [component for component in json.loads(sbom)["components"] if component["type"] == "library"]


def test_every_requirement_is_in_it_with_its_hashes(sbom: str) -> None:
    text = REQUIREMENTS.read_text()
    assert {(each["name"], each["version"]) for each in packages(sbom)} == set(PINNED.findall(text))
    hashes = {
        entry["content"]
        for each in packages(sbom)
        for reference in each["externalReferences"]
        for entry in reference.get("hashes", ())
    }
    assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", text))
    assert {each["type"] for each in json.loads(sbom)["components"]} == {
        "library",
        "container",
        "machine-learning-model",
    }


def test_it_is_the_same_in_each_run(sbom: str) -> None:
    assert make_sbom() == sbom


def test_every_part_has_a_licence_that_leaves_ones_own_code_alone(sbom: str) -> None:
    """A table row is what a person reads; none may be a licence that reaches what is linked to it."""
    for row in make_licence_table(sbom).splitlines()[6:]:
        _, name, _, licence, _ = (cell.strip() for cell in row.split("|"))
        assert licence != UNKNOWN, name
        assert "GPL" not in licence, name


def test_committed_table_is_of_these_requirements() -> None:
    rows = LICENCES.read_text().splitlines()[6:]
    listed = {tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows}
    assert set(PINNED.findall(REQUIREMENTS.read_text())) <= listed, "run `make generate`"


def test_command_writes_what_was_asked_for(tmp_path: Path, sbom: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sbom", "--output", str(tmp_path / "x.json")]) == 0
    assert (tmp_path / "x.json").read_text() == sbom
    assert main(["sbom", "--licences", str(tmp_path / "x.md")]) == 0
    assert (tmp_path / "x.md").read_text().startswith("# Licences")
    assert main(["sbom"]) == 0
    assert capsys.readouterr().out == sbom


@pytest.mark.parametrize(
    ("content", "code", "sentence"),
    [(None, 2, "There is no file"), ("", 1, "names no package"), ("{}", 1, "could not read|names no package")],
)
def test_requirements_that_are_none_are_told(
    tmp_path: Path, content: str | None, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "requirements.txt"
    if content is not None:
        file.write_text(content)
    assert main(["sbom", "--requirements", str(file)]) == code
    assert re.search(sentence, capsys.readouterr().err)
