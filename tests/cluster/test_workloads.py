"""Whoever applies a workload is warned of what its pods will be refused for, and never stopped."""

import json
from collections.abc import Iterator
from typing import Any

import jsonpatch
import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.tied import until
from tests.cluster.webhook import Webhook
from tests.minimal import tweaked
from tests.oracle import violations
from tests.test_workload import made
from webhook.settings import Settings
from webhook.workload import WORKLOADS, review_all

CALLS = "warn.workloads.dpdk-webhook"
TEMPLATE: dict[str, Any] = {
    "metadata": {
        "labels": {"app": "fwd"},
        "annotations": {"dpdk": "true", "dpdk/containers": "app", "dpdk/hugepages-2Mi": "64Mi"},
    },
    "spec": {
        "automountServiceAccountToken": False,
        "containers": [
            {"name": "app", "image": "app", "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}},
            {"name": "log", "image": "log", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}},
        ],
    },
}
REFUSED = tweaked(TEMPLATE, {"spec.containers.0.securityContext": {"capabilities": {"drop": ["IPC_LOCK"]}}})


@pytest.fixture
def namespace(cluster: Cluster, webhook: Webhook) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


def workload(kind: str, template: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A workload that Kubernetes takes."""
    given = made(kind, template, **metadata)
    job = given["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else given["spec"]
    if kind in ("Job", "CronJob"):  # which select their pods by labels of their own
        job.pop("selector", None)
        del job["template"]["metadata"]["labels"]
        job["template"]["spec"]["restartPolicy"] = "Never"
    else:
        given["spec"]["selector"] = {"matchLabels": {"app": "fwd"}}
    if kind == "StatefulSet":
        given["spec"]["serviceName"] = "fwd"
    return given


def told(cluster: Cluster, namespace: str, given: dict[str, Any], command: str = "create") -> list[str]:
    """What kubectl prints beside its success."""
    return cluster.kubectl(command, "-n", namespace, "-f", "-", input=json.dumps(given)).stderr.splitlines()


@pytest.mark.parametrize("kind", WORKLOADS)
def test_the_author_of_a_workload_reads_what_its_pods_will_be_refused_for(cluster: Cluster, namespace: str, kind: str) -> None:
    place = "spec.jobTemplate.spec.template" if kind == "CronJob" else "spec.template"
    assert told(cluster, namespace, workload(kind, REFUSED)) == [
        f"Warning: the pods of this {kind} would be refused (1 reason):",
        "Warning: ipc_lock: IPC_LOCK dropped (container app, "
        f"{place}.spec.containers[0].securityContext.capabilities.drop[0]): drop beats add; remove it there",
    ]


@pytest.mark.parametrize("kind", WORKLOADS)
def test_an_annotation_in_the_wrong_place_is_named(cluster: Cluster, namespace: str, kind: str) -> None:
    place = "spec.jobTemplate.spec.template" if kind == "CronJob" else "spec.template"
    plain = {**TEMPLATE, "metadata": {"labels": {"app": "fwd"}}}
    assert told(cluster, namespace, workload(kind, plain, annotations={"dpdk": "true"})) == [
        f"Warning: opt_in: not opted in: annotate {place}, which its pods are made from, and not the {kind} itself"
    ]


def test_an_annotation_that_is_put_in_the_wrong_place_later_is_named_as_well(cluster: Cluster, namespace: str) -> None:
    plain = {**TEMPLATE, "metadata": {"labels": {"app": "fwd"}}}
    assert told(cluster, namespace, workload("Deployment", plain)) == []
    annotated = cluster.kubectl("annotate", "-n", namespace, "deployment", "fwd", "dpdk=true")
    assert annotated.stderr.splitlines() == [
        "Warning: opt_in: not opted in: annotate spec.template, which its pods are made from, and not the Deployment itself"
    ]


def test_a_workload_that_does_not_ask_costs_no_call(cluster: Cluster, namespace: str) -> None:
    before = cluster.webhook_calls(CALLS)
    for kind in WORKLOADS:
        assert told(cluster, namespace, workload(kind, {**TEMPLATE, "metadata": {"labels": {"app": "fwd"}}})) == []
    assert cluster.webhook_calls(CALLS) == before


def test_only_its_author_is_told_and_only_when_the_template_may_have_changed(cluster: Cluster, namespace: str) -> None:
    """Neither the ReplicaSet that the controller makes, nor a scaling, nor a label is a reason to call."""
    before = cluster.webhook_calls(CALLS)
    deployment = workload("Deployment", REFUSED)
    assert len(told(cluster, namespace, deployment, "apply")) == 2
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    until(lambda: cluster.api("GET", path).body["items"] != [], seconds=30, waiting_for="a ReplicaSet")
    cluster.kubectl("scale", "-n", namespace, "deployment", "fwd", "--replicas=2")
    cluster.kubectl("label", "-n", namespace, "deployment", "fwd", "tier=edge")
    assert cluster.webhook_calls(CALLS) == before + 1
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "app:2"
    assert len(told(cluster, namespace, deployment, "apply")) == 2
    assert cluster.webhook_calls(CALLS) == before + 2


def test_without_the_server_workloads_are_taken_without_a_word(cluster: Cluster, webhook: Webhook, namespace: str) -> None:
    assert webhook.stop() == 0
    try:
        assert told(cluster, namespace, workload("Deployment", REFUSED)) == []
    finally:
        webhook.start()


def test_pods_of_a_controller_are_what_the_core_makes_of_the_template(cluster: Cluster, namespace: str) -> None:
    """The template is never defaulted as a pod is: what the rules make of it by themselves must be what the API makes."""
    deployment = workload("Deployment", TEMPLATE)
    [reviewed] = review_all([deployment], Settings())
    [decision] = reviewed.decisions
    assert jsonpatch.JsonPatch(decision.patch).apply(deployment) == reviewed.after
    assert told(cluster, namespace, deployment) == []

    def pods() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = cluster.api("GET", f"/api/v1/namespaces/{namespace}/pods").body["items"]
        return items

    until(lambda: pods() != [], seconds=30, waiting_for="a pod")
    [stored] = pods()
    offline = {"apiVersion": "v1", "kind": "Pod", **decision.pod}
    offline["metadata"] = {**offline["metadata"], "name": "offline"}
    alone = cluster.api("POST", "/api/v1/namespaces/kube-system/pods?dryRun=All", offline).body
    assert stored["spec"] == alone["spec"]
    assert violations(stored) == []
