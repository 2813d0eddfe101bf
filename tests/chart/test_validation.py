"""The chart refuses values that would install and then not work, with a sentence that says what to change."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.chart.matrix import CATALOGUE, DIGEST, GATEWAY, TOGGLES, merged
from tests.chart.rendering import CHART, Values, helm_error, oldest_kube_version, run_helm
from tests.chart.schemas import kube_versions
from tests.chart.tools import HELMS

ROUTES: Values = {"gatewayApi": {"httpRoute": {"enabled": True, "parentRefs": GATEWAY}}}


def repository(kind: str, **settings: object) -> Values:
    return {"modelRepository": {"type": kind, "release": DIGEST, **settings}}


# Values, and the part of the error that says what to change.
REFUSED: dict[str, tuple[Values, str]] = {
    "grace-too-short": ({"lifecycle": {"terminationGracePeriodSeconds": 69}}, "= 70. Set it to 70 or more"),
    "sleep-too-short": (
        {"lifecycle": {"preStopSleepSeconds": 47}},
        "so the server closes gRPC connections in use: 5 + 1.1 x triton.grpc.maxConnectionAgeSeconds 30 + "
        "maxConnectionAgeGraceSeconds 10 = 48. Set it to 48 or more",
    ),
    "deadline-before-the-start-is-over": (
        {"probes": {"startup": {"failureThreshold": 179}}},  # 5 x 179 + 5
        "failureThreshold 179 + workload.minReadySeconds 5 = 900. Set it to more than 900",
    ),
    "catalogue-of-a-deployment": (
        {"catalogue": CATALOGUE["catalogue"], "workload": {"replicas": 1}},
        "workload.kind is Deployment, which starts a new pod before it stops the old one; only one pod can use the "
        "volume. Set workload.kind to StatefulSet",
    ),
    "catalogue-of-two-pods": (
        merged(CATALOGUE, {"workload": {"replicas": 2}}),
        "each pod would have its own catalogue, and a write reaches only one of them. Set workload.replicas to 1",
    ),
    "catalogue-that-scales": (
        merged(CATALOGUE, {"autoscaling": {"hpa": {"enabled": True}}}),
        "Set workload.replicas to 1, disable autoscaling",
    ),
    "catalogue-without-a-key": (
        merged(CATALOGUE, {"catalogue": {"key": {"existingSecret": ""}}}),
        "catalogue.key.existingSecret is empty, so nobody can write to the catalogue. Set it to a Secret",
    ),
    "catalogue-of-a-cluster-without-address": (
        {"catalogue": {"enabled": True, "engine": "weaviate", "key": {"existingSecret": "catalogue-key"}}},
        "catalogue.weaviate.url is empty. Set it to the address of the cluster",
    ),
    "catalogue-of-a-cluster-that-is-not-asked": (
        merged(CATALOGUE, {"catalogue": {"weaviate": {"url": "http://weaviate:8080"}}}),
        "catalogue.engine is embedded, which does not use it. Set catalogue.engine to weaviate",
    ),
    "catalogue-of-a-cluster-without-a-key": (
        merged(TOGGLES["catalogue-weaviate"], {"catalogue": {"key": {"existingSecret": ""}}}),
        "catalogue.key.existingSecret is empty, so nobody can write to the catalogue",
    ),
    "catalogue-of-a-cluster-by-environment": (
        {"extraEnv": [{"name": "TRIPTYCH_CATALOGUE_WEAVIATE", "value": "http://weaviate:8080"}]},
        "extraEnv contains TRIPTYCH_CATALOGUE_WEAVIATE, which the chart sets itself. Remove it and use catalogue",
    ),
    "catalogue-by-environment": (
        {"extraEnv": [{"name": "TRIPTYCH_CATALOGUE_DIR", "value": "/data"}]},
        "extraEnv contains TRIPTYCH_CATALOGUE_DIR, which the chart sets itself. Remove it and use catalogue",
    ),
    "catalogue-open-to-all": (
        {"extraEnv": [{"name": "TRIPTYCH_CATALOGUE_OPEN", "value": "1"}]},
        "lets every caller write to the catalogue. Remove it, and set catalogue.key.existingSecret",
    ),
    "one-port-twice": (
        {"service": {"grpcPort": 8000}},
        "but each port of a Service needs its own number. Change one",
    ),
    "canary-of-itself": (
        merged(ROUTES, {"canary": {"route": {"service": "shop-triptych"}}}),
        "the Service of this release itself. Set it to the Service of the second release",
    ),
    "histograms-before-26.01": (
        {"triton": {"version": "25.12"}},
        "triton.metrics.histograms is true and needs Triton 26.01, but triton.version is 25.12. Set it to false",
    ),
    "input-size-before-25.06": (
        {"triton": {"version": "25.05", "metrics": {"histograms": False}, "http": {"maxInputBytes": 1048576}}},
        "triton.http.maxInputBytes is 1048576 and needs Triton 25.06, but triton.version is 25.05. Set it to 0",
    ),
    "health-restricted": (
        {"triton": {"restrictedApis": {"apis": ["health"]}}},
        "but the kubelet's probes send no key, so Kubernetes would restart every pod repeatedly. Remove it",
    ),
    "inference-restricted": (
        {"triton": {"restrictedApis": {"apis": ["inference"]}}},
        "contains inference, but the deep probe and `helm test` send no key and would fail. Remove it",
    ),
    "tracing-to-nowhere": (
        {"triton": {"tracing": {"enabled": True}}},
        "triton.tracing.url is empty. Set it to an OTLP/HTTP endpoint",
    ),
    "tracing-behind-a-closed-door": (
        {"triton": {"tracing": TOGGLES["tracing"]["triton"]["tracing"]}},
        "networkPolicy.collector is empty, so no trace reaches the collector. Set it to the peers of triton.tracing",
    ),
    "weaviate-behind-a-closed-door": (
        merged(TOGGLES["catalogue-weaviate"], {"networkPolicy": {"weaviate": []}}),
        "networkPolicy.weaviate is empty, so no pod reaches the cluster. Set it to the peers of catalogue.weaviate.url",
    ),
    "mutual-without-certificate": (
        {"triton": {"grpc": {"tls": {"mutual": True}}}},
        "triton.grpc.tls.existingSecret is empty. Set it to a Secret with tls.crt, tls.key and ca.crt",
    ),
    "poll-mode": (
        {"triton": {"extraArgs": ["--model-control-mode=poll"]}},
        "triton.extraArgs contains --model-control-mode=poll, which the chart sets itself. Remove it; the value that "
        "sets it: nothing, it is always none",
    ),
    "poll-interval": ({"triton": {"extraArgs": ["--repository-poll-secs=15"]}}, "Triton never polls a release"),
    "tag-latest": ({"image": {"tag": "latest"}}, "a rollback cannot restore the previous one. Set it to the tag"),
    "load-test-without-image": ({"loadTest": {"enabled": True}}, "Set it to an image built from loadtest/Dockerfile"),
    "load-test-untagged": (
        {"loadTest": {"enabled": True, "image": "registry.example:5000/load"}},
        "loadTest.image is registry.example:5000/load, without tag or digest. Add a digest",
    ),
    "load-test-latest": (
        {"loadTest": {"enabled": True, "image": "load:latest"}},
        "loadTest.image is load:latest, which names a different image over time. Use a digest",
    ),
    "init-container-without-image": (
        repository("initContainer"),
        "Set it to an image that writes the release to /models",
    ),
    "no-release": (
        {"modelRepository": {"type": "pvc", "pvc": {"existingClaim": "models"}}},
        "modelRepository.release is empty. Set it to the digest sha256:...",
    ),
    "pvc-without-claim": (repository("pvc"), "modelRepository.pvc.existingClaim is empty. Set it to the claim"),
    "s3-without-bucket": (repository("s3"), "modelRepository.s3.bucket is empty. Set it to the bucket"),
    "gcs-without-bucket": (repository("gcs"), "modelRepository.gcs.bucket is empty. Set it to the bucket"),
    "oci-without-digest": (
        repository("ociVolume", ociVolume={"reference": "registry.example/releases:1"}),
        "without a digest. Set it to registry/name@sha256:...",
    ),
    "shm-fills-memory": (
        {"shm": {"sizeLimit": "3Gi"}},
        "so a full /dev/shm kills the server. Raise the limit, or lower shm.sizeLimit",
    ),
    "request-above-the-limit": (
        {"resources": {"requests": {"memory": "3Gi"}, "limits": {"memory": "2048Mi"}}},
        "resources.requests.memory is 3Gi, more than resources.limits.memory 2048Mi. Lower the request, or raise",
    ),
    "cores-above-the-limit": (
        {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}},
        "resources.requests.cpu is 2, more than resources.limits.cpu 1500m. Lower the request, or raise the limit",
    ),
    "front-request-over-limit": (
        {"front": {"resources": {"requests": {"memory": "2Gi"}}}},
        "front.resources.requests.memory is 2Gi, more than front.resources.limits.memory 1280Mi. Lower the request",
    ),
    "front-too-small": (
        {"front": {"resources": {"limits": {"memory": "200Mi"}}}},
        "front.resources.limits.memory is 200Mi, but the front holds whole requests in memory and needs 256Mi. Set it",
    ),
    "body-over-the-front": (
        {"triton": {"http": {"maxInputBytes": 100000000}}},
        "triton.http.maxInputBytes is 100000000, but the front refuses bodies over 67108864 bytes. Lower it",
    ),
    "gpu-left-idle": (
        {"gpu": {"enabled": True}},
        'triton.modelConfigName is "cpu", which does not use the GPU. Set triton.modelConfigName to gpu',
    ),
    "cache-fills-tmp": (
        {"triton": {"answerCache": {"sizeMb": 512}}},
        "Raise tmp.sizeLimit, or lower triton.answerCache.sizeMb",
    ),
    "gpu-profile-without-gpu": (
        {"triton": {"modelConfigName": "gpu"}},
        "gpu.enabled is false. Set gpu.enabled to true, or triton.modelConfigName to cpu",
    ),
    "claim-without-gpu": ({"gpu": {"dra": {"enabled": True}}}, "so the pods claim no device. Set gpu.enabled to true"),
    "no-pod-may-move": (
        {"workload": {"maxSurge": "0%", "maxUnavailable": 0}},
        "a rollout can replace no pod. Set one of them to 1 or more",
    ),
    "two-budgets": ({"pdb": {"minAvailable": 1}}, 'Kubernetes accepts only one. Set one of them to ""'),
    "no-budget": ({"pdb": {"maxUnavailable": ""}}, "Set pdb.maxUnavailable to 1"),
    "budget-keeps-all": (
        {"pdb": {"maxUnavailable": "", "minAvailable": 2}},
        "pdb.minAvailable is 2 of 2 pods, which blocks the drain of every node. Lower it",
    ),
    "budget-keeps-all-rounded": (
        {"pdb": {"maxUnavailable": "", "minAvailable": "51%"}},
        "pdb.minAvailable is 51% of 2 pods, which blocks the drain of every node",
    ),
    "budget-keeps-the-fewest": (
        merged(TOGGLES["hpa"], {"workload": {"replicas": 9}, "pdb": {"maxUnavailable": "", "minAvailable": 2}}),
        "pdb.minAvailable is 2 of 2 pods",
    ),
    "budget-lets-none-go": (
        {"pdb": {"maxUnavailable": "0%"}},
        "pdb.maxUnavailable is 0%, which blocks the drain of every node",
    ),
    "hpa-and-keda": (
        merged(TOGGLES["hpa"], TOGGLES["keda"]),
        "two of them conflict. Set one to false",
    ),
    "more-than-most": (
        merged(TOGGLES["hpa"], {"autoscaling": {"minReplicas": 11}}),
        "Lower minReplicas, or raise maxReplicas",
    ),
    "hpa-from-none": (
        merged(TOGGLES["hpa"], {"autoscaling": {"minReplicas": 0}}),
        "a HorizontalPodAutoscaler cannot scale up from 0 pods. Set it to 1 or more",
    ),
    "keda-from-none": (
        merged(TOGGLES["keda"], {"autoscaling": {"minReplicas": 0}}),
        "all triggers use metrics of Triton, which has none without a pod. Set it to 1",
    ),
    "hpa-on-nothing": (
        merged(TOGGLES["hpa-cpu"], {"autoscaling": {"hpa": {"cpuFallback": {"enabled": False}}}}),
        "Enable autoscaling.inFlight, autoscaling.queueWait or autoscaling.hpa.cpuFallback",
    ),
    "hpa-without-request": (
        merged(TOGGLES["hpa"], {"resources": {"requests": {"cpu": None}}}),
        "is a percentage of resources.requests.cpu, which is empty. Set resources.requests.cpu, or disable",
    ),
    "keda-on-nothing": (
        merged(TOGGLES["keda"], {"autoscaling": {"inFlight": {"enabled": False}, "queueWait": {"enabled": False}}}),
        "Enable autoscaling.inFlight or autoscaling.queueWait, or add a trigger to autoscaling.keda.extraTriggers",
    ),
    "keda-without-prometheus": (
        {"autoscaling": {"keda": {"enabled": True}}},
        "autoscaling.keda.prometheusAddress is empty. Set it to the Prometheus",
    ),
    "two-monitors": (
        merged(TOGGLES["pod-monitor"], TOGGLES["service-monitor"]),
        "Prometheus would count every series twice. Disable monitoring.serviceMonitor",
    ),
    "route-without-gateway": (
        {"gatewayApi": {"grpcRoute": {"enabled": True}}},
        "gatewayApi.grpcRoute.enabled is true, but parentRefs is empty, so no Gateway accepts the route. Add one",
    ),
    "ingress-without-host": ({"ingress": {"enabled": True}}, "Add the host names"),
    "callers-on-every-port": (
        {"networkPolicy": {"callerPorts": []}},
        "which Kubernetes treats as every port. Set it to [http, grpc] or one of them",
    ),
    "weights-without-route": (
        {"workload": {"kind": "Rollout"}, "canary": {"rollout": {"useRoutes": True}}},
        "Enable gatewayApi.httpRoute or gatewayApi.grpcRoute",
    ),
    "analysis-without-prometheus": (
        {"workload": {"kind": "Rollout"}, "canary": {"rollout": {"analysis": {"enabled": True}}}},
        "canary.rollout.analysis.prometheusAddress is empty. Set it to the Prometheus",
    ),
    "two-canaries": (
        merged(TOGGLES["rollout-routes"], {"canary": {"route": {"service": "next"}}}),
        'Set canary.route.service to ""',
    ),
    "analysis-without-rollout": (
        {"canary": {"rollout": {"analysis": {"enabled": True}}}},
        "workload.kind is Deployment. Set workload.kind to Rollout, or use canary.route",
    ),
    "canary-without-route": (
        {"canary": {"route": {"service": "next"}}},
        "canary.route.service is next, but no route is enabled. Enable",
    ),
    "canary-without-service": (
        merged(ROUTES, {"canary": {"route": {"weightPercent": 10}}}),
        "Set it to the Service of the second release",
    ),
    "variable-of-the-chart": (
        {"extraEnv": [{"name": "TRIPTYCH_CACHE_MB", "value": "1"}]},
        "Remove it and use triton.answerCache.sizeMb",
    ),
    "volume-of-the-chart": (
        {"extraVolumes": [{"name": "shm", "emptyDir": {}}]},
        "which is the name of a volume of the chart. Rename it",
    ),
    "mount-of-the-chart": (
        {"extraVolumeMounts": [{"name": "more", "mountPath": "/models/"}]},
        "extraVolumeMounts contains /models/, where the chart mounts its own volume. Use another mountPath",
    ),
    "container-of-the-chart": (
        {"extraContainers": [{"name": "triton", "image": "a:1"}]},
        "contains triton, which is the name of a container of the chart. Rename it",
    ),
}
# Values that need a newer Kubernetes: its first version, and what to change.
REFUSED_BEFORE: dict[str, tuple[Values, str, str]] = {
    "oci-volume": (TOGGLES["repository-oci"], "1.35", "Set it to pvc, s3 or gcs"),
    "device-claim": (
        TOGGLES["gpu-dra"],
        "1.34",
        "Set it to false, and gpu.resourceName to the resource of the device plugin",
    ),
    "same-zone": (TOGGLES["service-zones"], "1.34", 'Set it to ""'),
    "close": ({"service": {"trafficDistribution": "PreferClose"}}, "1.31", 'Set it to ""'),
}


@pytest.fixture(scope="module")
def bare_error(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The error of a copy of the chart that contains no rules and no dashboards."""
    copy = tmp_path_factory.mktemp("bare") / "triptych"
    shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("rules", "dashboards"))
    wanted = ("--set", "monitoring.rules.enabled=true,monitoring.dashboards.enabled=true")
    done = run_helm("helm4", "template", "shop", str(copy), "--kube-version", kube_versions()[-1], *wanted)
    assert done.returncode != 0
    return " ".join(done.stderr.split())


def sentences() -> dict[str, str]:
    """Every sentence of the chart's validation, with a pattern of the rendered sentence."""
    text = (CHART / "templates/_validation.tpl").read_text()
    lines = re.sub(r"(?s)\{\{-? ?/\*.*?\*/ ?-?\}\}", "", text).splitlines()
    found = [
        line for line in lines if re.match(r"[a-z]|\{\{ [$.]", line) and " " in re.sub(r"\{\{.*?\}\}", "", line).strip()
    ]
    return {line: ".*".join(map(re.escape, re.split(r"\{\{.*?\}\}", line))) for line in found}


@pytest.mark.parametrize("case", REFUSED)
def test_values_are_refused_with_what_to_change(case: str) -> None:
    values, sentence = REFUSED[case]
    said = helm_error(values)
    assert sentence in said
    assert "The chart refuses these values:" in said


@pytest.mark.parametrize("case", REFUSED_BEFORE)
def test_values_are_refused_when_kubernetes_is_too_old(case: str) -> None:
    values, since, sentence = REFUSED_BEFORE[case]
    before = f"{since.partition('.')[0]}.{int(since.partition('.')[2]) - 1}.0"
    said = helm_error(values, kube_version=before)
    assert f"needs Kubernetes {since}; the cluster is v{before}" in said
    assert sentence in said


def test_release_is_refused_when_its_name_makes_no_service() -> None:
    said = helm_error({}, release="2nd")
    assert "would have the name 2nd-triptych, but the name of a Service starts with a letter" in said
    assert "set fullnameOverride" in said


@pytest.mark.parametrize("what", ["rules", "dashboards"])
def test_monitoring_is_refused_when_the_chart_contains_no_files_for_it(what: str, bare_error: str) -> None:
    assert (
        f"monitoring.{what}.enabled is true, but this copy of the chart contains no {what}. Run `make generate`"
        in bare_error
    )


def test_every_sentence_of_the_validation_has_a_case(bare_error: str) -> None:
    said = "\n".join(
        [bare_error, helm_error({}, release="2nd")]
        + [helm_error(values) for values, _ in REFUSED.values()]
        + [helm_error(values, kube_version=oldest_kube_version()) for values, _, _ in REFUSED_BEFORE.values()]
    )
    patterns = sentences()
    assert len(patterns) > 40
    assert [line for line, pattern in patterns.items() if not re.search(pattern, said)] == []


@pytest.mark.parametrize("helm", HELMS)
def test_helm_prints_all_errors_at_once(helm: str) -> None:
    said = helm_error(merged(REFUSED["grace-too-short"][0], REFUSED["hpa-and-keda"][0]), helm=helm)
    assert REFUSED["grace-too-short"][1] in said
    assert REFUSED["hpa-and-keda"][1] in said


def test_kubernetes_is_refused_when_older_than_the_chart_knows() -> None:
    assert "incompatible with Kubernetes v1.29.0" in helm_error({}, kube_version="1.29.0")
