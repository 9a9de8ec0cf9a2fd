"""Values that people choose, each with each other's: rows in which every two choices of different keys meet at least once."""

from collections.abc import Mapping
from copy import deepcopy
from itertools import combinations
from typing import Any, Final

from tests.deploy.rendered import ENABLED, Values

CA: Final = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
DIGEST: Final = "sha256:" + "0123456789abcdef" * 4

# what a release can be called, and where it can be
RELEASES: Final = (("dpdk-webhook", "dpdk-webhook"), ("blue", "tenant-a"), ("a-dpdk-webhook-of-ours", "tenant-b"))

CHOICES: Final[Mapping[str, tuple[Values, ...]]] = {
    "mode": (
        {},
        {"certificates": {"mode": "cert-manager"}},
        {"certificates": {"mode": "openshift"}},
        {"certificates": {"mode": "files", "caBundle": CA}},
    ),
    "issuer": (
        {},
        {"certificates": {"certManager": {"issuerRef": {"name": "ours", "kind": "ClusterIssuer"}, "duration": "48h0m0s"}}},
    ),
    "secret": ({}, {"certificates": {"secretName": "the.secret"}}),
    "names": ({}, {"nameOverride": "hugepages"}, {"fullnameOverride": "w" * 63}),
    "image": ({}, {"image": {"registry": "registry.example.com/a", "tag": "1.2-x"}}, {"image": {"digest": DIGEST}}),
    "replicas": (
        {},
        {"replicaCount": 1, "strategy": {"type": "Recreate"}},
        {"replicaCount": 3, "podDisruptionBudget": {"maxUnavailable": "50%"}},
        {"replicaCount": 5, "podDisruptionBudget": {"enabled": False}, "revisionHistoryLimit": 0},
    ),
    "account": ({}, {"serviceAccount": {"name": "runner", "annotations": {"a": "b"}}}),
    "place": (
        {},
        {
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
            "topologySpreadConstraints": [],
            "priorityClassName": "system-cluster-critical",
            "imagePullSecrets": [{"name": "pull"}],
        },
        {"topologySpreadConstraints": [{"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}]},
    ),
    "network": (
        {},
        {"hostNetwork": True, "settings": {"tls_port": 9443, "health_port": 9080}},
        {"settings": {"health_port": 18080}, "dnsPolicy": "Default"},
    ),
    "labels": ({}, {"commonLabels": {"team": "a", "b": "1"}, "podLabels": {"team": "b"}, "podAnnotations": {"note": "x"}}),
    "webhook": (
        {},
        {"webhook": {"failurePolicy": "Ignore", "timeoutSeconds": 1, "reinvocationPolicy": "Never", "annotations": {"a": "b"}}},
        {
            "webhook": {
                "namespaceSelector": {
                    "matchLabels": {"dpdk": "allowed"},
                    "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["spared"]}],
                },
                "matchConditions": [{"name": "not-exempt", "expression": "!('exempt' in object.metadata.annotations)"}],
            }
        },
    ),
    "settings": (
        {},
        {
            "settings": {
                "cpu_step": 2,
                "max_cpu": 1000000,
                "default_cpu": 2,
                "default_memory": "1Gi",
                "default_hugepages": {"2Mi": "1Gi", "1Gi": "2Gi"},
                "whole_cpus": "all",
                "allow_user_namespaces": True,
                "shed_after": 0.5,
                "tls_min_version": 1.3,
            },
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
        },
        {
            "settings": {"client_ca": "/etc/callers/ca.crt", "client_subjects": ["kube-apiserver", "system:admin"]},
            "extraVolumes": [{"name": "callers", "secret": {"secretName": "callers"}}],
            "extraVolumeMounts": [{"name": "callers", "mountPath": "/etc/callers", "readOnly": True}],
        },
    ),
    "further": (
        {},
        ENABLED,
        {
            **ENABLED,
            "networkPolicy": {
                "enabled": True,
                "healthFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
                "apiServerPorts": [8443],
                "extraEgress": [{"ports": [{"port": 4318, "protocol": "TCP"}]}],
                "extraIngress": [{"from": [{"podSelector": {}}]}],
            },
            "serviceMonitor": {"enabled": True, "labels": {"release": "p"}, "interval": "1m"},
            "prometheusRule": {"enabled": True, "labels": {"release": "p"}, "runbookUrl": "https://runbooks.example.com/"},
        },
    ),
    "policy": ({}, {"policy": {"enabled": False}}),
    "resources": (
        {},
        {
            "resources": {"limits": {"memory": "1Gi"}},
            "probes": {"startup": {"failureThreshold": 5}, "liveness": {"initialDelaySeconds": 3}},
            "terminationGracePeriodSeconds": 60,
            "strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "deploymentAnnotations": {"a": "b"},
            "podSecurityContext": {"fsGroup": 1},
        },
    ),
}
Row = Mapping[str, int]  # which choice of each key, by its place


def rows() -> list[Row]:
    """So few that it can be waited for: each takes, of what hasn't met yet, as much as it can. The same each time."""
    sizes = {"release": len(RELEASES), **{name: len(choices) for name, choices in CHOICES.items()}}
    left = {
        (one, first, other, second)
        for one, other in combinations(sizes, 2)
        for first in range(sizes[one])
        for second in range(sizes[other])
    }
    made: list[Row] = []
    while left:
        one, first, other, second = min(left)
        row = {one: first, other: second}
        for name in (name for name in sizes if name not in row):
            row[name] = max(range(sizes[name]), key=lambda choice: (len(_met({**row, name: choice}, sizes) & left), -choice))
        left -= _met(row, sizes)
        made.append(row)
    return made


def _met(row: Row, sizes: Mapping[str, int]) -> set[tuple[str, int, str, int]]:
    return {(one, row[one], other, row[other]) for one, other in combinations(sizes, 2) if one in row and other in row}


def values(row: Row) -> dict[str, Any]:
    """What somebody would write who has chosen all of it."""
    merged: dict[str, Any] = {}
    for name, choices in CHOICES.items():
        merged = _merged(merged, choices[row[name]])
    if merged.get("certificates", {}).get("mode") in (None, "self") and row["secret"]:
        merged["certificates"]["secretName"] = "the-secret"
    return merged


def _merged(into: Mapping[str, Any], further: Values) -> dict[str, Any]:
    result = deepcopy(dict(into))
    for key, value in further.items():
        both = isinstance(result.get(key), Mapping) and isinstance(value, Mapping)
        result[key] = _merged(result[key], value) if both else deepcopy(value)
    return result


def title(row: Row) -> str:
    return " ".join(f"{name}={choice}" for name, choice in row.items() if choice) or "as it comes"
