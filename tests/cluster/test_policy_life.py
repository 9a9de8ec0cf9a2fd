"""When the final check says nothing, how long it lasts, how much it bears, and that its types are right."""

import copy
import json
from typing import Any

import httpx
import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.policy import (
    BINDINGS,
    HOLLOW,
    LABEL,
    POLICIES,
    POLICY,
    ROOT,
    Guarded,
    guarded,
    reason,
    rendered,
    type_checked,
)
from tests.cluster.tied import until
from tests.oracle.minimal import (
    NOTES,
    container,
    cpu,
    minimal,
    other,
    tweak,
    volume,
)

RESIZABLE = (1, 33)


@pytest.fixture(scope="module")
def documentation() -> str:
    return (ROOT / "docs" / "policy.md").read_text()


HOSTILE: list[Any] = [
    None,
    {},
    {"dpdk": ""},
    {"dpdk": "True"},
    {"dpdk": "false", "dpdk/containers": ",,\n"},
    {"dpdk/containers": "nobody", "dpdk/whole-cpus": "all"},
]


@pytest.mark.parametrize("notes", HOSTILE)
def test_pods_that_are_not_annotated_are_never_looked_at(guard: Guarded, notes: Any) -> None:
    """Each of them lacks everything."""
    made = guard.cluster.api("POST", f"/api/v1/namespaces/{guard.name}/pods", _named("plain", notes))
    assert made.status == httpx.codes.CREATED, made.body
    path = f"/api/v1/namespaces/{guard.name}/pods/plain"
    labels = {"metadata": {"labels": {"tier": "edge"}, "annotations": {"dpdk": None}}}
    assert _patched(guard.cluster, path, labels) == (200, "")
    assert guard.cluster.api("DELETE", f"{path}?gracePeriodSeconds=0").status == httpx.codes.OK


def _named(name: str, notes: object) -> dict[str, Any]:
    return HOLLOW | {"metadata": {"name": name, "annotations": notes}}


def _patched(cluster: Cluster, path: str, body: object) -> tuple[int, str]:
    answer = cluster.api("PATCH", path, body, content_type="application/merge-patch+json")
    return answer.status, answer.body["message"] if answer.status >= httpx.codes.BAD_REQUEST else ""


def test_a_mirror_of_a_static_pod_is_left_alone(guard: Guarded) -> None:
    mirror = tweak(_named("mirror", {"dpdk": "true", "kubernetes.io/config.mirror": "x"}), {"spec nodeName": "paper"})
    assert reason(guard.create(mirror)) is None


TURNED_ON = (
    "opt_in: turned on too late (metadata.annotations.dpdk): the spec of a pod that exists can't be changed; "
    "delete it and create it with the annotation"
)


@pytest.mark.parametrize("subresource", ["", "/status"])
def test_an_update_that_turns_it_on_is_refused_whatever_the_pod_is_like(guard: Guarded, subresource: str) -> None:
    pods = f"/api/v1/namespaces/{guard.name}/pods"
    sound = tweak(minimal(), {NOTES: {"dpdk": "false"}})
    assert guard.cluster.api("POST", pods, sound).status == httpx.codes.CREATED
    try:
        turned = guard.cluster.api(
            "PATCH",
            f"{pods}/fwd{subresource}",
            {"metadata": {"annotations": {"dpdk": "true"}}},
            content_type="application/merge-patch+json",
        )
        assert reason(turned) == TURNED_ON
    finally:
        guard.cluster.api("DELETE", f"{pods}/fwd?gracePeriodSeconds=0")


def test_a_pod_that_was_there_before_can_be_changed_and_deleted(guard: Guarded) -> None:
    """It is annotated, and lacks everything: no update makes it worse, and nothing may keep it alive."""
    alone = guard.cluster
    with alone.namespace() as before:
        pods = f"/api/v1/namespaces/{before}/pods"
        assert alone.api("POST", pods, HOLLOW).status == httpx.codes.CREATED
        labels = {"metadata": {"labels": {LABEL: POLICY}}}
        assert _patched(alone, f"/api/v1/namespaces/{before}", labels) == (200, "")
        again = HOLLOW | {"metadata": {"name": "again", "annotations": {"dpdk": "true"}}}

        def is_bound() -> bool:
            return alone.api("POST", f"{pods}?dryRun=All", again).status != httpx.codes.CREATED

        until(is_bound, seconds=30, waiting_for="the policy, where the pod is")
        assert _patched(alone, f"{pods}/hollow", {"metadata": {"labels": {"tier": "edge"}}}) == (200, "")
        assert _patched(alone, f"{pods}/hollow/status", {"status": {"message": "a kubelet says so"}}) == (200, "")
        assert alone.api("DELETE", f"{pods}/hollow?gracePeriodSeconds=0").status == httpx.codes.OK
        assert alone.api("GET", f"{pods}/hollow").status == httpx.codes.NOT_FOUND


def test_a_pod_in_place_can_not_lose_its_whole_cpus(guard: Guarded) -> None:
    alone, pods = guard.cluster, f"/api/v1/namespaces/{guard.name}/pods"
    room = {"cpu": "8", "memory": "16Gi", "hugepages-2Mi": "1Gi", "pods": "10"}
    node = {"metadata": {"name": "paper"}, "status": {"allocatable": room, "capacity": room}}
    assert alone.api("POST", "/api/v1/nodes", node).status == httpx.codes.CREATED
    assert alone.api("POST", pods, minimal()).status == httpx.codes.CREATED
    binding = {"metadata": {"name": "fwd"}, "target": {"kind": "Node", "name": "paper"}}
    assert alone.api("POST", f"{pods}/fwd/binding", binding).status == httpx.codes.CREATED

    def resized(amount: str) -> tuple[int, str]:
        container = {"name": "app", "resources": {"requests": {"cpu": amount}, "limits": {"cpu": amount}}}
        answer = alone.api(
            "PATCH",
            f"{pods}/fwd/resize",
            {"spec": {"containers": [container]}},
            content_type="application/strategic-merge-patch+json",
        )
        return answer.status, answer.body.get("message", "")

    try:
        if alone.version < RESIZABLE:
            assert resized("2500m") == (404, "the server could not find the requested resource")
            return
        status, message = resized("2500m")
        assert (status, message.partition(" denied request: ")[2]) == (
            422,
            "resources: no whole CPUs (container app, spec.containers[0].resources.limits.cpu): 2500m is no whole number; "
            "write 3 as limit and request",
        )
        assert resized("3") == (200, "")
    finally:
        alone.api("DELETE", f"{pods}/fwd?gracePeriodSeconds=0")
        alone.api("DELETE", "/api/v1/nodes/paper")


# How many containers


def crowd(others: int) -> dict[str, Any]:
    return tweak(minimal(), {"spec containers": [container(), *(other(f"log-{number}") for number in range(others))]})


def each_with_its_own(number: int) -> dict[str, Any]:
    names = [f"huge-{index}" for index in range(number)]
    containers = [container(f"app-{index}", name) for index, name in enumerate(names)]
    return tweak(minimal(), {"spec containers": containers, "spec volumes": [volume(name) for name in names]})


@pytest.mark.parametrize(
    "pod", [crowd(999), each_with_its_own(200)], ids=["1,000 containers", "200 that run DPDK, a volume for each"]
)
def test_more_containers_than_any_pod_has_are_judged(guard: Guarded, pod: dict[str, Any]) -> None:
    assert reason(guard.create(pod)) is None
    pod["spec"]["containers"][-1]["resources"]["limits"]["memory"] = "2Gi"
    told = reason(guard.create(pod))
    assert told is not None
    assert told.startswith(f"resources: memory not guaranteed (container {pod['spec']['containers'][-1]['name']}, ")


def test_beyond_what_the_api_server_computes_the_pod_is_refused(guard: Guarded) -> None:
    told = reason(guard.create(each_with_its_own(400)))
    assert told is not None
    assert told.startswith("expression 'variables.unmounted.size() == 0' resulted in error: ")
    assert told.endswith("actual cost limit exceeded")


# The objects themselves


def test_the_policy_has_no_type_that_is_wrong(alone: Cluster) -> None:
    sound, binding = rendered()
    misspelt = copy.deepcopy(sound)
    misspelt["spec"]["validations"][0]["expression"] = "object.spec.contaners.size() > 0"
    with type_checked(alone):
        for name, policy in (("sound", sound), ("misspelt", misspelt)):
            with guarded(alone, [policy, binding], name):
                checked = _type_checking(alone, name)
            assert ("undefined field 'contaners'" in str(checked)) == (name == "misspelt"), checked
            assert (checked == {}) == (name == "sound"), checked


def _type_checking(alone: Cluster, name: str) -> Any:
    status: dict[str, Any] = {}

    def checked() -> bool:
        status.update(alone.api("GET", f"{POLICIES}/{name}").body.get("status", {}))
        return "typeChecking" in status

    until(checked, seconds=30, waiting_for=f"the types of {name}")
    return status["typeChecking"]


def test_kubectl_shows_it_as_the_documentation_does(guard: Guarded, documentation: str) -> None:
    pod = json.dumps(tweak(minimal(), cpu("1500m")))
    refused = guard.cluster.kubectl("create", "-n", guard.name, "-f", "-", input=pod, check=False)
    assert refused.returncode == 1
    assert f"\n{refused.stderr}```\n" in documentation


@pytest.mark.parametrize("path", [POLICIES, BINDINGS])
def test_nothing_of_it_is_left_over(alone: Cluster, path: str) -> None:
    with guarded(alone, rendered(), "gone") as guard:
        assert reason(guard.create(HOLLOW)) is not None
    assert alone.api("GET", f"{path}/gone").status == httpx.codes.NOT_FOUND
    with guarded(alone, rendered(), "again") as guard:
        assert reason(guard.create(minimal())) is None
