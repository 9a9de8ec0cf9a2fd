"""The harness itself: is what the other tests judge the webhook by a cluster as users have it?"""

import json
import os
from typing import Any

import httpx
import pytest
import yaml

from tests.cluster.binaries import kubernetes_version
from tests.cluster.cluster import OVERLAY, Cluster
from tests.cluster.tied import until
from tests.cluster.webhook import Webhook

POD: dict[str, Any] = {"metadata": {"name": "plain"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}


@pytest.mark.skipif("KUBEBUILDER_ASSETS" in os.environ, reason="KUBEBUILDER_ASSETS brings a version of its own")
def test_the_server_is_the_release_that_go_mod_pins(cluster: Cluster) -> None:
    version = json.loads(cluster.kubectl("version", "-o", "json").stdout)
    major, minor, _ = kubernetes_version().removeprefix("v").split(".", 2)
    for side in ("clientVersion", "serverVersion"):
        assert version[side]["gitVersion"] == kubernetes_version()
        assert (version[side]["major"], version[side]["minor"]) == (major, minor)
    assert cluster.version == (int(major), int(minor))


def test_a_plain_pod_costs_no_call(cluster: Cluster, webhook: Webhook) -> None:
    names = ("mutate.pods.dpdk-webhook", "validate.pods.dpdk-webhook")
    before = [cluster.webhook_calls(name) for name in names]
    assert min(before) > 0, "the counters count"
    with cluster.namespace() as namespace:
        pods = f"/api/v1/namespaces/{namespace}/pods"
        assert cluster.api("POST", pods, POD).status == httpx.codes.CREATED
        assert cluster.kubectl("label", "pod", "plain", "--namespace", namespace, "a=b").returncode == 0
        assert cluster.api("DELETE", f"{pods}/plain").status == httpx.codes.OK
    assert [cluster.webhook_calls(name) for name in names] == before


def test_a_webhook_that_never_was_has_no_calls(cluster: Cluster) -> None:
    assert cluster.webhook_calls("nobody") == 0


def test_a_pod_gets_its_token_volume_as_everywhere(cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        made = cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods", POD)
    assert [mount["mountPath"] for mount in made.body["spec"]["containers"][0]["volumeMounts"]] == [
        "/var/run/secrets/kubernetes.io/serviceaccount"
    ]


def test_a_namespace_can_be_put_under_a_pod_security_standard(cluster: Cluster) -> None:
    with cluster.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as namespace:
        refused = cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods", POD)
    assert refused.status == httpx.codes.FORBIDDEN
    assert 'violates PodSecurity "restricted:latest"' in refused.body["message"]


def test_a_namespace_goes_away_after_use(cluster: Cluster) -> None:
    with cluster.namespace() as namespace:
        cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods", POD)

    def gone() -> bool:
        return cluster.api("GET", f"/api/v1/namespaces/{namespace}").status == httpx.codes.NOT_FOUND

    until(gone, seconds=30, waiting_for="the end of a namespace")


def test_warnings_are_read_from_the_answer(cluster: Cluster) -> None:
    misspelt = {**POD, "spec": {**POD["spec"], "hostNetwerk": True}}
    answer = cluster.api("POST", "/api/v1/namespaces/default/pods?dryRun=All", misspelt)
    assert answer.status == httpx.codes.CREATED
    assert answer.warnings == ['unknown field "spec.hostNetwerk"']


def test_manifests_render_byte_identically_twice(cluster: Cluster) -> None:
    once, twice = (cluster.kubectl("kustomize", OVERLAY).stdout for _ in range(2))
    assert once == twice


def test_an_unknown_field_in_a_manifest_is_refused(cluster: Cluster) -> None:
    documents = yaml.safe_load_all(cluster.kubectl("kustomize", OVERLAY).stdout)
    (service,) = (document for document in documents if document["kind"] == "Service")
    service["metadata"]["namespace"] = "default"
    service["spec"]["sessionAfinity"] = "None"
    apply = ("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-")
    refused = cluster.kubectl(*apply, input=json.dumps(service), check=False)
    assert refused.returncode == 1
    assert ".spec.sessionAfinity: field not declared in schema" in refused.stderr


def test_the_replicas_of_the_deployment_pass_the_restricted_standard(cluster: Cluster, webhook: Webhook) -> None:
    def replicas() -> int:
        return len(cluster.api("GET", "/api/v1/namespaces/dpdk-webhook/pods").body["items"])

    until(lambda: replicas() == 2, seconds=30, waiting_for="the replicas of the Deployment")
