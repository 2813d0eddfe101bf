"""Builds the serving image: fills the build context with Dockerfile, pinned packages and one release, runs docker."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

from ops.errors import OpsError
from ops.packaging import chart_front
from ops.packaging.chart_files import CHART
from ops.release import DIGITS, MANIFEST, open_release

HERE = Path(__file__).parent


def fill_context(folder: Path, context: Path) -> str:
    """Empties the build context, then copies Dockerfile, pinned packages, front and the manifest's files into it.

    Returns:
        `sha256:...` of the release in `folder`, which is the digest of its manifest.

    Raises:
        WrongUsage: the folder is not a release.
        OpsError: the release is of an earlier version, one of its files differs from its manifest, or `context` holds
            other files.
    """
    release = open_release(folder, "Make or fetch the release again.")
    if context.exists() and not (context / "Dockerfile").is_file() and any(context.iterdir()):
        raise OpsError(f"{context} holds files that are not a build context. Name another folder with --context.")
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    for name in ("Dockerfile", "requirements.txt", "start.py"):
        shutil.copyfile(HERE / name, context / name)
    (context / "front.json").write_text(chart_front.render(), encoding="utf-8")
    for name in (*release.files, MANIFEST):
        copy = context / "release" / name
        copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.copyfile(release.folder / name, copy)
        copy.chmod(0o644)  # readable for every user of the image
    return f"sha256:{release.digest}"


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
