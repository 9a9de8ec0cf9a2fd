"""An AdmissionReview as kube-apiserver sends it: every field of admission.k8s.io/v1 that a CREATE carries."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4


def admission_review(given: Mapping[str, Any]) -> dict[str, Any]:
    """The review of the creation of this pod or workload by a user of kubectl, with a uid of its own."""
    metadata = given.get("metadata") or {}
    group, _, version = str(given.get("apiVersion", "v1")).rpartition("/")
    kind = {"group": group, "version": version, "kind": str(given.get("kind", "Pod"))}
    resource = {"group": group, "version": version, "resource": f"{kind['kind'].lower()}s"}
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": str(uuid4()),
            "kind": dict(kind),
            "resource": dict(resource),
            "requestKind": dict(kind),
            "requestResource": dict(resource),
            "name": metadata.get("name", ""),
            "namespace": metadata.get("namespace", "default"),
            "operation": "CREATE",
            "userInfo": {"username": "kubernetes-admin", "groups": ["kubeadm:cluster-admins", "system:authenticated"]},
            "object": dict(given),
            "oldObject": None,
            "dryRun": False,
            "options": {
                "kind": "CreateOptions",
                "apiVersion": "meta.k8s.io/v1",
                "fieldManager": "kubectl-client-side-apply",
                "fieldValidation": "Strict",
            },
        },
    }
