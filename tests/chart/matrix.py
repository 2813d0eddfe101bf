"""The sets of values that the tests render; each enables one option that is off by default."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.chart.rendering import Values

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER_DIGEST = "sha256:" + "fedcba9876543210" * 4
RELEASED = {"release": DIGEST}
GATEWAY = [{"name": "public", "namespace": "gateways"}]
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
LITTLE = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}}
CATALOGUE: Values = {
    "workload": {"kind": "StatefulSet", "replicas": 1},
    "catalogue": {"enabled": True, "key": {"existingSecret": "catalogue-key"}},
}

TOGGLES: dict[str, Values] = {
    "defaults": {},
    "statefulset": {"workload": {"kind": "StatefulSet"}},
    "rollout": {"workload": {"kind": "Rollout"}},
    "rollout-analysis": {
        "workload": {"kind": "Rollout"},
        "canary": {"rollout": {"analysis": {"enabled": True, "prometheusAddress": PROMETHEUS}}},
    },
    "rollout-routes": {
        "workload": {"kind": "Rollout"},
        "canary": {"rollout": {"useRoutes": True}},
        "gatewayApi": {
            "httpRoute": {"enabled": True, "parentRefs": GATEWAY},
            "grpcRoute": {"enabled": True, "parentRefs": GATEWAY},
        },
    },
    "catalogue": CATALOGUE,
    "catalogue-claim": {
        **CATALOGUE,
        "catalogue": {
            "enabled": True,
            "key": {"existingSecret": "catalogue-key", "secretKey": "writers"},
            "persistence": {"existingClaim": "products"},
        },
    },
    "catalogue-class": {
        **CATALOGUE,
        "catalogue": {
            "enabled": True,
            "key": {"existingSecret": "catalogue-key"},
            "persistence": {"size": "100Gi", "storageClassName": "fast", "accessMode": "ReadWriteOnce"},
        },
    },
    "catalogue-weaviate": {
        "catalogue": {
            "enabled": True,
            "engine": "weaviate",
            "key": {"existingSecret": "catalogue-key"},
            "weaviate": {
                "url": "http://weaviate:8080",
                "grpcPort": 50052,
                "replicas": 3,
                "apiKey": {"existingSecret": "weaviate-key", "secretKey": "api"},
            },
        },
        "networkPolicy": {"weaviate": [{"podSelector": {"matchLabels": {"app": "weaviate"}}}]},
    },
    "one-replica": {"workload": {"replicas": 1}, "pdb": {"enabled": False}},
    "image-digest": {"image": {"registry": "registry.example:5000", "digest": DIGEST, "pullSecrets": ["registry"]}},
    "gpu": {"gpu": {"enabled": True, "runtimeClassName": "nvidia"}, "triton": {"modelConfigName": "gpu"}},
    "gpu-mig": {
        "gpu": {"enabled": True, "resourceName": "nvidia.com/mig-1g.10gb"},
        "triton": {"modelConfigName": "gpu"},
    },
    "gpu-dra": {
        "gpu": {
            "enabled": True,
            "dra": {
                "enabled": True,
                "selectors": ['device.capacity["gpu.nvidia.com"].memory.compareTo(quantity("8Gi")) >= 0'],
            },
        },
        "triton": {"modelConfigName": "gpu"},
    },
    "gpu-engine-claim": {
        "gpu": {"enabled": True, "engineCache": {"existingClaim": "engines"}},
        "triton": {"modelConfigName": "gpu"},
    },
    "old-server": {
        "triton": {"version": "24.10", "metrics": {"histograms": False}},
    },
    "deep-always": {"probes": {"deep": {"mode": "always"}}},
    "front-off": {"front": {"enabled": False}},
    "front-options": {
        "front": {"accessLog": 5, "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "512Mi"}}},
        "triton": {"grpc": {"maxConnectionAgeSeconds": 0}},
    },
    "front-off-tls": {
        "front": {"enabled": False},
        "triton": {"grpc": {"tls": {"existingSecret": "grpc-tls", "mutual": True}}},
    },
    "tls": {"triton": {"grpc": {"tls": {"existingSecret": "grpc-tls"}}}},
    "mutual-tls": {"triton": {"grpc": {"tls": {"existingSecret": "grpc-tls", "mutual": True}}}},
    "restricted-key": {"triton": {"restrictedApis": {"existingSecret": "triton-key"}}},
    "restricted-none": {"triton": {"restrictedApis": {"apis": []}}},
    "client-shared-memory": {
        "triton": {
            "extraArgs": ["--allow-client-shm=true"],
            "restrictedApis": {"apis": ["model-repository", "logging"]},
        }
    },
    "tracing": {
        "triton": {"tracing": {"enabled": True, "url": "http://otel.tracing.svc:4318/v1/traces"}},
        "networkPolicy": {"collector": [{"namespaceSelector": {"matchLabels": {"name": "tracing"}}}]},
    },
    "server-options": {
        "triton": {
            "http": {"maxInputBytes": 30000000, "threads": 4},
            "metrics": {"summaries": False, "histograms": False},
            "answerCache": {"sizeMb": 0},
            "logVerbose": 1,
            "extraArgs": ["--buffer-manager-thread-count=2"],
        }
    },
    "repository-pvc": {
        "modelRepository": {**RELEASED, "type": "pvc", "pvc": {"existingClaim": "models", "path": "shop"}}
    },
    "repository-s3": {"modelRepository": {**RELEASED, "type": "s3", "s3": {"bucket": "models", "region": "eu-west-1"}}},
    "repository-s3-compatible": {
        "modelRepository": {
            **RELEASED,
            "type": "s3",
            "s3": {
                "bucket": "models",
                "prefix": "a/b",
                "endpoint": "https://store.example",
                "existingSecret": "bucket",
            },
        }
    },
    "repository-gcs": {"modelRepository": {**RELEASED, "type": "gcs", "gcs": {"bucket": "models"}}},
    "repository-gcs-key": {
        "modelRepository": {**RELEASED, "type": "gcs", "gcs": {"bucket": "models", "existingSecret": "bucket"}}
    },
    "repository-oci": {
        "modelRepository": {
            **RELEASED,
            "type": "ociVolume",
            "ociVolume": {"reference": f"registry.example/releases@{OTHER_DIGEST}"},
        }
    },
    "repository-init-container": {
        "modelRepository": {
            **RELEASED,
            "type": "initContainer",
            "initContainer": {
                "image": f"registry.example/fetch@{OTHER_DIGEST}",
                "command": ["fetch"],
                "args": ["/models"],
            },
        }
    },
    "hpa": {"autoscaling": {"hpa": {"enabled": True}}},
    "hpa-external": {"autoscaling": {"hpa": {"enabled": True, "source": "external"}}},
    "hpa-cpu": {
        "autoscaling": {"hpa": {"enabled": True}, "inFlight": {"enabled": False}, "queueWait": {"enabled": False}}
    },
    "keda": {"autoscaling": {"keda": {"enabled": True, "prometheusAddress": PROMETHEUS, "authenticationRef": "prom"}}},
    "keda-to-zero": {
        "autoscaling": {
            "minReplicas": 0,
            "keda": {
                "enabled": True,
                "prometheusAddress": PROMETHEUS,
                "extraTriggers": [
                    {
                        "type": "cron",
                        "metadata": {
                            "timezone": "UTC",
                            "start": "0 6 * * *",
                            "end": "0 20 * * *",
                            "desiredReplicas": "1",
                        },
                    }
                ],
            },
        }
    },
    "pdb-percent": {"pdb": {"maxUnavailable": "25%"}},
    "pdb-minimum": {"pdb": {"maxUnavailable": "", "minAvailable": 1}},
    "pdb-off": {"pdb": {"enabled": False}},
    "network-open": {"networkPolicy": {"enabled": False}},
    "network-callers": {
        "networkPolicy": {
            "callers": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}],
            "callerPorts": ["grpc"],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"protocol": "TCP", "port": 4318}]}],
        }
    },
    "network-egress": {
        "modelRepository": {**RELEASED, "type": "gcs", "gcs": {"bucket": "models"}},
        "networkPolicy": {
            "dns": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}],
            "store": [{"ipBlock": {"cidr": "199.36.153.8/30"}}],
        },
    },
    "pod-monitor": {"monitoring": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
    "service-monitor": {"monitoring": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}},
    "rules": {"monitoring": {"rules": {"enabled": True, "labels": {"release": "prometheus"}}}},
    "dashboards": {"monitoring": {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Triptych"}}}},
    "ingress": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["photos.example"],
            "tls": [{"secretName": "photos-tls", "hosts": ["photos.example"]}],
        }
    },
    "http-route": {
        "gatewayApi": {"httpRoute": {"enabled": True, "parentRefs": GATEWAY, "hostnames": ["photos.example"]}}
    },
    "grpc-route": {
        "gatewayApi": {"grpcRoute": {"enabled": True, "parentRefs": GATEWAY, "hostnames": ["photos.example"]}}
    },
    "route-canary": {
        "gatewayApi": {
            "httpRoute": {"enabled": True, "parentRefs": GATEWAY},
            "grpcRoute": {"enabled": True, "parentRefs": GATEWAY},
        },
        "canary": {"route": {"service": "shop-next-triptych", "weightPercent": 10}},
    },
    "load-balancer": {
        "service": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "annotations": {"service.example/internal": "true"},
        }
    },
    "node-port": {"service": {"type": "NodePort", "httpPort": 80, "grpcPort": 9000}},
    "service-zones": {"service": {"trafficDistribution": "PreferSameZone"}},
    "load-test": {"loadTest": {"enabled": True, "image": f"registry.example/loadtest@{DIGEST}", "args": ["bench"]}},
    "tests-off": {"tests": {"enabled": False}},
    "service-account-own": {"serviceAccount": {"create": False, "name": "vision"}},
    "scheduling": {
        "nodeSelector": {"pool": "photos"},
        "tolerations": [{"key": "pool", "operator": "Equal", "value": "photos", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "arch", "operator": "Exists"}]}}
                ]
            }
        },
        "priorityClassName": "system-cluster-critical",
        "schedulerName": "default-scheduler",
        "topologySpreadConstraints": [],
    },
    "platform-user": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    "labels": {
        "commonLabels": {"team": "shop"},
        "podLabels": {"cost-centre": "42"},
        "podAnnotations": {"note": "yes"},
        "workload": {"annotations": {"note": "on"}},
    },
    "names": {"fullnameOverride": "photo-recognition"},
    "extras": {
        "extraEnv": [{"name": "MODE", "value": "1"}],
        "extraEnvFrom": [{"configMapRef": {"name": "more", "optional": True}}],
        "extraVolumes": [{"name": "more", "emptyDir": {"sizeLimit": "1Mi"}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "extraInitContainers": [
            {
                "name": "first",
                "image": f"registry.example/a@{DIGEST}",
                "securityContext": RESTRICTED,
                "resources": LITTLE,
            }
        ],
        "extraContainers": [
            {
                "name": "beside",
                "image": f"registry.example/b@{DIGEST}",
                "securityContext": RESTRICTED,
                "resources": LITTLE,
            }
        ],
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}, "data": {"a": "b"}},
            'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ .Release.Name }}-templated"}\ndata: {a: "yes"}\n',
        ],
    },
}


def merged(*parts: Values) -> Values:
    """The parts merged as Helm merges values: mappings merge, a later value replaces any other."""
    whole: Values = {}
    for part in parts:
        _lay(whole, part)
    return whole


def _lay(under: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(under.get(key), dict):
            _lay(under[key], value)
        else:
            under[key] = deepcopy(value)
