"""An AdmissionReview of a pod as kube-apiserver sends it: every field of admission.k8s.io/v1 that a CREATE carries."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

_KIND = {"group": "", "version": "v1", "kind": "Pod"}
_RESOURCE = {"group": "", "version": "v1", "resource": "pods"}


def admission_review(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The review of this pod's creation by a user of kubectl, with a uid of its own."""
    metadata = pod.get("metadata") or {}
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": str(uuid4()),
            "kind": dict(_KIND),
            "resource": dict(_RESOURCE),
            "requestKind": dict(_KIND),
            "requestResource": dict(_RESOURCE),
            "name": metadata.get("name", ""),
            "namespace": metadata.get("namespace", "default"),
            "operation": "CREATE",
            "userInfo": {"username": "kubernetes-admin", "groups": ["kubeadm:cluster-admins", "system:authenticated"]},
            "object": dict(pod),
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
