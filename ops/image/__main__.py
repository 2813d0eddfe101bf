"""`python -m ops.image RELEASE`: lays out the build's context and runs `docker build` on it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from ops.errors import OpsError
from ops.image.context import lay_out, read_digest
from ops.settings import ROOT

CONTEXT = ROOT / ".cache" / "image"
DIGITS = 12


def build_command(context: Path, name: str, version: str, digest: str, base_digest: str) -> list[str]:
    """One tag says which release is in it; the other is the chart's default, for trying it out."""
    short = digest.removeprefix("sha256:")[:DIGITS]
    arguments = {"TRIPTYCH_VERSION": version, "RELEASE": digest, "TRITON_DIGEST": base_digest and f"@{base_digest}"}
    words = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    return ["docker", "build", *words, f"--tag={name}:{version}", f"--tag={name}:{version}-{short}", str(context)]


def chart_version() -> str:
    """The chart's appVersion, which is the default tag of its image."""
    chart = yaml.safe_load((ROOT / "helm" / "triptych" / "Chart.yaml").read_text(encoding="utf-8"))
    return str(chart["appVersion"])


def main(words: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 the build failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m ops.image", description=__doc__, allow_abbrev=False)
    parser.add_argument("release", type=Path, help="a folder that `python -m export release` made")
    parser.add_argument("--name", default="triptych", help="registry and name of the image (%(default)s)")
    parser.add_argument("--base-digest", default="", metavar="sha256:...", help="pin NVIDIA's image beyond its tag")
    parser.add_argument("--context", type=Path, default=CONTEXT, help="where the context is laid out")
    parser.add_argument("--no-build", action="store_true", help="lay out the context and print the command")
    options = parser.parse_args(words)
    try:
        lay_out(options.release, options.context)
        command = build_command(
            options.context, options.name, chart_version(), read_digest(options.release), options.base_digest
        )
        return _run(command, is_dry=options.no_build)
    except OpsError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(command: list[str], *, is_dry: bool) -> int:
    if is_dry:
        print(" ".join(command))
        return 0
    if shutil.which(command[0]) is None:
        raise OpsError(f"No docker on PATH. On a machine that has it: {' '.join(command)}")
    if subprocess.run(command, check=False).returncode:
        raise OpsError(f"The image was not built; docker says why above. The command was: {' '.join(command)}")
    print(f"Built {command[-2].removeprefix('--tag=')}. Push it, then install the chart with --set image.tag=...")
    return 0


if __name__ == "__main__":
    sys.exit(main())
