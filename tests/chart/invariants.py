"""Invariants of every set of values: names, labels, ports and references of the rendered objects are consistent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chart.rendering import Rendered
from tests.chart.schemas import Object, violations

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # before Kubernetes 1.34, it starts with a letter
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def inconsistencies(rendered: Rendered, kube_version: str) -> list[str]:
    """Returns a line for each inconsistency; none if the objects are consistent."""
    found: list[str] = []
    for thing in rendered:
        who = f"{thing['kind']}/{thing['metadata']['name']}"
        found += [f"{who}: {line}" for line in violations(thing, kube_version)]
        found += [f"{who}: {line}" for line in _own_faults(thing, rendered.namespace)]
    found += [f"{name}: {count} objects" for name, count in Counter(rendered.names()).items() if count > 1]
    found += [f"{who}: {line}" for who, pod in pods(rendered) for line in _pod_faults(rendered, pod)]
    return [*found, *_selector_faults(rendered), *_port_faults(rendered), *_reference_faults(rendered)]


def pods(rendered: Rendered) -> Iterator[tuple[str, Object]]:
    """Every pod and pod template, with the name of its object."""
    for thing in rendered:
        who = f"{thing['kind']}/{thing['metadata']['name']}"
        if thing["kind"] == "Pod":
            yield who, thing
        elif isinstance(thing.get("spec"), dict) and "containers" in thing["spec"].get("template", {}).get("spec", {}):
            yield who, thing["spec"]["template"]


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector matches the labels."""
    for rule in selector.get("matchExpressions", []):
        value, operator = labels.get(rule["key"]), rule["operator"]
        matches = {
            "In": value in rule.get("values", []),
            "NotIn": value not in rule.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[operator]
        if not matches:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def named_ports(rendered: Rendered) -> dict[str, int]:
    """The ports of the server's pod by name."""
    containers = [*rendered.init_containers().values(), *rendered.pod()["spec"]["containers"]]
    return {port["name"]: port["containerPort"] for container in containers for port in container.get("ports", [])}


def server_labels(rendered: Rendered) -> dict[str, str]:
    return rendered.pod()["metadata"]["labels"]  # type: ignore[no-any-return]


def services(rendered: Rendered) -> dict[str, Object]:
    return {thing["metadata"]["name"]: thing for thing in rendered.all("Service")}


def _own_faults(thing: Object, namespace: str) -> Iterator[str]:
    metadata = thing["metadata"]
    allowed = SERVICE_NAME if thing["kind"] == "Service" else DNS_LABEL
    if not allowed.fullmatch(str(metadata["name"])):
        yield f"the name is not a DNS label of at most 63 characters: {metadata['name']!r}"
    if metadata.get("namespace", namespace) != namespace:
        yield f"is in the namespace {metadata['namespace']}, expected {namespace}"
    for key, value in metadata.get("labels", {}).items():
        if not LABEL_KEY.fullmatch(key) or not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
            yield f"label {key}: {value!r} is not allowed"
    yield from (f"{path} is null" for path in _nulls(thing, "$"))


def _nulls(value: Any, path: str) -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _nulls(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _nulls(part, f"{path}[{index}]")


def _pod_faults(rendered: Rendered, pod: Object) -> Iterator[str]:
    spec = pod["spec"]
    claims = [
        claim["metadata"]["name"]
        for thing in rendered
        if thing["kind"] == "StatefulSet" and thing["spec"]["template"] is pod
        for claim in thing["spec"].get("volumeClaimTemplates", [])
    ]
    volumes = [*claims, *(volume["name"] for volume in spec.get("volumes", []))]
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    mounted = [mount["name"] for container in containers for mount in container.get("volumeMounts", [])]
    yield from (f"volume {name} is not mounted" for name in set(volumes) - set(mounted))
    yield from (f"mount of {name}, which is not a volume" for name in set(mounted) - set(volumes))
    for what, names in (("volume", volumes), ("container", [container["name"] for container in containers])):
        yield from (f"duplicate {what} {name}" for name, count in Counter(names).items() if count > 1)
    for container in containers:
        yield from (f"container {container['name']}: {line}" for line in _container_faults(container))
    if spec.get("automountServiceAccountToken") is not False:
        yield "a service account token is mounted"
    configured = {volume["configMap"]["name"] for volume in spec.get("volumes", []) if "configMap" in volume}
    yield from (
        f"there is no ConfigMap {name}"
        for name in configured - {thing["metadata"]["name"] for thing in rendered.all("ConfigMap")}
    )


def _container_faults(container: Object) -> Iterator[str]:
    paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
    yield from (f"{path} is mounted twice" for path, count in Counter(paths).items() if count > 1)
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        port = container.get(probe, {}).get("httpGet", {}).get("port")
        if isinstance(port, str) and port not in ports:
            yield f"{probe} uses port {port}, expected one of {sorted(ports)}"
    names = [variable["name"] for variable in container.get("env", [])]
    yield from (f"variable {name} is set twice" for name, count in Counter(names).items() if count > 1)
    if container["image"].endswith(":latest") or not re.search(r"[:@]", container["image"].rpartition("/")[2]):
        yield f"the image {container['image']} has neither tag nor digest"


def _selector_faults(rendered: Rendered) -> Iterator[str]:
    labels = server_labels(rendered)
    strangers = [pod["metadata"].get("labels", {}) for _, pod in pods(rendered) if pod is not rendered.pod()]
    for thing in rendered:
        for where, selector in _selectors(thing):
            who = f"{thing['kind']}/{thing['metadata']['name']} {where}"
            if not selects(selector, labels):
                yield f"{who} does not match the server's pods"
            yield from (f"{who} matches a pod that is not a server" for other in strangers if selects(selector, other))
    pod_selector = rendered.workload()["spec"]["selector"]["matchLabels"]
    if pod_selector.get("app.kubernetes.io/instance") is None:
        yield "the workload's selector does not tell releases apart"


def _selectors(thing: Object) -> Iterator[tuple[str, Object]]:
    """The selectors of an object that must match the server's pods."""
    spec = thing.get("spec", {})
    if thing["kind"] == "Service":
        yield "selector", {"matchLabels": spec["selector"]}
    elif thing["kind"] in ("Deployment", "StatefulSet", "Rollout", "PodDisruptionBudget", "PodMonitor"):
        yield "selector", spec["selector"]
    elif thing["kind"] == "NetworkPolicy":
        yield "podSelector", spec["podSelector"]
    for constraint in spec.get("template", {}).get("spec", {}).get("topologySpreadConstraints", []):
        yield "topologySpreadConstraints", constraint["labelSelector"]


def _port_faults(rendered: Rendered) -> Iterator[str]:
    ports = named_ports(rendered)
    for name, service in services(rendered).items():
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in (ports if isinstance(port["targetPort"], str) else ports.values()):
                yield f"Service/{name} has the target port {port['targetPort']}, expected one of {ports}"
    for monitor in rendered.all("PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if endpoint["port"] not in ports:
                yield f"the PodMonitor scrapes port {endpoint['port']}, expected one of {ports}"
    for monitor in rendered.all("ServiceMonitor"):
        found = [thing for thing in rendered.all("Service") if selects(monitor["spec"]["selector"], _labels(thing))]
        if len(found) != 1:
            yield f"the ServiceMonitor selects {len(found)} Services, expected 1: Prometheus counts each pod as often"
        for endpoint in monitor["spec"]["endpoints"]:
            if any(endpoint["port"] not in [port["name"] for port in thing["spec"]["ports"]] for thing in found):
                yield f"the ServiceMonitor scrapes port {endpoint['port']}, which its Service does not have"


def _labels(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("labels", {})  # type: ignore[no-any-return]


def _reference_faults(rendered: Rendered) -> Iterator[str]:
    workload = rendered.workload()
    target = {"apiVersion": workload["apiVersion"], "kind": workload["kind"], "name": workload["metadata"]["name"]}
    for scaler in (*rendered.all("HorizontalPodAutoscaler"), *rendered.all("ScaledObject")):
        if scaler["spec"]["scaleTargetRef"] != target:
            yield f"{scaler['kind']} scales {scaler['spec']['scaleTargetRef']}, not {target}"
        if "replicas" in workload["spec"]:
            yield f"{workload['kind']} sets replicas, which {scaler['kind']} controls"
    accounts = {thing["metadata"]["name"] for thing in rendered.all("ServiceAccount")}
    wanted = rendered.pod()["spec"].get("serviceAccountName", "default")
    if accounts and wanted not in accounts:
        yield f"the pods run as {wanted}, but the chart creates {accounts}"
    yield from _backend_faults(rendered)


def _backend_faults(rendered: Rendered) -> Iterator[str]:
    known = {
        name: {key for port in service["spec"]["ports"] for key in (port["port"], port["name"])}
        for name, service in services(rendered).items()
    }
    for who, name, port in _backends(rendered):
        # The Service of a canary belongs to another release of the chart, with the same ports.
        if port not in known.get(name, set().union(*known.values())):
            yield f"{who} uses port {port} of {name}, expected one of {known.get(name)}"
    for route in (*rendered.all("HTTPRoute"), *rendered.all("GRPCRoute")):
        if not any(name in known for who, name, _ in _backends(rendered) if who == route["kind"]):
            yield f"{route['kind']} uses no Service of this release"


def _backends(rendered: Rendered) -> Iterator[tuple[str, str, Any]]:
    for route in (*rendered.all("HTTPRoute"), *rendered.all("GRPCRoute")):
        for rule in route["spec"]["rules"]:
            yield from ((route["kind"], backend["name"], backend["port"]) for backend in rule["backendRefs"])
    for ingress in rendered.all("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                (port,) = path["backend"]["service"]["port"].values()
                yield "Ingress", path["backend"]["service"]["name"], port
