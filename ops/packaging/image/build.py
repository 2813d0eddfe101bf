"""Builds the serving image: fills the build context with Dockerfile, pinned packages and one release, runs docker."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import yaml

from ops.errors import OpsError, WrongUsage
from ops.packaging.chart_files import CHART
from ops.release import DIGITS, MANIFEST, find_faults
from ops.repository import check_layout

HERE = Path(__file__).parent


def read_digest(release: Path) -> str:
    """Returns `sha256:...` of the release, which is the digest of its manifest.

    Raises:
        WrongUsage: the folder is not a release.
    """
    try:
        content = (release / MANIFEST).read_bytes()
        is_release = "release" in json.loads(content)
    except (OSError, ValueError):
        is_release = False
    if not is_release:
        raise WrongUsage(f"{release} is not a release. Name a folder that `triptych release` made.")
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def fill_context(release: Path, context: Path) -> None:
    """Empties the build context, then copies Dockerfile, pinned packages and the files of the manifest into it.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: the release is of an earlier version, one of its files differs from its manifest, or `context` holds
            other files.
    """
    read_digest(release)
    check_layout(release)
    _empty(context)
    for name in ("Dockerfile", "requirements.txt"):
        shutil.copyfile(HERE / name, context / name)
    files: dict[str, str] = json.loads((release / MANIFEST).read_bytes())["files"]
    faults = find_faults(release, files)
    if faults:
        raise OpsError(f"{release} is damaged: {', '.join(faults)}. Make or fetch the release again.")
    for name in (*files, MANIFEST):
        _copy_readable(release / name, context / "release" / name)


def _empty(context: Path) -> None:
    if context.exists() and not (context / "Dockerfile").is_file() and any(context.iterdir()):
        raise OpsError(f"{context} holds files that are not a build context. Name another folder with --context.")
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)


def _copy_readable(source: Path, file: Path) -> None:
    """Makes the copy readable for every user of the image."""
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    shutil.copyfile(source, file)
    file.chmod(0o644)


def chart_version() -> str:
    """Returns the chart's appVersion, the default tag of the chart's image."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    return str(chart["appVersion"])


def build_command(context: Path, name: str, version: str, digest: str, base_digest: str) -> list[str]:
    """Returns the docker command. One tag holds the release's digest; the other is the chart's default."""
    short = digest.removeprefix("sha256:")[:DIGITS]
    arguments = {"TRIPTYCH_VERSION": version, "RELEASE": digest, "TRITON_DIGEST": base_digest and f"@{base_digest}"}
    words = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    return ["docker", "build", *words, f"--tag={name}:{version}", f"--tag={name}:{version}-{short}", str(context)]


def run_build(command: list[str]) -> None:
    """Raises:
    OpsError: docker is not installed, or the build failed.
    """
    if shutil.which(command[0]) is None:
        raise OpsError(f"docker is not on PATH. On a machine that has it, run: {' '.join(command)}")
    if subprocess.run(command, check=False).returncode:
        raise OpsError(f"docker did not build the image; its output above has the cause. Command: {' '.join(command)}")
