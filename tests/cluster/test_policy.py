"""The final check without any webhook: what it refuses and in which words, what it lets through, and when it says nothing."""

from typing import Any

import pytest

from tests.cluster.policy import Guarded, reason
from tests.oracle.minimal import (
    ABSENT,
    APP,
    BOTH_SIZES,
    CAPABILITIES,
    CPU_LIMIT,
    CPU_REQUEST,
    LIMITS,
    NOTES,
    REQUESTS,
    SECOND,
    Changes,
    asking,
    container,
    cpu,
    hugepages,
    memory,
    minimal,
    other,
    tweak,
    volume,
)

POD_RESOURCES = (1, 34)
USER_NAMESPACES = (1, 33)


def two(**fields: Any) -> Changes:
    return {"spec containers 1": other(**fields)}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param(
            {f"{NOTES} dpdk/containers": "app, fwd"},
            "options: unknown container (metadata.annotations[dpdk/containers]): there is no container or sidecar 'fwd'; "
            "write names of containers or sidecars of this pod",
            id="an unknown name",
        ),
        pytest.param(
            {f"{NOTES} dpdk/containers": "app,setup", "spec initContainers": [other("setup")]},
            "options: unknown container (metadata.annotations[dpdk/containers]): there is no container or sidecar 'setup'; "
            "write names of containers or sidecars of this pod",
            id="the name of a plain init container",
        ),
        pytest.param(
            {f"{NOTES} dpdk/containers": "x" * 300},
            "options: unknown container (metadata.annotations[dpdk/containers]): there is no container or sidecar "
            f"'{'x' * 63}…'; write names of containers or sidecars of this pod",
            id="a name that is a novel",
        ),
        pytest.param(
            {f"{NOTES} dpdk/containers": "app,one\nline"},
            "options: unknown container (metadata.annotations[dpdk/containers]): write names of containers or sidecars of this "
            "pod",
            id="a name with a line break",
        ),
        pytest.param(
            {**two(), f"{REQUESTS} hugepages-2Mi": ABSENT, f"{LIMITS} hugepages-2Mi": ABSENT},
            "options: unclear which container runs DPDK (metadata.annotations): none of the pod's 2 containers asks for "
            'hugepages; name one: dpdk/containers: "app"',
            id="nobody asks for hugepages",
        ),
        pytest.param(
            {"spec os": {"name": "windows"}, f"{APP} securityContext": ABSENT},
            "windows: windows pod (spec.os.name): hugepages and IPC_LOCK exist on Linux only; "
            "remove the annotation dpdk or run the pod on Linux",
            id="windows",
        ),
        pytest.param(
            two(resources={"limits": {"memory": "128Mi"}}),
            "resources: cpu not guaranteed (container log, spec.containers[1].resources.limits.cpu): the limit is (unset) and "
            "the request (unset); write one amount above 0 for both",
            id="no cpu in another container",
        ),
        pytest.param(
            {"spec initContainers": [other("a"), other("b", resources={"requests": {"cpu": "1", "memory": "1Gi"}})]},
            "resources: cpu not guaranteed (container b, spec.initContainers[1].resources.limits.cpu): the limit is (unset) "
            "and the request 1; write one amount above 0 for both",
            id="no limit in the second init container",
        ),
        pytest.param(
            {CPU_REQUEST: "1"},
            "resources: cpu not guaranteed (container app, spec.containers[0].resources.limits.cpu): the limit is 2 and "
            "the request 1; write one amount above 0 for both",
            id="a request below its limit",
        ),
        pytest.param(
            memory("0"),
            "resources: memory not guaranteed (container app, spec.containers[0].resources.limits.memory): the limit is 0 and "
            "the request 0; write one amount above 0 for both",
            id="no memory at all",
        ),
        pytest.param(
            cpu("1500m"),
            "resources: no whole CPUs (container app, spec.containers[0].resources.limits.cpu): 1500m is no whole number; "
            "write 2 as limit and request",
            id="a fraction",
        ),
        pytest.param(
            {**two(), f"{NOTES} dpdk/whole-cpus": "all"},
            "resources: no whole CPUs (container log, spec.containers[1].resources.limits.cpu): 100m is no whole number; "
            "write 1 as limit and request",
            id="a fraction where all are to be whole",
        ),
        pytest.param(
            {f"{REQUESTS} hugepages-2Mi": "0", f"{LIMITS} hugepages-2Mi": "0"},
            "hugepages: no hugepages (container app, spec.containers[0].resources.limits): write how much it needs of the "
            "pages that its nodes have, such as hugepages-2Mi: 1Gi",
            id="hugepages of 0",
        ),
        pytest.param(
            {**two(), "spec containers 1 resources": asking("1", "1Gi", Mi2048="2Gi", Mi1024="1Gi")},
            "hugepages: unknown page size (container log, spec.containers[1].resources.limits): no node advertises "
            "hugepages-1024Mi; write the size as nodes do, such as hugepages-2Mi or hugepages-1Gi",
            id="the first by name of two sizes that no node has",
        ),
        pytest.param(
            {"spec volumes 1": volume("big", "HugePages-1Gi")},
            "hugepages: volume of no fitting size (spec.volumes[1].emptyDir.medium): volume big is HugePages-1Gi; "
            "write HugePages-<size> of a size that a container asks for",
            id="a volume of a size that nobody asks for",
        ),
        pytest.param(
            {**BOTH_SIZES, "spec volumes 1": volume("huge-1g", "HugePages")},
            "hugepages: volume of no fitting size (spec.volumes[1].emptyDir.medium): volume huge-1g is HugePages; "
            "write HugePages-<size> of a size that a container asks for",
            id="a volume without its size beside two sizes",
        ),
        pytest.param(
            {**BOTH_SIZES, f"{APP} volumeMounts 1": ABSENT},
            "hugepages: not mounted (container app, spec.containers[0].volumeMounts): mount an emptyDir volume of medium "
            "HugePages-<size> for each page size that it asks for",
            id="one of two sizes is mounted",
        ),
        pytest.param(
            {f"{APP} volumeMounts 0 readOnly": True, f"{APP} volumeMounts 1": {"name": "huge", "mountPath": "/mnt"}},
            "hugepages: mounted read-only (container app, spec.containers[0].volumeMounts[0].readOnly): EAL creates files "
            "there; remove readOnly",
            id="read-only",
        ),
        pytest.param(
            {**SECOND, "spec containers 1 securityContext": ABSENT},
            "ipc_lock: IPC_LOCK not effective (container fwd, spec.containers[1].securityContext.capabilities): "
            "write add: [IPC_LOCK], and don't drop it",
            id="no capability in the second DPDK container",
        ),
        pytest.param(
            {f"{CAPABILITIES} drop": ["CAP_IPC_LOCK"]},
            "ipc_lock: IPC_LOCK not effective (container app, spec.containers[0].securityContext.capabilities): "
            "write add: [IPC_LOCK], and don't drop it",
            id="added and dropped",
        ),
        pytest.param(
            {CAPABILITIES: {"add": ["ALL"], "drop": ["all"]}},
            "ipc_lock: IPC_LOCK not effective (container app, spec.containers[0].securityContext.capabilities): "
            "write add: [IPC_LOCK], and don't drop it",
            id="all added and all dropped",
        ),
    ],
)
def test_a_refusal_names_the_field_the_container_and_what_to_write(guard: Guarded, changes: Changes, told: str) -> None:
    assert reason(guard.create(tweak(minimal(), changes))) == told


@pytest.mark.parametrize(
    ("changes", "told", "since"),
    [
        pytest.param(
            {"spec hostUsers": False},
            "host_users: user namespace (spec.hostUsers): IPC_LOCK does not reach the host from there; remove hostUsers",
            USER_NAMESPACES,
            id="a user namespace",
        ),
        pytest.param(
            {"spec resources": {"limits": {"cpu": "4", "memory": "4Gi"}}},
            "pod_resources: pod-level resources (spec.resources): the static CPU manager passes over such pods; "
            "give each container its own",
            POD_RESOURCES,
            id="resources of the pod",
        ),
        pytest.param(
            {"spec resources": {}},
            "pod_resources: pod-level resources (spec.resources): the static CPU manager passes over such pods; "
            "give each container its own",
            POD_RESOURCES,
            id="empty resources of the pod",
        ),
    ],
)
def test_younger_fields_are_refused_where_kubernetes_keeps_them(
    guard: Guarded, changes: Changes, told: str, since: tuple[int, int]
) -> None:
    expected = told if guard.cluster.version >= since else None
    assert reason(guard.create(tweak(minimal(), changes))) == expected


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the smallest pod"),
        pytest.param({CAPABILITIES: ABSENT, f"{APP} securityContext privileged": True}, id="privileged"),
        pytest.param({CAPABILITIES: {"add": ["all"]}}, id="everything added, in small letters"),
        pytest.param({CAPABILITIES: {"add": ["ipc_lock"], "drop": ["ALL"]}}, id="added by its name, all else dropped"),
        pytest.param({CAPABILITIES: {"add": ["\u0131pc_lock"]}}, id="a letter of which upper case makes an I"),
        *(
            pytest.param({CPU_REQUEST: request, CPU_LIMIT: limit}, id=f"{request} CPUs of {limit}")
            for request, limit in (
                ("2", "2000m"),
                ("2.0", "2"),
                ("2e0", "+2"),
                ("0.002k", "2."),
                ("1P", "1e15"),
                ("1.2E", "1.2E"),
            )
        ),
        pytest.param(memory("1.5Gi"), id="a fraction of a gibibyte"),
        pytest.param({"spec volumes 0": volume(medium="HugePages")}, id="a volume that takes the only size"),
        pytest.param({"spec volumes 0": volume(medium="HugePages-2048Ki")}, id="a medium in another spelling"),
        pytest.param(BOTH_SIZES, id="two sizes"),
        pytest.param(SECOND, id="two DPDK containers"),
        pytest.param(two(), id="a fraction beside DPDK"),
        pytest.param({**two(), f"{NOTES} dpdk/containers": " app ,app"}, id="blanks around a name"),
        pytest.param(
            {
                f"{NOTES} dpdk/containers": "fwd",
                "spec containers 0": other("app"),
                "spec initContainers": [container("fwd", restartPolicy="Always")],
            },
            id="a sidecar that runs DPDK",
        ),
        pytest.param({"spec initContainers": [other("setup"), other("proxy", restartPolicy="Always")]}, id="init containers"),
        pytest.param({f"{APP} env": ABSENT}, id="no option for EAL, which is left to the webhook"),
    ],
)
def test_what_has_all_that_is_asked_for_passes(guard: Guarded, changes: Changes) -> None:
    assert reason(guard.create(tweak(minimal(), changes))) is None


def test_hugepages_of_other_architectures_pass(guard: Guarded) -> None:
    for size in ("64Ki", "16Mi", "32Mi", "512Mi", "16Gi"):
        changes = {f"{REQUESTS} hugepages-2Mi": ABSENT, f"{LIMITS} hugepages-2Mi": ABSENT, **hugepages(size, "32Gi")}
        pod = tweak(minimal(), {**changes, "spec volumes 0": volume(medium=f"HugePages-{size}")})
        assert reason(guard.create(pod)) is None, size


def test_a_limit_without_its_request_is_what_kubernetes_copies(guard: Guarded) -> None:
    assert reason(guard.create(tweak(minimal(), {CPU_REQUEST: ABSENT}))) is None
    assert reason(guard.create(tweak(minimal(), {CPU_LIMIT: ABSENT}))) is not None
