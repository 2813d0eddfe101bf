"""One control plane for all tests of this folder, with the CRDs and what a cluster has before the chart comes."""

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
        # Server-side: a CRD is larger than the annotation that client-side apply would keep it in.
        plane.kubectl("apply", "--server-side", "-f", str(CRDS))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        surroundings = (Path(__file__).parent / "surroundings.yaml").read_text().replace("NAMESPACE", NAMESPACE)
        # A second round: what stands in a namespace needs the namespace's service account first.
        plane.kubectl("apply", "-f", "-", stdin=surroundings)
        plane.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
        yield plane
