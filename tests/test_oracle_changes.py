"""The oracle allows the changes that the contract asks for, and names every other one by its path."""

import pytest

from tests.oracle import Site, unexpected_changes
from tests.oracle.minimal import (
    ABSENT,
    APP,
    BOTH_SIZES,
    CAPABILITIES,
    CPU_LIMIT,
    CPU_REQUEST,
    ENV,
    LIMITS,
    NOTES,
    REQUESTS,
    Changes,
    asking,
    container,
    cpu,
    eal,
    hugepages,
    memory,
    minimal,
    other,
    tweak,
    volume,
)

SECURITY = f"{APP} securityContext"
MOUNTS = f"{APP} volumeMounts"
HUGE = {"name": "huge", "mountPath": "/dev/hugepages"}
HUGE_DIR = {"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}
SIDECAR = "spec initContainers 0"
BOTH_CPU = cpu("2")

ALLOWED: list[tuple[str, Changes, Changes]] = [
    ("nothing", {}, {}),
    ("a limit copied to the request", {CPU_REQUEST: ABSENT}, {CPU_REQUEST: "2"}),
    ("a request copied to the limit", {f"{LIMITS} memory": ABSENT}, {f"{LIMITS} memory": "1Gi"}),
    ("a request raised to its limit", {CPU_REQUEST: "1"}, {CPU_REQUEST: 2}),
    ("a request of zero is unset", {CPU_REQUEST: 0}, {CPU_REQUEST: "2"}),
    ("a fraction rounded up", cpu("1500m"), BOTH_CPU),
    ("a limit alone, rounded up and copied", {CPU_REQUEST: ABSENT, CPU_LIMIT: "1.5"}, BOTH_CPU),
    ("a CPU where there was none", cpu(ABSENT), cpu("1")),
    ("memory where there was none", memory(ABSENT), memory("1Gi")),
    ("all resources where there were none", {f"{APP} resources": ABSENT}, {f"{APP} resources": asking(Mi2="1Gi")}),
    ("all resources in the place of null", {f"{APP} resources": None}, {f"{APP} resources": asking(Mi2="1Gi")}),
    ("hugepages in the place of zero", hugepages("2Mi", "0"), hugepages("2Mi", "1Gi")),
    (
        "hugepages as the annotation says",
        {f"{APP} resources": asking(), f"{NOTES} dpdk/hugepages-2Mi": "1Gi"},
        hugepages("2Mi", "1024Mi"),
    ),
    (
        "a hugepage request copied to the limit",
        {f"{LIMITS} hugepages-2Mi": ABSENT},
        {f"{LIMITS} hugepages-2Mi": "512Mi"},
    ),
    (
        "resources for a sidecar",
        {"spec initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
        {f"{SIDECAR} resources": asking("100m", "128Mi")},
    ),
    (
        "a sidecar's fraction rounded up where the pod wants whole CPUs everywhere",
        {"spec initContainers": [other("proxy", restartPolicy="Always")], f"{NOTES} dpdk/whole-cpus": "all"},
        {f"{SIDECAR} resources requests cpu": 1, f"{SIDECAR} resources limits cpu": 1},
    ),
    (
        "a volume, a mount and the variable",
        {"spec volumes": ABSENT, MOUNTS: ABSENT, ENV: ABSENT},
        {"spec volumes": [volume()], MOUNTS: [HUGE], ENV: [HUGE_DIR]},
    ),
    (
        "the same in the place of null",
        {"spec volumes": None, MOUNTS: None, ENV: None, SECURITY: None},
        {
            "spec volumes": [volume()],
            MOUNTS: [HUGE],
            ENV: [HUGE_DIR],
            SECURITY: {"capabilities": {"add": ["IPC_LOCK"]}},
        },
    ),
    (
        "the same after what the user has",
        {
            "spec volumes 0": {"name": "hugepages-2mi", "configMap": {"name": "c"}},
            f"{MOUNTS} 0": {"name": "hugepages-2mi", "mountPath": "/etc/c"},
            f"{ENV} 0": {"name": "ARGS", "value": "$(DPDK_EAL_ARGS)"},
        },
        {
            "spec volumes 1": volume("hugepages-2mi-2"),
            f"{MOUNTS} 1": {"name": "hugepages-2mi-2", "mountPath": "/dev/hugepages"},
            ENV: [HUGE_DIR, {"name": "ARGS", "value": "$(DPDK_EAL_ARGS)"}],
        },
    ),
    ("a mount of the user's own volume", {MOUNTS: []}, {MOUNTS: [HUGE]}),
    (
        "a volume for the second size",
        {
            **BOTH_SIZES,
            "spec volumes 1": ABSENT,
            f"{MOUNTS} 1": ABSENT,
            **eal("-n 4"),
        },
        {
            "spec volumes 1": volume("hugepages-1gi", "HugePages-1Gi"),
            f"{MOUNTS} 1": {"name": "hugepages-1gi", "mountPath": "/dev/hugepages-1gi"},
            **eal("-n 4 --huge-dir=/dev/hugepages-1gi"),
        },
    ),
    ("a token appended to the user's options", eal("-l 2-3"), eal("-l 2-3 --huge-dir=/dev/hugepages")),
    (
        "a token in front of a lone --",
        eal("-l 2-3 -- -i"),
        eal("-l 2-3 --huge-dir=/dev/hugepages -- -i"),
    ),
    (
        "a token in front of a reference that brings a lone --",
        {f"{ENV} 0": {"name": "MORE", "value": "-n 4 -- -i"}, f"{ENV} 1": {**HUGE_DIR, "value": "$(MORE)"}},
        {f"{ENV} 1": {**HUGE_DIR, "value": "--huge-dir=/dev/hugepages $(MORE)"}},
    ),
    ("a token in the place of an empty value", eal(""), eal("--huge-dir=/dev/hugepages")),
    (
        "a token for a variable without a value",
        {f"{ENV} 0": {"name": "DPDK_EAL_ARGS"}},
        eal("--huge-dir=/dev/hugepages"),
    ),
    ("IPC_LOCK without a security context", {SECURITY: ABSENT}, {SECURITY: {"capabilities": {"add": ["IPC_LOCK"]}}}),
    ("IPC_LOCK in an empty security context", {SECURITY: {}}, {CAPABILITIES: {"add": ["IPC_LOCK"]}}),
    (
        "IPC_LOCK beside what the user added and dropped",
        {CAPABILITIES: {"drop": ["ALL"], "add": ["NET_ADMIN", "CAP_IPC_LOCK"]}},
        {f"{CAPABILITIES} add 2": "IPC_LOCK"},
    ),
    (
        "IPC_LOCK for a named sidecar",
        {
            "spec containers 0": other(),
            "spec initContainers": [container("pmd", restartPolicy="Always", securityContext={"runAsUser": 0})],
            f"{NOTES} dpdk/containers": "pmd",
        },
        {f"{SIDECAR} securityContext capabilities": {"add": ["IPC_LOCK"]}},
    ),
    ("empty spec.resources removed", {"spec resources": {}}, {"spec resources": ABSENT}),
    (
        "spec.resources of empty maps removed",
        {"spec resources": {"limits": {}, "requests": None}},
        {"spec resources": ABSENT},
    ),
]


@pytest.mark.parametrize(("written", "stored"), [pytest.param(w, s, id=i) for i, w, s in ALLOWED])
def test_what_the_contract_asks_for_is_expected(written: Changes, stored: Changes) -> None:
    before = tweak(minimal(), written)
    assert unexpected_changes(before, tweak(before, stored)) == []


UNEXPECTED: list[tuple[str, Changes, Changes, list[str]]] = [
    (
        "the image",
        {},
        {f"{APP} image": "x"},
        ['spec.containers[0].image: "x" instead of "registry.example/l2fwd:25.11"'],
    ),
    (
        "an unknown field lost",
        {f"{APP} futureField": {"a": 1}},
        {f"{APP} futureField": ABSENT},
        ['spec.containers[0].futureField: {"a": 1} is missing'],
    ),
    (
        "an annotation",
        {},
        {f"{NOTES} dpdk/by": "us"},
        ['metadata.annotations["dpdk/by"]: "us" is not expected'],
    ),
    (
        "an unknown field with trouble in its name",
        {"spec a~1/b.é": [{"x": 1}]},
        {"spec a~1/b.é 0 x": 2},
        ['spec["a~1/b.é"][0].x: 2 instead of 1'],
    ),
    ("a field of the spec", {}, {"spec hostNetwork": True}, ["spec.hostNetwork: true is not expected"]),
    ("a number for a truth", {"spec hostIPC": True}, {"spec hostIPC": 1}, ["spec.hostIPC: 1 instead of true"]),
    (
        "null for an empty list",
        {"spec tolerations": []},
        {"spec tolerations": None},
        ["spec.tolerations: null instead of []"],
    ),
    (
        "a null that went",
        {"spec tolerations": None},
        {"spec tolerations": ABSENT},
        ["spec.tolerations: null is missing"],
    ),
    # resources
    (
        "an amount in another spelling",
        {},
        cpu(2),
        [
            'spec.containers[0].resources.requests.cpu: 2 instead of "2"',
            'spec.containers[0].resources.limits.cpu: 2 instead of "2"',
        ],
    ),
    (
        "a float that became whole",
        cpu(2.0),
        {CPU_LIMIT: 2},
        ["spec.containers[0].resources.limits.cpu: 2 instead of 2.0"],
    ),
    (
        "a limit lowered to the request",
        {CPU_REQUEST: "1"},
        {CPU_LIMIT: "1"},
        ['spec.containers[0].resources.limits.cpu: "1" instead of "2"'],
    ),
    (
        "more CPUs than the next whole number",
        cpu("1500m"),
        cpu("3"),
        [
            'spec.containers[0].resources.requests.cpu: "3" instead of "1500m"',
            'spec.containers[0].resources.limits.cpu: "3" instead of "1500m"',
        ],
    ),
    (
        "an amount that cannot be read, repaired",
        {CPU_REQUEST: "two"},
        {CPU_REQUEST: "2"},
        ['spec.containers[0].resources.requests.cpu: "2" instead of "two"'],
    ),
    (
        "a request above its limit, repaired",
        {CPU_REQUEST: "3"},
        {CPU_LIMIT: "3"},
        ['spec.containers[0].resources.limits.cpu: "3" instead of "2"'],
    ),
    (
        "an amount removed",
        {},
        {f"{REQUESTS} memory": ABSENT},
        ['spec.containers[0].resources.requests.memory: "1Gi" is missing'],
    ),
    (
        "zero where there was nothing",
        memory(ABSENT),
        {f"{LIMITS} memory": 0},
        ["spec.containers[0].resources.limits.memory: 0 is not expected"],
    ),
    (
        "a resource that is not ours",
        {f"{LIMITS} example.com/nic": 1},
        {f"{REQUESTS} example.com/nic": 1},
        ['spec.containers[0].resources.requests["example.com/nic"]: 1 is not expected'],
    ),
    (
        "empty resources",
        {"spec containers 1": {"name": "log"}},
        {"spec containers 1 resources": {}},
        ["spec.containers[1].resources: {} is not expected"],
    ),
    (
        "another container's fraction rounded up",
        {"spec containers 1": other()},
        {"spec containers 1 resources limits cpu": "1"},
        ['spec.containers[1].resources.limits.cpu: "1" instead of "100m"'],
    ),
    (
        "hugepages for another container",
        {"spec containers 1": other()},
        {"spec containers 1 resources limits hugepages-2Mi": "2Mi"},
        ['spec.containers[1].resources.limits.hugepages-2Mi: "2Mi" is not expected'],
    ),
    (
        "a second size beside the first",
        {f"{NOTES} dpdk/hugepages-1Gi": "1Gi"},
        {f"{LIMITS} hugepages-1Gi": "1Gi"},
        ['spec.containers[0].resources.limits.hugepages-1Gi: "1Gi" is not expected'],
    ),
    (
        "another amount of hugepages than the annotation says",
        {f"{APP} resources": asking(), f"{NOTES} dpdk/hugepages-2Mi": "1Gi"},
        {f"{LIMITS} hugepages-2Mi": "2Gi"},
        ['spec.containers[0].resources.limits.hugepages-2Mi: "2Gi" is not expected'],
    ),
    (
        "unequal hugepages made equal",
        {f"{REQUESTS} hugepages-2Mi": "2Mi"},
        {f"{REQUESTS} hugepages-2Mi": "512Mi"},
        ['spec.containers[0].resources.requests.hugepages-2Mi: "512Mi" instead of "2Mi"'],
    ),
    (
        "spec.resources with content removed",
        {"spec resources": {"limits": {"cpu": 1}}},
        {"spec resources": ABSENT},
        ['spec.resources: {"limits": {"cpu": 1}} is missing'],
    ),
    # volumes and mounts
    (
        "a volume that nobody mounts",
        {},
        {"spec volumes 1": volume("more")},
        [
            'spec.volumes[1]: {"name": "more", "emptyDir": {"medium": "HugePages-2Mi"}} is no hugepage volume '
            "that a DPDK container needs"
        ],
    ),
    (
        "a volume before the user's",
        {"spec volumes 0": {"name": "scratch", "emptyDir": {}}, MOUNTS: ABSENT},
        {"spec volumes": [volume(), {"name": "scratch", "emptyDir": {}}], MOUNTS: [HUGE]},
        [
            'spec.volumes[0].name: "huge" instead of "scratch"',
            'spec.volumes[0].emptyDir.medium: "HugePages-2Mi" is not expected',
            'spec.volumes[1]: {"name": "scratch", "emptyDir": {}} is no hugepage volume that a DPDK container needs',
        ],
    ),
    (
        "a volume with a size limit",
        {"spec volumes": [], MOUNTS: []},
        {"spec volumes": [volume(sizeLimit="1Gi")], MOUNTS: [HUGE]},
        [
            'spec.volumes[0]: {"name": "huge", "emptyDir": {"medium": "HugePages-2Mi", "sizeLimit": "1Gi"}} '
            "is no hugepage volume that a DPDK container needs"
        ],
    ),
    (
        "a volume of the plain medium",
        {"spec volumes": [], MOUNTS: []},
        {"spec volumes": [volume(medium="HugePages")], MOUNTS: [HUGE]},
        [
            'spec.volumes[0]: {"name": "huge", "emptyDir": {"medium": "HugePages"}} is no hugepage volume '
            "that a DPDK container needs"
        ],
    ),
    (
        "a volume whose name is taken",
        {MOUNTS: []},
        {"spec volumes 1": volume(), MOUNTS: [HUGE]},
        [
            'spec.volumes[1]: {"name": "huge", "emptyDir": {"medium": "HugePages-2Mi"}} is no hugepage volume '
            "that a DPDK container needs"
        ],
    ),
    (
        "a volume whose name is no DNS label",
        {"spec volumes": [], MOUNTS: []},
        {"spec volumes": [volume("hugepages-2Mi")], MOUNTS: [{**HUGE, "name": "hugepages-2Mi"}]},
        [
            'spec.volumes[0]: {"name": "hugepages-2Mi", "emptyDir": {"medium": "HugePages-2Mi"}} is no hugepage volume '
            "that a DPDK container needs"
        ],
    ),
    (
        "a volume gone",
        {},
        {"spec volumes": []},
        ['spec.volumes[0]: {"name": "huge", "emptyDir": {"medium": "HugePages-2Mi"}} is missing'],
    ),
    (
        "the user's volume changed",
        {},
        {"spec volumes 0 emptyDir sizeLimit": "1Gi"},
        ['spec.volumes[0].emptyDir.sizeLimit: "1Gi" is not expected'],
    ),
    (
        "a second mount of a size that is mounted",
        {},
        {f"{MOUNTS} 1": {"name": "huge", "mountPath": "/again"}},
        [
            'spec.containers[0].volumeMounts[1]: {"name": "huge", "mountPath": "/again"} is no hugepage mount '
            "that container app lacked"
        ],
    ),
    (
        "a mount that is not for hugepages",
        {MOUNTS: []},
        {MOUNTS: [{"name": "scratch", "mountPath": "/s"}]},
        [
            'spec.containers[0].volumeMounts[0]: {"name": "scratch", "mountPath": "/s"} is no hugepage mount '
            "that container app lacked"
        ],
    ),
    (
        "a mount with a sub-path",
        {MOUNTS: []},
        {MOUNTS: [{**HUGE, "subPath": "app"}]},
        [
            'spec.containers[0].volumeMounts[0]: {"name": "huge", "mountPath": "/dev/hugepages", "subPath": "app"} '
            "is no hugepage mount that container app lacked"
        ],
    ),
    (
        "a mount in another container",
        {"spec containers 1": other()},
        {"spec containers 1 volumeMounts": [HUGE]},
        ['spec.containers[1].volumeMounts: [{"name": "huge", "mountPath": "/dev/hugepages"}] is not expected'],
    ),
    (
        "the user's mount moved",
        {},
        {f"{MOUNTS} 0 mountPath": "/hugepages"},
        ['spec.containers[0].volumeMounts[0].mountPath: "/hugepages" instead of "/dev/hugepages"'],
    ),
    # env
    (
        "the variable after the user's",
        {f"{ENV} 0": {"name": "A", "value": "1"}},
        {f"{ENV} 1": HUGE_DIR},
        ['spec.containers[0].env[1]: {"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"} is not expected'],
    ),
    (
        "the variable where the command says it all",
        {ENV: ABSENT, f"{APP} args": ["--huge-dir", "/dev/hugepages"]},
        {ENV: [HUGE_DIR]},
        ['spec.containers[0].env: [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}] is not expected'],
    ),
    (
        "the variable with a path that is not mounted",
        {ENV: []},
        {ENV: [{**HUGE_DIR, "value": "--huge-dir=/huge"}]},
        ['spec.containers[0].env[0]: {"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/huge"} is not expected'],
    ),
    (
        "the user's options behind ours",
        eal("-n 4"),
        eal("--huge-dir=/dev/hugepages -n 4"),
        ['spec.containers[0].env[0].value: "--huge-dir=/dev/hugepages -n 4" instead of "-n 4"'],
    ),
    (
        "a token behind a lone --",
        eal("-l 2 -- -i"),
        eal("-l 2 -- -i --huge-dir=/dev/hugepages"),
        ['spec.containers[0].env[0].value: "-l 2 -- -i --huge-dir=/dev/hugepages" instead of "-l 2 -- -i"'],
    ),
    (
        "a second --huge-dir",
        {},
        eal("--huge-dir=/dev/hugepages --huge-dir=/dev/hugepages"),
        [
            'spec.containers[0].env[0].value: "--huge-dir=/dev/hugepages --huge-dir=/dev/hugepages" '
            'instead of "--huge-dir=/dev/hugepages"'
        ],
    ),
    (
        "the user's two tokens made one",
        eal("--huge-dir /dev/hugepages"),
        eal("--huge-dir=/dev/hugepages"),
        ['spec.containers[0].env[0].value: "--huge-dir=/dev/hugepages" instead of "--huge-dir /dev/hugepages"'],
    ),
    (
        "a token after --no-huge",
        eal("--no-huge"),
        eal("--no-huge --huge-dir=/dev/hugepages"),
        ['spec.containers[0].env[0].value: "--no-huge --huge-dir=/dev/hugepages" instead of "--no-huge"'],
    ),
    (
        "a variable in another container",
        {"spec containers 1": other()},
        {"spec containers 1 env": [HUGE_DIR]},
        ['spec.containers[1].env: [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}] is not expected'],
    ),
    # securityContext
    (
        "IPC_LOCK twice",
        {},
        {f"{CAPABILITIES} add 1": "IPC_LOCK"},
        ['spec.containers[0].securityContext.capabilities.add[1]: "IPC_LOCK" is not expected'],
    ),
    (
        "IPC_LOCK where ALL is added",
        {CAPABILITIES: {"add": ["all"]}},
        {f"{CAPABILITIES} add 1": "IPC_LOCK"},
        ['spec.containers[0].securityContext.capabilities.add[1]: "IPC_LOCK" is not expected'],
    ),
    (
        "IPC_LOCK for the privileged",
        {SECURITY: {"privileged": True}},
        {CAPABILITIES: {"add": ["IPC_LOCK"]}},
        ['spec.containers[0].securityContext.capabilities: {"add": ["IPC_LOCK"]} is not expected'],
    ),
    (
        "IPC_LOCK no longer dropped",
        {CAPABILITIES: {"drop": ["IPC_LOCK"]}},
        {CAPABILITIES: {"drop": [], "add": ["IPC_LOCK"]}},
        ['spec.containers[0].securityContext.capabilities.drop[0]: "IPC_LOCK" is missing'],
    ),
    (
        "another capability",
        {SECURITY: {}},
        {CAPABILITIES: {"add": ["IPC_LOCK", "NET_ADMIN"]}},
        ['spec.containers[0].securityContext.capabilities: {"add": ["IPC_LOCK", "NET_ADMIN"]} is not expected'],
    ),
    (
        "IPC_LOCK for another container",
        {"spec containers 1": other()},
        {"spec containers 1 securityContext": {"capabilities": {"add": ["IPC_LOCK"]}}},
        ['spec.containers[1].securityContext: {"capabilities": {"add": ["IPC_LOCK"]}} is not expected'],
    ),
    # containers
    (
        "containers in another order",
        {"spec containers 1": {"name": "a"}, "spec containers 2": {"name": "b"}},
        {"spec containers 1 name": "b", "spec containers 2 name": "a"},
        ['spec.containers[1].name: "b" instead of "a"', 'spec.containers[2].name: "a" instead of "b"'],
    ),
    (
        "a container more",
        {},
        {"spec initContainers": [{"name": "spy"}]},
        ['spec.initContainers: [{"name": "spy"}] is not expected'],
    ),
    (
        "a container less",
        {"spec containers 1": {"name": "log"}},
        {"spec containers 1": ABSENT},
        ['spec.containers[1]: {"name": "log"} is missing'],
    ),
    # not ours to touch
    (
        "anything in a pod that did not opt in",
        {f"{NOTES} dpdk": "True", CPU_REQUEST: "1"},
        {CPU_REQUEST: "2"},
        ['spec.containers[0].resources.requests.cpu: "2" instead of "1"'],
    ),
    (
        "anything in a mirror pod",
        {f"{NOTES} kubernetes.io/config.mirror": "x", SECURITY: {}},
        {CAPABILITIES: {"add": ["IPC_LOCK"]}},
        ['spec.containers[0].securityContext.capabilities: {"add": ["IPC_LOCK"]} is not expected'],
    ),
]


@pytest.mark.parametrize(("written", "stored", "sentences"), [pytest.param(w, s, t, id=i) for i, w, s, t in UNEXPECTED])
def test_what_the_contract_does_not_ask_for_is_named(written: Changes, stored: Changes, sentences: list[str]) -> None:
    before = tweak(minimal(), written)
    assert unexpected_changes(before, tweak(before, stored)) == sentences


SITES: list[tuple[str, Site, Changes, Changes, list[str]]] = [
    ("rounded up to the step", Site(cpu_step=2), cpu("2500m"), cpu("4"), []),
    (
        "not rounded up to the step",
        Site(cpu_step=2),
        {CPU_REQUEST: ABSENT, CPU_LIMIT: "2500m"},
        {CPU_LIMIT: "3"},
        ['spec.containers[0].resources.limits.cpu: "3" instead of "2500m"'],
    ),
    (
        "whole CPUs everywhere",
        Site(whole_cpus_all=True),
        {"spec containers 1": other()},
        {"spec containers 1 resources": asking("1", "128Mi")},
        [],
    ),
    ("the site's variable", Site(eal_env="EAL"), {ENV: []}, {ENV: [{**HUGE_DIR, "name": "EAL"}]}, []),
]


@pytest.mark.parametrize(
    ("site", "written", "stored", "sentences"), [pytest.param(s, w, a, t, id=i) for i, s, w, a, t in SITES]
)
def test_the_site_decides(site: Site, written: Changes, stored: Changes, sentences: list[str]) -> None:
    before = tweak(minimal(), written)
    assert unexpected_changes(before, tweak(before, stored), settings=site) == sentences
