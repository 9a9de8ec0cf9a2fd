"""Beside what a cluster's owner says of a namespace: a LimitRange, a ResourceQuota, a level of Pod Security.

A LimitRange gives its defaults before us. All three judge after us, and what they refuse may be what we wrote.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.tied import until
from tests.cluster.webhook import Webhook
from tests.oracle import violations

Pod = dict[str, Any]

ENFORCE = "pod-security.kubernetes.io/enforce"
HUGEPAGES = {"hugepages-2Mi": "64Mi"}
WRITTEN = {"cpu": "2", "memory": "1Gi", **HUGEPAGES}
DEFAULTS = {"default": {"cpu": "500m", "memory": "256Mi"}, "defaultRequest": {"cpu": "250m", "memory": "128Mi"}}


@pytest.fixture
def namespace(cluster: Cluster, webhook: Webhook) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


def manifest(limits: dict[str, str], **annotations: str) -> Pod:
    container = {"name": "app", "image": "app", "resources": {"limits": limits}}
    metadata = {"name": "fwd", "annotations": {"dpdk": "true", **annotations}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def create(cluster: Cluster, namespace: str, pod: Pod) -> list[str]:
    """What kubectl tells whoever creates the pod: its stderr, by lines."""
    created = cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(pod), check=False)
    return created.stderr.splitlines()


def stored(cluster: Cluster, namespace: str) -> list[Pod]:
    found: list[Pod] = cluster.api("GET", f"/api/v1/namespaces/{namespace}/pods").body["items"]
    for pod in found:
        assert violations(pod) == []
        assert pod["status"]["qosClass"] == "Guaranteed"
    return found


def forbidden(why: str) -> str:
    return f'Error from server (Forbidden): error when creating "STDIN": pods "fwd" is forbidden: {why}'


# LimitRange


def limit(cluster: Cluster, namespace: str, **limits: dict[str, str]) -> None:
    spec = {"limits": [{"type": "Container", **limits}]}
    made = cluster.api("POST", f"/api/v1/namespaces/{namespace}/limitranges", {"metadata": {"name": "site"}, "spec": spec})
    assert made.status == httpx.codes.CREATED, made.body


JUDGED = "the max and the quota are judged afterwards"
CPU_RAISED = f"Warning: resources: container app, LimitRange: its cpu 500m becomes 1; {JUDGED}"
MEMORY_RAISED = f"Warning: resources: container app, LimitRange: its memory 128Mi becomes 256Mi; {JUDGED}"


@pytest.mark.parametrize(
    ("limits", "amounts", "told"),
    [
        pytest.param({"memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}, [CPU_RAISED], id="no cpu"),
        pytest.param({"cpu": "2"}, {"cpu": "2", "memory": "256Mi"}, [MEMORY_RAISED], id="no memory"),
        pytest.param({}, {"cpu": "1", "memory": "256Mi"}, [CPU_RAISED, MEMORY_RAISED], id="neither"),
        pytest.param({"cpu": "1500m", "memory": "1Gi"}, {"cpu": "2", "memory": "1Gi"}, [], id="both"),
    ],
)
def test_defaults_of_a_limit_range_are_raised_and_the_author_who_wrote_none_is_told(
    cluster: Cluster, namespace: str, limits: dict[str, str], amounts: dict[str, str], told: list[str]
) -> None:
    limit(cluster, namespace, **DEFAULTS)
    assert create(cluster, namespace, manifest({**limits, **HUGEPAGES})) == told
    [pod] = stored(cluster, namespace)
    expected = {**amounts, **HUGEPAGES}
    assert pod["spec"]["containers"][0]["resources"] == {"limits": expected, "requests": expected}


def test_a_default_raised_past_the_max_is_refused_behind_our_warning(cluster: Cluster, namespace: str) -> None:
    limit(cluster, namespace, max={"cpu": "800m"}, **DEFAULTS)
    assert create(cluster, namespace, manifest({"memory": "1Gi", **HUGEPAGES})) == [
        CPU_RAISED,
        forbidden("maximum cpu usage per Container is 800m, but limit is 1"),
    ]
    assert stored(cluster, namespace) == []


def test_the_authors_own_amount_raised_past_the_max_is_refused_with_the_amount_that_it_became(
    cluster: Cluster, namespace: str
) -> None:
    limit(cluster, namespace, max={"cpu": "1500m"})
    assert create(cluster, namespace, manifest({**WRITTEN, "cpu": "1500m"})) == [
        forbidden("maximum cpu usage per Container is 1500m, but limit is 2")
    ]
    assert stored(cluster, namespace) == []


# ResourceQuota


def grant(cluster: Cluster, namespace: str, **hard: str) -> None:
    """A quota of which nothing is used yet: its controller does not run here, so that the status is written by hand."""
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    made = cluster.api("POST", quotas, {"metadata": {"name": "site"}, "spec": {"hard": hard}})
    assert made.status == httpx.codes.CREATED, made.body
    status = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
    patched = cluster.api("PATCH", f"{quotas}/site/status", status, content_type="application/merge-patch+json")
    assert patched.status == httpx.codes.OK, patched.body
    too_much = manifest({"cpu": "1000", "memory": "1Ti", "hugepages-2Mi": "1Ti"}, dpdk="false")

    def in_force() -> bool:
        answer = cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", too_much)
        return "exceeded quota" in answer.body.get("message", "")

    until(in_force, seconds=30, waiting_for="a quota in force")


@pytest.mark.parametrize(
    ("hard", "pod", "told"),
    [
        pytest.param(
            {"requests.cpu": "500m"},
            manifest({"memory": "1Gi", **HUGEPAGES}),
            [
                "Warning: resources: container app, no cpu: it gets 1, and testpmd for one needs 2; write how many",
                forbidden("exceeded quota: site, requested: requests.cpu=1, used: requests.cpu=0, limited: requests.cpu=500m"),
            ],
            id="a default of ours",
        ),
        pytest.param(
            {"requests.cpu": "1500m"},
            manifest({**WRITTEN, "cpu": "1500m"}),
            [forbidden("exceeded quota: site, requested: requests.cpu=2, used: requests.cpu=0, limited: requests.cpu=1500m")],
            id="the author's amount, rounded up",
        ),
        pytest.param(
            {"hugepages-2Mi": "32Mi"},
            manifest({"cpu": "2", "memory": "1Gi"}, **{"dpdk/hugepages-2Mi": "64Mi"}),
            [
                forbidden(
                    "exceeded quota: site, requested: hugepages-2Mi=64Mi, used: hugepages-2Mi=0, limited: hugepages-2Mi=32Mi"
                )
            ],
            id="the author's annotation",
        ),
    ],
)
def test_what_we_wrote_counts_against_the_quota(
    cluster: Cluster, namespace: str, hard: dict[str, str], pod: Pod, told: list[str]
) -> None:
    grant(cluster, namespace, **hard)
    assert create(cluster, namespace, pod) == told
    assert stored(cluster, namespace) == []


def test_our_defaults_satisfy_a_quota_that_wants_an_amount_of_every_container(cluster: Cluster, namespace: str) -> None:
    grant(cluster, namespace, **{"requests.cpu": "3"})
    pod = manifest(WRITTEN)
    pod["spec"]["containers"].append({"name": "log", "image": "log", "resources": {"limits": {"memory": "128Mi"}}})
    not_asking = {**pod, "metadata": {"name": "fwd", "annotations": {"dpdk": "false"}}}
    assert create(cluster, namespace, not_asking) == [forbidden("failed quota: site: must specify requests.cpu for: log")]
    assert create(cluster, namespace, pod) == ["Warning: resources: container log, no cpu: it gets 100m; write what it needs"]
    assert len(stored(cluster, namespace)) == 1


# Pod Security


REFUSES = "Warning: ipc_lock: Pod Security: baseline and restricted refuse IPC_LOCK; the namespace must enforce privileged"
BASELINE = (
    'violates PodSecurity "baseline:latest": '
    'non-default capabilities (container "app" must not include "IPC_LOCK" in securityContext.capabilities.add)'
)
RESTRICTED = (
    'violates PodSecurity "restricted:latest": '
    'allowPrivilegeEscalation != false (container "app" must set securityContext.allowPrivilegeEscalation=false), '
    'unrestricted capabilities (container "app" must set securityContext.capabilities.drop=["ALL"]; '
    'container "app" must not include "IPC_LOCK" in securityContext.capabilities.add), '
    'runAsNonRoot != true (pod or container "app" must set securityContext.runAsNonRoot=true), '
    'seccompProfile (pod or container "app" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


@pytest.mark.parametrize(("level", "why"), [("baseline", BASELINE), ("restricted", RESTRICTED)])
@pytest.mark.parametrize("capabilities", [{}, {"add": ["IPC_LOCK"]}], ids=["by us", "by the author"])
def test_pod_security_refuses_ipc_lock_behind_our_warning_whoever_wrote_it(
    cluster: Cluster, webhook: Webhook, level: str, why: str, capabilities: dict[str, list[str]]
) -> None:
    pod = manifest(WRITTEN)
    pod["spec"]["containers"][0]["securityContext"] = {"capabilities": capabilities}
    with cluster.namespace({ENFORCE: level}) as strict:
        assert create(cluster, strict, pod) == [REFUSES, forbidden(why)]
        assert stored(cluster, strict) == []


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({ENFORCE: "privileged"}, []),
        ({"pod-security.kubernetes.io/audit": "restricted"}, []),
        ({"pod-security.kubernetes.io/warn": "baseline"}, [f"Warning: would {BASELINE.replace('violates', 'violate')}"]),
    ],
    ids=["enforce", "audit", "warn"],
)
def test_where_pod_security_does_not_refuse_we_say_nothing_of_it(
    cluster: Cluster, webhook: Webhook, labels: dict[str, str], told: list[str]
) -> None:
    with cluster.namespace(labels) as lenient:
        assert create(cluster, lenient, manifest(WRITTEN)) == told
        assert len(stored(cluster, lenient)) == 1


def test_the_author_of_a_deployment_is_warned_before_its_pods_are_refused(cluster: Cluster, webhook: Webhook) -> None:
    """The refusal itself reaches only the controller that sends the pods, and a condition that somebody has to look for."""
    metadata = {"labels": {"app": "fwd"}, "annotations": {"dpdk": "true"}}
    template = {"metadata": metadata, "spec": manifest(WRITTEN)["spec"]}
    spec = {"selector": {"matchLabels": {"app": "fwd"}}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fwd"}, "spec": spec}
    with cluster.namespace({ENFORCE: "baseline"}) as strict:
        assert create(cluster, strict, deployment) == [REFUSES]
        path = f"/apis/apps/v1/namespaces/{strict}/deployments/fwd"

        def failures() -> list[str]:
            conditions = cluster.api("GET", path).body["status"].get("conditions", [])
            return [condition["message"] for condition in conditions if condition["type"] == "ReplicaFailure"]

        until(lambda: failures() != [], seconds=30, waiting_for="a replica that can't be created")
        [message] = failures()
        assert message.endswith(f" is forbidden: {BASELINE}")
