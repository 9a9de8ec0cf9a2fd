"""The oracle finds each broken promise, by a whole sentence."""

import ast
from pathlib import Path

import pytest

from tests.oracle import violations
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
    SECOND,
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

NOT_2MI = "C4: container app mounts no hugepage volume of 2Mi (spec.containers[0].volumeMounts)"


BROKEN = [
    # C1
    (
        "a container without a cpu request",
        {CPU_REQUEST: ABSENT},
        ["C1: container app has no cpu request (spec.containers[0].resources.requests.cpu)"],
    ),
    (
        "a container without a memory limit",
        {f"{LIMITS} memory": ABSENT},
        ["C1: container app has no memory limit (spec.containers[0].resources.limits.memory)"],
    ),
    (
        "a null amount is an absent amount",
        {CPU_LIMIT: None},
        ["C1: container app has no cpu limit (spec.containers[0].resources.limits.cpu)"],
    ),
    (
        "zero memory counts as unset",
        memory("0"),
        [
            "C1: container app has memory request 0, not above zero (spec.containers[0].resources.requests.memory)",
            "C1: container app has memory limit 0, not above zero (spec.containers[0].resources.limits.memory)",
        ],
    ),
    (
        "a request below its limit",
        {CPU_REQUEST: "1"},
        ["C1: container app has cpu request 1 and limit 2, not the same (spec.containers[0].resources)"],
    ),
    (
        "a memory request in another unit, nearly its limit",
        {f"{REQUESTS} memory": "1G"},
        ["C1: container app has memory request 1G and limit 1Gi, not the same (spec.containers[0].resources)"],
    ),
    (
        "an amount that cannot be read",
        {CPU_REQUEST: "two"},
        ["C1: container app has cpu request 'two', which is no quantity (spec.containers[0].resources.requests.cpu)"],
    ),
    (
        "a negative amount",
        {f"{REQUESTS} memory": "-1Gi"},
        ["C1: container app has memory request -1Gi, not above zero (spec.containers[0].resources.requests.memory)"],
    ),
    (
        "a sidecar without a limit",
        {"spec initContainers": [other("proxy", restartPolicy="Always", resources={"requests": {"cpu": "100m"}})]},
        [
            "C1: container proxy has no cpu limit (spec.initContainers[0].resources.limits.cpu)",
            "C1: container proxy has no memory request (spec.initContainers[0].resources.requests.memory)",
            "C1: container proxy has no memory limit (spec.initContainers[0].resources.limits.memory)",
        ],
    ),
    (
        "a plain init container whose cpu request is below its limit",
        {"spec initContainers": [tweak(other("setup"), {"resources limits cpu": "1"})]},
        ["C1: container setup has cpu request 100m and limit 1, not the same (spec.initContainers[0].resources)"],
    ),
    (
        "empty resources of the pod make it BestEffort",
        {"spec resources": {}},
        ["C1: the pod has resources of its own, which decide its QoS (spec.resources)"],
    ),
    # C2
    (
        "a fraction of a CPU",
        cpu("1500m"),
        ["C2: container app has 1500m CPUs, no multiple of 1 (spec.containers[0].resources.limits.cpu)"],
    ),
    (
        "a hair above a whole CPU",
        cpu("2.000000001"),
        ["C2: container app has 2.000000001 CPUs, no multiple of 1 (spec.containers[0].resources.limits.cpu)"],
    ),
    (
        "a fractional other container where the pod wants whole CPUs everywhere",
        {"spec containers 1": other(), f"{NOTES} dpdk/whole-cpus": "all"},
        ["C2: container log has 100m CPUs, no multiple of 1 (spec.containers[1].resources.limits.cpu)"],
    ),
    (
        "a fractional sidecar that is named as a DPDK container",
        {
            "spec initContainers": [container("pmd", "huge-pmd", restartPolicy="Always", resources=asking("1.5", Mi2="2Mi"))],
            "spec volumes 1": volume("huge-pmd"),
            f"{NOTES} dpdk/containers": "app,pmd",
        },
        ["C2: container pmd has 1.5 CPUs, no multiple of 1 (spec.initContainers[0].resources.limits.cpu)"],
    ),
    # C3
    (
        "no hugepages at all",
        {**hugepages("2Mi", ABSENT), "spec volumes": [], f"{APP} volumeMounts": [], **eal("--no-huge")},
        ["C3: container app asks for no hugepages (spec.containers[0].resources)"],
    ),
    (
        "zero hugepages",
        {**hugepages("2Mi", 0), "spec volumes": [], f"{APP} volumeMounts": [], **eal("--no-huge")},
        ["C3: container app asks for no hugepages (spec.containers[0].resources)"],
    ),
    (
        "hugepages with a limit only",
        {f"{REQUESTS} hugepages-2Mi": ABSENT},
        ["C3: container app has no hugepages-2Mi request (spec.containers[0].resources.requests.hugepages-2Mi)"],
    ),
    (
        "hugepages whose request is below the limit",
        {f"{REQUESTS} hugepages-2Mi": "256Mi"},
        ["C3: container app has hugepages-2Mi request 256Mi and limit 512Mi, not the same (spec.containers[0].resources)"],
    ),
    (
        "half a page",
        hugepages("2Mi", "3Mi"),
        ["C3: container app asks for 3Mi of hugepages-2Mi, not whole pages (spec.containers[0].resources)"],
    ),
    (
        "a page size under a name that no node advertises",
        {**hugepages("2Mi", ABSENT), **hugepages("2048Ki", "512Mi")},
        ["C3: container app asks for hugepages-2048Ki, which no node has, write hugepages-2Mi (spec.containers[0].resources)"],
    ),
    (
        "a decimal page size",
        {
            **hugepages("2Mi", ABSENT),
            **hugepages("1G", "2G"),
            "spec volumes 0": volume("huge", "HugePages-1G"),
        },
        [
            "C3: container app asks for hugepages-1G, which no node has, write hugepages-1000000000 "
            "(spec.containers[0].resources)"
        ],
    ),
    (
        "a page size that cannot be read",
        {**hugepages("2MB", "512Mi")},
        ["C3: container app asks for hugepages-2MB, which no node has (spec.containers[0].resources)"],
    ),
    (
        "a page size that is no power of two",
        {
            **hugepages("3Mi", "6Mi"),
            "spec volumes 1": volume("h3", "HugePages-3Mi"),
            f"{APP} volumeMounts 1": {"name": "h3", "mountPath": "/h3"},
        },
        ["C3: container app asks for hugepages-3Mi, whose size is no power of two (spec.containers[0].resources)"],
    ),
    (
        "an uncanonical size in a container that is not for DPDK keeps the pod pending all the same",
        {
            "spec initContainers": [other("setup", resources=asking("1", Mi1024="1Gi"))],
        },
        [
            "C3: container setup asks for hugepages-1024Mi, which no node has, write hugepages-1Gi "
            "(spec.initContainers[0].resources)"
        ],
    ),
    (
        "one of two named containers without hugepages",
        {
            **SECOND,
            f"{NOTES} dpdk/containers": "app, fwd",
            "spec containers 1 resources": asking(),
        },
        ["C3: container fwd asks for no hugepages (spec.containers[1].resources)"],
    ),
    # C4
    (
        "no mount",
        {f"{APP} volumeMounts": ABSENT, **eal("--in-memory")},
        [NOT_2MI],
    ),
    (
        "a mount of a volume that is not for hugepages",
        {"spec volumes 0": {"name": "huge", "emptyDir": {"medium": "Memory"}}, **eal("--in-memory")},
        [NOT_2MI],
    ),
    (
        "a mount of a volume that does not exist",
        {"spec volumes": ABSENT, **eal("--in-memory")},
        [NOT_2MI],
    ),
    (
        "a read-only mount",
        {f"{APP} volumeMounts 0 readOnly": True},
        ["C4: container app mounts huge read-only at /dev/hugepages (spec.containers[0].volumeMounts)"],
    ),
    (
        "a medium whose size nobody requests",
        {"spec volumes 0": volume("huge", "HugePages-1Gi")},
        [
            "C4: volume huge has medium HugePages-1Gi, which no container requests (spec.volumes)",
            NOT_2MI,
        ],
    ),
    (
        "a medium whose size cannot be read",
        {"spec volumes 0": volume("huge", "HugePages-2MB")},
        ["C4: volume huge has medium HugePages-2MB, which no container requests (spec.volumes)"],
    ),
    (
        "a second size without a volume",
        hugepages("1Gi", "1Gi"),
        ["C4: container app mounts no hugepage volume of 1Gi (spec.containers[0].volumeMounts)"],
    ),
    (
        "plain HugePages while two sizes are requested in one container",
        {**BOTH_SIZES, "spec volumes 0": volume("huge", "HugePages")},
        ["C4: volume huge has medium HugePages, but the pod's page sizes are 2Mi and 1Gi (spec.volumes)"],
    ),
    (
        "plain HugePages while an init container requests another size",
        {
            "spec volumes 0": volume("huge", "HugePages"),
            "spec initContainers": [other("setup", resources=asking("1", Gi1="1Gi"))],
        },
        ["C4: volume huge has medium HugePages, but the pod's page sizes are 2Mi and 1Gi (spec.volumes)"],
    ),
    (
        "plain HugePages beside a second size of zero, which the kubelet counts",
        {**hugepages("1Gi", "0"), "spec volumes 0": volume("huge", "HugePages")},
        ["C4: volume huge has medium HugePages, but the pod's page sizes are 2Mi and 1Gi (spec.volumes)"],
    ),
    (
        "another mount on the same path",
        {
            "spec volumes 1": {"name": "scratch", "emptyDir": {}},
            f"{APP} volumeMounts 1": {"name": "scratch", "mountPath": "/dev/hugepages/"},
        },
        [
            "C4: container app has mounts /dev/hugepages and /dev/hugepages/, one over the other "
            "(spec.containers[0].volumeMounts)"
        ],
    ),
    # C5
    (
        "no environment",
        {ENV: ABSENT},
        ["C5: container app has 0 variables DPDK_EAL_ARGS, not one (spec.containers[0].env)"],
    ),
    (
        "the variable under another name than the pod's option says",
        {f"{NOTES} dpdk/eal-env": "EAL_ARGS"},
        ["C5: container app has 0 variables EAL_ARGS, not one (spec.containers[0].env)"],
    ),
    (
        "the variable twice",
        {f"{ENV} 1": {"name": "DPDK_EAL_ARGS", "value": "-l 2-3"}},
        ["C5: container app has 2 variables DPDK_EAL_ARGS, not one (spec.containers[0].env)"],
    ),
    (
        "the variable from a field that cannot be read",
        {f"{ENV} 0": {"name": "DPDK_EAL_ARGS", "valueFrom": {"configMapKeyRef": {"name": "eal", "key": "args"}}}},
        ["C5: container app takes DPDK_EAL_ARGS from elsewhere, where it cannot be read (spec.containers[0].env)"],
    ),
    (
        "no --huge-dir among the EAL options",
        eal("-l 2-3 --huge-dirs=/dev/hugepages"),
        ["C5: container app has 0 times --huge-dir in DPDK_EAL_ARGS, not once (spec.containers[0].env)"],
    ),
    (
        "--huge-dir twice",
        eal("--huge-dir=/dev/hugepages --huge-dir /dev/hugepages"),
        ["C5: container app has 2 times --huge-dir in DPDK_EAL_ARGS, not once (spec.containers[0].env)"],
    ),
    (
        "--huge-dir of a path that is not mounted",
        eal("--huge-dir=/mnt/huge"),
        ["C5: container app has --huge-dir /mnt/huge in DPDK_EAL_ARGS, no hugepage mount of its own (spec.containers[0].env)"],
    ),
    (
        "--huge-dir with a path that begins like the mount",
        eal("--huge-dir=/dev/hugepages-1Gi"),
        [
            "C5: container app has --huge-dir /dev/hugepages-1Gi in DPDK_EAL_ARGS, no hugepage mount of its own "
            "(spec.containers[0].env)"
        ],
    ),
    (
        "--huge-dir without a path",
        eal("-l 2-3 --huge-dir"),
        [
            "C5: container app has --huge-dir without a path in DPDK_EAL_ARGS, no hugepage mount of its own "
            "(spec.containers[0].env)"
        ],
    ),
    (
        "--huge-dir with quotes, which stay in the variable",
        eal("--huge-dir='/dev/hugepages'"),
        [
            "C5: container app has --huge-dir '/dev/hugepages' in DPDK_EAL_ARGS, no hugepage mount of its own "
            "(spec.containers[0].env)"
        ],
    ),
    (
        "--huge-dir behind a lone --, where EAL doesn't read",
        eal("-l 2 -- --huge-dir=/dev/hugepages"),
        ["C5: container app has 0 times --huge-dir in DPDK_EAL_ARGS, not once (spec.containers[0].env)"],
    ),
    (
        "--huge-dir of a path that another variable holds",
        {
            f"{ENV} 0": {"name": "DIR", "value": "/mnt/huge"},
            f"{ENV} 1": {"name": "DPDK_EAL_ARGS", "value": "--huge-dir=$(DIR)"},
        },
        ["C5: container app has --huge-dir /mnt/huge in DPDK_EAL_ARGS, no hugepage mount of its own (spec.containers[0].env)"],
    ),
    (
        "--huge-dir of a mount of another medium",
        {
            "spec volumes 1": {"name": "scratch", "emptyDir": {}},
            f"{APP} volumeMounts 1": {"name": "scratch", "mountPath": "/scratch"},
            **eal("--huge-dir=/scratch"),
        },
        ["C5: container app has --huge-dir /scratch in DPDK_EAL_ARGS, no hugepage mount of its own (spec.containers[0].env)"],
    ),
    (
        "a command whose --huge-dir points elsewhere",
        {f"{APP} args": ["--huge-dir", "/mnt/huge"]},
        ["C5: container app runs with --huge-dir /mnt/huge, which is no hugepage mount of its own (spec.containers[0])"],
    ),
    (
        "a shell's command line whose --huge-dir points elsewhere",
        {f"{APP} args": ["-c", "l2fwd --huge-dir=/mnt/huge; sleep 1"]},
        ["C5: container app runs with --huge-dir /mnt/huge, which is no hugepage mount of its own (spec.containers[0])"],
    ),
    (
        "a size for --huge-dir that no DPDK container requests",
        {f"{NOTES} dpdk/huge-size": "1Gi"},
        ["C5: dpdk/huge-size names '1Gi', which no DPDK container requests"],
    ),
    # C6
    (
        "no security context",
        {f"{APP} securityContext": ABSENT},
        ["C6: container app does not add IPC_LOCK (spec.containers[0].securityContext.capabilities)"],
    ),
    (
        "other capabilities only",
        {CAPABILITIES: {"add": ["NET_ADMIN", "IPC_OWNER"]}},
        ["C6: container app does not add IPC_LOCK (spec.containers[0].securityContext.capabilities)"],
    ),
    (
        "CAP_IPC_LOCK, which containerd drops silently",
        {CAPABILITIES: {"add": ["CAP_IPC_LOCK"]}},
        ["C6: container app does not add IPC_LOCK (spec.containers[0].securityContext.capabilities)"],
    ),
    (
        "IPC_LOCK added and dropped",
        {CAPABILITIES: {"add": ["IPC_LOCK"], "drop": ["ipc_lock"]}},
        ["C6: container app drops IPC_LOCK (spec.containers[0].securityContext.capabilities)"],
    ),
    (
        "IPC_LOCK dropped with its prefix, in odd letters",
        {CAPABILITIES: {"add": ["ALL"], "drop": ["Cap_Ipc_Lock"]}},
        ["C6: container app drops IPC_LOCK (spec.containers[0].securityContext.capabilities)"],
    ),
    (
        "ALL added and ALL dropped",
        {CAPABILITIES: {"add": ["ALL"], "drop": ["all"]}},
        ["C6: container app does not add IPC_LOCK (spec.containers[0].securityContext.capabilities)"],
    ),
    (
        "privileged: false with nothing added",
        {f"{APP} securityContext": {"privileged": False}},
        ["C6: container app does not add IPC_LOCK (spec.containers[0].securityContext.capabilities)"],
    ),
    (
        "a user namespace",
        {"spec hostUsers": False},
        ["C6: IPC_LOCK in a user namespace is not effective on the host (spec.hostUsers)"],
    ),
    (
        "a windows pod",
        {"spec os": {"name": "windows"}},
        ["C6: capabilities do not exist on windows (spec.os.name)"],
    ),
    # Which containers
    (
        "an option that names a container the pod has not",
        {f"{NOTES} dpdk/containers": "app,ghost"},
        ["DPDK: dpdk/containers names 'ghost', which is no container of the pod"],
    ),
    (
        "an option that names a plain init container",
        {f"{NOTES} dpdk/containers": "app,setup", "spec initContainers": [other("setup")]},
        ["DPDK: dpdk/containers names 'setup', which is a plain init container (spec.initContainers[0])"],
    ),
    (
        "two containers and nothing to tell which",
        {"spec containers": [other("a"), other("b")], "spec volumes": []},
        ["DPDK: no container can be told to be the DPDK container"],
    ),
    (
        "the default container is a DPDK container when none asks for hugepages",
        {
            "spec containers": [other("a"), container("b", resources=asking("2"))],
            "spec volumes": [],
            f"{NOTES} kubectl.kubernetes.io/default-container": "b",
            "spec containers 1 env 0 value": "--no-huge",
        },
        ["C3: container b asks for no hugepages (spec.containers[1].resources)"],
    ),
    (
        "the second of two containers that ask for hugepages",
        {**SECOND, "spec containers 1 securityContext": {}},
        ["C6: container fwd does not add IPC_LOCK (spec.containers[1].securityContext.capabilities)"],
    ),
]


@pytest.mark.parametrize(("changes", "sentences"), [pytest.param(c, s, id=i) for i, c, s in BROKEN])
def test_a_broken_promise_is_named(changes: Changes, sentences: list[str]) -> None:
    assert violations(tweak(minimal(), changes)) == sentences


def test_the_oracle_imports_nothing_of_what_it_judges() -> None:
    files = sorted((Path(__file__).parent / "oracle").glob("*.py"))
    assert files
    assert {root for file in files for root in _roots(file)} <= {
        "collections", "copy", "dataclasses", "fractions", "itertools", "json", "re", "tests", "typing",
    }  # fmt: skip


def _roots(file: Path) -> set[str]:
    """First parts of all modules imported, wherever in the file; of our own only the oracle itself."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} imports relatively"
            modules.add(node.module or "")
        elif isinstance(node, ast.Name):
            assert node.id not in ("__import__", "importlib", "exec", "eval"), f"{file.name} imports by name"
    assert all(m.startswith("tests.oracle") for m in modules if m.startswith("tests"))
    return {module.partition(".")[0] for module in modules}
