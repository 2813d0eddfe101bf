"""Builds etcd and the control plane of Kubernetes in the versions of go.mod: `python -m tests.chart.cluster.build`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.chart.tools import TOOLS

HERE = Path(__file__).parent
BUILT = TOOLS / "cluster"
STAGES = BUILT / "stages.yaml"
# The default stages of KWOK for nodes and pods; a configuration file replaces them, so it must include them.
_STAGE_FOLDERS = ("node/fast", "pod/fast")


def main() -> int:
    """Build the programs that go.mod pins; a second call uses the cache of Go and takes seconds."""
    if shutil.which("go") is None:
        print(
            "error: `go` is not on the PATH, and it builds the control plane: install Go 1.26 or later", file=sys.stderr
        )
        return 1
    BUILT.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    # The build script of Kubernetes sets these variables; without them, the API server reports v0.0.0.
    version = _module("k8s.io/kubernetes")["Version"]
    flags = "-s -w " + " ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in {
            "gitVersion": version,
            "gitMajor": version.lstrip("v").split(".")[0],
            "gitMinor": version.split(".")[1],
        }.items()
    )
    built = subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", f"{BUILT}{os.sep}", "tool"],
        cwd=HERE,
    )
    if built.returncode:
        return 1
    STAGES.write_text("---\n".join(_stages()))
    for module in ("k8s.io/kubernetes", "go.etcd.io/etcd/server/v3", "sigs.k8s.io/kwok"):
        print(f"{'built':12} {module} {_module(module)['Version']}")
    print(f"in {time.monotonic() - started_s:.0f} s")
    return 0


def _stages() -> list[str]:
    kwok = Path(_module("sigs.k8s.io/kwok")["Dir"])
    found = [
        path.read_text()
        for folder in _STAGE_FOLDERS
        for path in sorted((kwok / "kustomize/stage" / folder).glob("*.yaml"))
        if path.name != "kustomization.yaml"
    ]
    return [*found, (HERE / "stages.yaml").read_text()]


def _module(path: str) -> dict[str, str]:
    told = subprocess.run(
        ["go", "list", "-m", "-json", path],
        cwd=HERE,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(told.stdout)  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
