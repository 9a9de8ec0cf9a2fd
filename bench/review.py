"""The reviews that are measured with: a pod as the API server has it when it asks a mutating webhook, defaults and managed
fields included. Names, uid and creation time of the pod are given later than that.

The reviews of one kind differ in a number of ten digits. It stands where the replicas of a Deployment differ (in the uid of
the review, and in the name of the token's volume, which the API server draws for each pod), and with `first_seen` also in the
application's memory and arguments.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import orjson

from scripts.review import admission_review

Outcome: TypeAlias = Literal["patched", "untouched", "refused"]
DIGITS: Final = "2456789"  # of a decimal number, of a uid, and of the five characters that the API server draws
_NUMBER: Final = "@" * 10
_DRAWN: Final = "#" * 5
_TOKEN: Final = {
    "name": f"kube-api-access-{_DRAWN}",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}


def digits(number: int, length: int) -> str:
    """The last so many digits of a number."""
    written = ""
    for _ in range(length):
        number, digit = divmod(number, len(DIGITS))
        written = DIGITS[digit] + written
    return written


@dataclass(frozen=True, slots=True)
class Reviews:
    """Reviews of one kind, all of the same length. Between two pieces stand the last `slots[…]` digits of the number."""

    kind: str
    pieces: tuple[bytes, ...]
    slots: tuple[int, ...]
    outcome: Outcome

    def __len__(self) -> int:
        """Bytes of each."""
        return sum(map(len, self.pieces)) + sum(self.slots)

    def numbered(self, number: int) -> bytes:
        """One of them, as JSON."""
        drawn = [digits(number, slot).encode() for slot in self.slots]
        return b"".join(part for pair in zip(self.pieces, [*drawn, b""], strict=True) for part in pair)


def known() -> Reviews:
    """The replicas of one Deployment: one of them is decided, the others are the same pod."""
    return _reviews("known", _marked(), "patched")


def new() -> Reviews:
    """Pods of which none was seen before."""
    return _reviews("new", _marked(first_seen=True), "patched")


def unannotated() -> Reviews:
    """Pods that ask for nothing. The API server sends none of them; other webhooks are sent all."""
    given = _marked(first_seen=True)
    del given["metadata"]["annotations"]["dpdk"]
    return _reviews("unannotated", given, "untouched")


def refused() -> Reviews:
    """New pods with two mistakes."""
    given = _marked(first_seen=True)
    given["metadata"]["annotations"]["dpdk/huge-size"] = "2Mi"
    given["spec"]["hostUsers"] = False
    return _reviews("refused", given, "refused")


def _reviews(kind: str, given: dict[str, Any], outcome: Outcome) -> Reviews:
    review = admission_review(given)
    request = review["request"]
    del request["name"]
    request["uid"] = f"0d6ac2a4-52c7-4b84-a9c5-6a{_NUMBER}"
    request["userInfo"] = {
        "username": "system:serviceaccount:kube-system:replicaset-controller",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
    }
    request["options"] = {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
    pieces: list[bytes] = []
    slots: list[int] = []
    for whole in orjson.dumps(review).split(_NUMBER.encode()):
        first, *rest = whole.split(_DRAWN.encode())
        pieces += [first, *rest]
        slots += [len(_DRAWN)] * len(rest) + [len(_NUMBER)]
    return Reviews(kind, tuple(pieces), tuple(slots[:-1]), outcome)


def pod(number: int, *, first_seen: bool = False) -> dict[str, Any]:
    """The pod in one of the reviews: a DPDK application with a metrics sidecar and a native sidecar, as a Deployment's
    ReplicaSet creates it."""
    written = orjson.dumps(_marked(first_seen=first_seen)).decode()
    filled = written.replace(_NUMBER, digits(number, len(_NUMBER))).replace(_DRAWN, digits(number, len(_DRAWN)))
    parsed: dict[str, Any] = orjson.loads(filled)
    return parsed


def _marked(*, first_seen: bool = False) -> dict[str, Any]:
    """The pod with marks for the number."""
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "packet-gateway-7c9d4b8f6d",
        "uid": "6f1b7f0e-2f6e-4c43-9d53-0c3a1f9f3f55",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    labels = {
        "app.kubernetes.io/name": "packet-gateway",
        "app.kubernetes.io/part-of": "edge",
        "pod-template-hash": "7c9d4b8f6d",
    }
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "packet-gateway-7c9d4b8f6d-",
            "namespace": "edge",
            "labels": labels,
            "annotations": {
                "dpdk": "true",
                "k8s.v1.cni.cncf.io/networks": "sriov-left,sriov-right",
                "prometheus.io/port": "9100",
                "prometheus.io/scrape": "true",
            },
            "ownerReferences": [owner],
            "managedFields": [_managed()],
        },
        "spec": {
            "volumes": [{"name": "config", "configMap": {"name": "packet-gateway", "defaultMode": 420}}, _token_volume()],
            "initContainers": [_container("log-shipper", {"cpu": "100m", "memory": "64Mi"}) | {"restartPolicy": "Always"}],
            "containers": [_application(first_seen), _container("metrics", {"cpu": "200m", "memory": "128Mi"})],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "nodeSelector": {"feature.node.kubernetes.io/network-sriov.capable": "true"},
            "serviceAccountName": "packet-gateway",
            "serviceAccount": "packet-gateway",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": "dedicated", "operator": "Equal", "value": "dpdk", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {
                    "key": "node.kubernetes.io/unreachable",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                },
            ],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    }


def _container(name: str, limits: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": f"registry.example.com/edge/{name}:1.14.2",
        "args": ["--listen=:9100", "--log-format=json"],
        "ports": [{"name": "http", "containerPort": 9100, "protocol": "TCP"}],
        "env": [_from_field("NODE_NAME", "spec.nodeName"), {"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"limits": limits, "requests": {"cpu": "50m", "memory": limits["memory"]}},
        "volumeMounts": [_TOKEN],
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "allowPrivilegeEscalation": False},
    }


def _application(first_seen: bool) -> dict[str, Any]:
    memory, prefix = (_NUMBER, f"gateway-{_NUMBER}") if first_seen else ("2Gi", "gateway")
    amounts = {"memory": memory, "hugepages-1Gi": "4Gi", "example.com/sriov_left": "1", "example.com/sriov_right": "1"}
    return _container("gateway", amounts) | {
        "command": ["/bin/sh", "-c"],
        "args": [f"exec packet-gateway $DPDK_EAL_ARGS --file-prefix={prefix} -- --config /etc/gateway/gateway.toml"],
        "env": [_from_field("POD_NAME", "metadata.name"), _from_field("POD_NAMESPACE", "metadata.namespace")],
        "resources": {"limits": amounts | {"cpu": "3500m"}, "requests": amounts | {"cpu": "3500m"}},
        "volumeMounts": [{"name": "config", "readOnly": True, "mountPath": "/etc/gateway"}, _TOKEN],
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": 9100, "scheme": "HTTP"},
            "initialDelaySeconds": 10,
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsUser": 0},
    }


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _token_volume() -> dict[str, Any]:
    items = [{"key": "ca.crt", "path": "ca.crt"}]
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": items}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": _TOKEN["name"], "projected": {"sources": sources, "defaultMode": 420}}


def _managed() -> dict[str, Any]:
    keys = ["f:image", "f:imagePullPolicy", "f:name", "f:resources", "f:terminationMessagePath"]
    containers: dict[str, Any] = {f'k:{{"name":"{name}"}}': {".": {}} | {key: {} for key in keys} for name in ("gateway",)}
    labels = ["f:app.kubernetes.io/name", "f:app.kubernetes.io/part-of", "f:pod-template-hash"]
    spec: dict[str, Any] = {"f:containers": containers, "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}}
    return {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:generateName": {}, "f:labels": {".": {}} | {key: {} for key in labels}},
            "f:spec": spec,
        },
    }
