"""The SBOMs say what the image's requirements say, what the wheel's server is made of, and under which licences."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import ops.packaging.wheel_sbom as wheel_module
from ops.cli.main import main
from ops.errors import OpsError
from ops.packaging.sbom import LICENCES, REQUIREMENTS, UNKNOWN, make_licence_table, make_sbom
from ops.packaging.wheel_sbom import FRONT, SERVER, compiled_files, make_wheel_sbom

# The wheel bundles x265 beside libheif; docs/guides/build-the-image.md says how to leave it out, and what that costs.
LEFT_OUT_BY_WHOEVER_PASSES_IT_ON = {"pillow-heif"}
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
        assert "GPL" not in licence or name in LEFT_OUT_BY_WHOEVER_PASSES_IT_ON, name


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


@pytest.fixture(scope="module")
def wheel_sbom() -> dict[str, Any]:
    return json.loads(make_wheel_sbom(REQUIREMENTS))  # type: ignore[no-any-return]


def files_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in document["components"] if each["type"] == "file"}


def test_server_of_the_wheel_is_listed_with_its_backend_libraries_and_the_front(wheel_sbom: dict[str, Any]) -> None:
    files = files_of(wheel_sbom)
    versions = {name.rpartition("/")[2]: each["version"] for name, each in files.items()}
    assert versions["tritonserver"] == versions["libtriton_python.so"] == "2.51.0"
    assert versions["envoy"] == "1.40.0"
    assert any(name.startswith("nvidia_pytriton.libs/libcrypto") for name in files)
    assert len(files) == len(compiled_files(SERVER)) + len(compiled_files(FRONT)) > 40
    listed = {each["name"]: each["version"] for each in wheel_sbom["components"] if each["type"] == "library"}
    assert (listed[SERVER], listed[FRONT]) == ("0.7.0", "1.40.0")
    assert set(PINNED.findall(REQUIREMENTS.read_text())) <= set(listed.items())


def test_every_compiled_file_has_its_own_digest_and_a_licence(wheel_sbom: dict[str, Any]) -> None:
    files = files_of(wheel_sbom)
    for distribution in (SERVER, FRONT):
        for path in compiled_files(distribution):
            (entry,) = [each for name, each in files.items() if path.as_posix().endswith(name)]
            assert entry["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]
            assert entry["licenses"] != [{"license": {"name": UNKNOWN}}]


def test_file_without_a_licence_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shortened = tmp_path / "libraries.yaml"
    lines = wheel_module.LIBRARIES.read_text().splitlines()
    shortened.write_text("\n".join(line for line in lines if not line.startswith("libzstd")))
    monkeypatch.setattr(wheel_module, "LIBRARIES", shortened)
    with pytest.raises(OpsError, match=r"libzstd.* has no entry in libraries\.yaml\. Add its project and licence"):
        make_wheel_sbom(REQUIREMENTS)


def test_command_writes_the_parts_of_the_wheel(tmp_path: Path, wheel_sbom: dict[str, Any]) -> None:
    assert main(["sbom", "--wheel", "--output", str(tmp_path / "x.json")]) == 0
    assert json.loads((tmp_path / "x.json").read_text()) == wheel_sbom
