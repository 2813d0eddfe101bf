"""One control plane for all tests of this folder, with CRDs and the objects that the chart requires."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.cluster.build import BUILT
from tests.chart.cluster.control_plane import ControlPlane
from tests.chart.rendering import NAMESPACE
from tests.chart.tools import CRDS, KUBECTL


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Kubernetes with two GPU nodes and a namespace that enforces the `restricted` pod security standard."""
    for needed in (BUILT / "kube-apiserver", CRDS, KUBECTL):
        if not needed.exists():
            pytest.skip(f"no {needed}: run `make chart-e2e`, which builds it")
    with ControlPlane(tmp_path_factory.mktemp("cluster")) as plane:
        # Server-side, because a CRD exceeds the annotation of client-side apply.
        plane.kubectl("apply", "--server-side", "-f", str(CRDS))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        surroundings = (Path(__file__).parent / "surroundings.yaml").read_text().replace("NAMESPACE", NAMESPACE)
        # Again: pods need the service account of their namespace, which Kubernetes creates after the namespace.
        plane.kubectl("apply", "-f", "-", stdin=surroundings)
        plane.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        yield plane
