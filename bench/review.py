"""The review that is measured with: a pod as the API server has it when it asks, defaults and managed fields included."""

from typing import Any

import orjson

from scripts.review import admission_review

_TOKEN = {"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}


def body() -> bytes:
    """One AdmissionReview of about 5.5 kB, as JSON."""
    return orjson.dumps(admission_review(pod()))


def pod() -> dict[str, Any]:
    """A DPDK application with a metrics sidecar and a native sidecar, as a Deployment's ReplicaSet creates it."""
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
            "name": "packet-gateway-7c9d4b8f6d-kq5zv",
            "generateName": "packet-gateway-7c9d4b8f6d-",
            "namespace": "edge",
            "uid": "0d6ac2a4-52c7-4b84-a9c5-6a1b1b0f6f0e",
            "creationTimestamp": "2026-01-01T00:00:00Z",
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
            "containers": [_application(), _container("metrics", {"cpu": "200m", "memory": "128Mi"})],
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
        "status": {"phase": "Pending", "qosClass": "Burstable"},
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


def _application() -> dict[str, Any]:
    amounts = {"memory": "2Gi", "hugepages-1Gi": "4Gi", "example.com/sriov_left": "1", "example.com/sriov_right": "1"}
    return _container("gateway", {"memory": "2Gi"}) | {
        "command": ["/bin/sh", "-c"],
        "args": ["exec packet-gateway $DPDK_EAL_ARGS --proc-type=primary -- --config /etc/gateway/gateway.toml"],
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
