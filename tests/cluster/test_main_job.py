"""The main job, judged by a real API server and by an oracle that shares no code with the webhook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.tied import until
from tests.cluster.webhook import Webhook
from tests.oracle import qos, unexpected_changes, violations

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GOOD = sorted(EXAMPLES.glob("*.yaml"))
RESIZABLE = (1, 33)  # the first version in which resources can be changed in place without a feature gate
WEBHOOKS = ("mutate.pods.dpdk-webhook", "validate.pods.dpdk-webhook")

Pod = dict[str, Any]


@pytest.fixture
def namespace(cluster: Cluster, webhook: Webhook) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


def calls(cluster: Cluster) -> list[int]:
    return [cluster.webhook_calls(name) for name in WEBHOOKS]


def manifest(name: str, **annotations: str) -> Pod:
    """A pod that needs every rule, with other annotations than dpdk where they are given."""
    container = {"name": "app", "image": "app", "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}
    metadata = {"name": name, "annotations": annotations or {"dpdk": "true", "dpdk/hugepages-2Mi": "64Mi"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def settled(pod: Pod) -> Pod:
    """The parts of a stored pod that two creations of one manifest have in common."""
    text = re.sub(r"kube-api-access-\w+", "kube-api-access", json.dumps({"spec": pod["spec"]}))
    settled: Pod = json.loads(text)
    return {**settled, "metadata": {"annotations": pod["metadata"].get("annotations", {})}}


def as_if_without_webhook(cluster: Cluster, pod: Pod) -> Pod:
    """What Kubernetes itself makes of a manifest: kube-system is the namespace that no webhook of ours is called for."""
    before = calls(cluster)
    made = json.loads(
        cluster.kubectl(
            "create", "--dry-run=server", "-n", "kube-system", "-o", "json", "-f", "-", input=json.dumps(pod)
        ).stdout
    )
    assert calls(cluster) == before
    return settled(made)


def create(cluster: Cluster, namespace: str, path: Path) -> tuple[Pod, list[Pod]]:
    """Create an example; the manifest of its pod, and the pods that are stored."""
    cluster.kubectl("create", "-n", namespace, "-f", path)
    document = yaml.safe_load(path.read_text())
    if document["kind"] == "Pod":
        name = document["metadata"]["name"]
        return document, [json.loads(cluster.kubectl("get", "pod", name, "-n", namespace, "-o", "json").stdout)]
    replicas = document["spec"]["replicas"]
    until(lambda: len(pods(cluster, namespace)) == replicas, seconds=30, waiting_for=f"{replicas} pods of {path.name}")
    template = document["spec"]["template"]
    metadata = {**template["metadata"], "generateName": "template-"}
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata}, pods(cluster, namespace)


def pods(cluster: Cluster, namespace: str) -> list[Pod]:
    found: list[Pod] = cluster.api("GET", f"/api/v1/namespaces/{namespace}/pods").body["items"]
    return found


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_an_example_is_stored_as_the_contract_promises(cluster: Cluster, namespace: str, path: Path) -> None:
    before, stored = create(cluster, namespace, path)
    untouched = as_if_without_webhook(cluster, before)
    assert violations({**untouched, "kind": "Pod"}) != [], "the example needs the webhook"
    for pod in stored:
        assert violations(pod, before=untouched) == []
        assert qos(pod) == "Guaranteed"
        assert pod["status"]["qosClass"] == "Guaranteed"
        assert unexpected_changes(untouched, settled(pod)) == []


def test_there_are_examples_of_every_kind() -> None:
    assert {path.stem for path in GOOD} >= {"testpmd", "sidecars", "two-page-sizes", "deployment"}


def test_the_amount_by_annotation_brings_request_volume_and_mount(cluster: Cluster, namespace: str) -> None:
    _, [pod] = create(cluster, namespace, EXAMPLES / "amount-by-annotation.yaml")
    container = pod["spec"]["containers"][0]
    assert container["resources"] == {
        "limits": {"cpu": "2", "memory": "1Gi", "hugepages-1Gi": "2Gi"},
        "requests": {"cpu": "2", "memory": "1Gi", "hugepages-1Gi": "2Gi"},
    }
    assert container["env"] == [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}]
    assert container["securityContext"] == {"capabilities": {"add": ["IPC_LOCK"]}}
    assert container["volumeMounts"][-1] == {"name": "hugepages-1gi", "mountPath": "/dev/hugepages"}
    assert pod["spec"]["volumes"][-1] == {"name": "hugepages-1gi", "emptyDir": {"medium": "HugePages-1Gi"}}


def test_a_volume_of_the_users_own_is_used_and_no_second_one_made(cluster: Cluster, namespace: str) -> None:
    _, [pod] = create(cluster, namespace, EXAMPLES / "own-volume.yaml")
    container = pod["spec"]["containers"][0]
    assert container["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi", "hugepages-1Gi": "2Gi"},
        "requests": {"cpu": "1", "memory": "1Gi", "hugepages-1Gi": "2Gi"},
    }
    assert container["env"] == [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/hugepages"}]
    assert container["securityContext"] == {"capabilities": {"add": ["IPC_LOCK"]}}
    assert [volume for volume in pod["spec"]["volumes"] if "emptyDir" in volume] == [
        {"name": "hugepage", "emptyDir": {"medium": "HugePages"}}
    ]


@pytest.mark.parametrize("annotations", [{}, {"dpdk": "false"}, {"dpdk": "True"}, {"other": "x"}], ids=str)
def test_a_pod_that_does_not_ask_is_stored_unchanged_without_a_call(
    cluster: Cluster, namespace: str, annotations: dict[str, str]
) -> None:
    pod = manifest("plain", **(annotations or {"kubernetes.io/description": "none of ours"}))
    if not annotations:
        del pod["metadata"]["annotations"]
    untouched = as_if_without_webhook(cluster, pod)
    before = calls(cluster)
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(pod))
    assert calls(cluster) == before
    [stored] = pods(cluster, namespace)
    assert settled(stored) == untouched


def test_an_annotated_pod_costs_one_call_of_each_webhook(cluster: Cluster, namespace: str) -> None:
    before = calls(cluster)
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("one")))
    assert calls(cluster) == [before[0] + 1, before[1] + 1]


def test_a_refused_pod_shows_every_reason_at_once(cluster: Cluster, namespace: str) -> None:
    refused = cluster.kubectl("create", "-n", namespace, "-f", EXAMPLES / "refused" / "many-reasons.yaml", check=False)
    assert refused.returncode == 1
    head, *reasons = refused.stderr.splitlines()
    assert head.endswith(
        'admission webhook "mutate.pods.dpdk-webhook" denied the request: this pod can\'t run DPDK as it is (5 reasons):'
    )
    assert reasons == [
        "options: unknown option (metadata.annotations[dpdk/huge-dri]): did you mean dpdk/huge-dir?",
        "host_users: user namespace (spec.hostUsers): IPC_LOCK is not effective in a user namespace; remove hostUsers: false",
        "resources: no memory (container app, spec.containers[0].resources.limits.memory): a guess could kill the "
        "application when it runs out; write how much it needs beside hugepages, such as 1Gi",
        "hugepages: unknown page size (container app, spec.containers[0].resources.limits.hugepages-1024Mi): "
        "no node advertises hugepages-1024Mi by that name; write hugepages-1Gi",
        "ipc_lock: IPC_LOCK dropped (container app, spec.containers[0].securityContext.capabilities.drop[0]): "
        "drop beats add; remove it there",
    ]
    assert pods(cluster, namespace) == []


def test_warnings_reach_whoever_creates_the_pod(cluster: Cluster, namespace: str) -> None:
    created = cluster.kubectl("create", "-n", namespace, "-f", EXAMPLES / "own-volume.yaml")
    assert created.stderr.splitlines() == [
        "Warning: resources: container dpdk, no cpu: it gets 1, and testpmd for one needs 2; write how many"
    ]


def test_a_server_side_dry_run_shows_the_pod_and_stores_nothing(cluster: Cluster, namespace: str) -> None:
    path = EXAMPLES / "testpmd.yaml"
    shown = json.loads(cluster.kubectl("create", "--dry-run=server", "-n", namespace, "-o", "json", "-f", path).stdout)
    assert violations(shown, before=as_if_without_webhook(cluster, yaml.safe_load(path.read_text()))) == []
    assert pods(cluster, namespace) == []


def test_the_promise_can_not_be_made_for_a_pod_that_exists(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("plain", dpdk="false")))
    refused = cluster.kubectl("annotate", "--overwrite", "-n", namespace, "pod", "plain", "dpdk=true", check=False)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        "opt_in: turned on too late (metadata.annotations.dpdk): the spec of a pod that exists can't be changed; "
        "delete it and create it with the annotation"
    )
    [stored] = pods(cluster, namespace)
    assert stored["metadata"]["annotations"] == {"dpdk": "false"}


def test_nor_through_the_status_which_takes_annotations_too(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("plain", dpdk="false")))
    path = f"/api/v1/namespaces/{namespace}/pods/plain/status"

    def patch(body: dict[str, Any]) -> int:
        return cluster.api("PATCH", path, body, content_type="application/merge-patch+json").status

    before = calls(cluster)
    assert patch({"status": {"message": "a kubelet says so"}}) == 200
    assert calls(cluster) == before
    assert patch({"metadata": {"annotations": {"dpdk": "true"}}}) == 422
    [stored] = pods(cluster, namespace)
    assert stored["metadata"]["annotations"] == {"dpdk": "false"}


def resize(cluster: Cluster, namespace: str, cpu: str) -> tuple[int, str]:
    """The API server's answer to a change of the resources in place: HTTP status and message."""
    resources = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}
    answer = cluster.api(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/pods/one/resize",
        {"spec": {"containers": [{"name": "app", "resources": resources}]}},
        content_type="application/strategic-merge-patch+json",
    )
    return answer.status, answer.body.get("message", "")


@pytest.fixture
def node(cluster: Cluster) -> Iterator[str]:
    """A node on paper: the API server asks only whether there would be room."""
    room = {"cpu": "8", "memory": "16Gi", "hugepages-2Mi": "1Gi", "pods": "10"}
    body = {"metadata": {"name": "paper"}, "status": {"allocatable": room, "capacity": room}}
    assert cluster.api("POST", "/api/v1/nodes", body).status == 201
    yield "paper"
    cluster.api("DELETE", "/api/v1/nodes/paper")


def test_a_pod_in_place_can_not_lose_its_whole_cpus(cluster: Cluster, namespace: str, node: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("one")))
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "one"}, "target": {"kind": "Node", "name": node}}
    assert cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods/one/binding", binding).status == 201
    if cluster.version < RESIZABLE:
        assert resize(cluster, namespace, "2500m") == (404, "the server could not find the requested resource")
        return
    status, message = resize(cluster, namespace, "2500m")
    assert status == 422
    assert message.splitlines()[1:] == [
        f"resources: container app, spec.containers[0].resources.{side}.cpu is 2500m and must be 3: "
        "a polling core cannot be shared; rounded up to whole CPUs"
        for side in ("limits", "requests")
    ]
    assert resize(cluster, namespace, "3") == (200, "")


def test_a_dpdk_pod_can_be_labelled_and_deleted_without_a_call(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("one")))
    before = calls(cluster)
    cluster.kubectl("label", "-n", namespace, "pod", "one", "tier=edge")
    cluster.kubectl("delete", "-n", namespace, "pod", "one", "--force", "--grace-period=0")
    assert calls(cluster) == before


def test_without_the_server_annotated_pods_are_refused_and_all_others_created(
    cluster: Cluster, webhook: Webhook, namespace: str
) -> None:
    assert webhook.stop() == 0
    try:
        refused = cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("dpdk")), check=False)
        assert refused.returncode == 1
        assert 'failed calling webhook "mutate.pods.dpdk-webhook"' in refused.stderr
        plain = manifest("plain")
        del plain["metadata"]["annotations"]
        cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(plain))
        cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("no", dpdk="false")))
    finally:
        webhook.start()
    assert [pod["metadata"]["name"] for pod in pods(cluster, namespace)] == ["no", "plain"]
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(manifest("dpdk")))
