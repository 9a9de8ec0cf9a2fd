"""The oracle has no word for a kept promise, and goes by who wrote what and by the site's settings."""

import pytest

from tests.oracle import Site, violations
from tests.oracle.minimal import (
    ABSENT,
    APP,
    BOTH_SIZES,
    CAPABILITIES,
    CPU_LIMIT,
    CPU_REQUEST,
    ENV,
    NOTES,
    REQUESTS,
    SECOND,
    Changes,
    asking,
    container,
    cpu,
    eal,
    hugepages,
    minimal,
    other,
    tweak,
    volume,
)

KEPT: list[tuple[str, Changes]] = [
    ("the minimal pod", {}),
    ("amounts that are the same in another spelling", {CPU_REQUEST: 2, CPU_LIMIT: "2000m"}),
    ("a float and an exponent", {CPU_REQUEST: 2.0, CPU_LIMIT: "2e0"}),
    ("a plus sign, and memory as a number of bytes", {CPU_REQUEST: "+2", f"{REQUESTS} memory": 1073741824}),
    ("memory in milli-bytes", {f"{REQUESTS} memory": "1073741824000m"}),
    ("ephemeral containers without resources", {"spec ephemeralContainers": [{"name": "debug"}]}),
    ("a null spec.resources", {"spec resources": None}),
    ("a container with a fraction of a CPU beside the DPDK container", {"spec containers 1": other()}),
    ("a sidecar with a fraction of a CPU", {"spec initContainers": [other("proxy", restartPolicy="Always")]}),
    ("a plain init container", {"spec initContainers": [other("setup")]}),
    (
        "a sidecar that asks for hugepages but is not named",
        {"spec initContainers": [other("proxy", restartPolicy="Always", resources=asking("1", Mi2="2Mi"))]},
    ),
    (
        "a sidecar that is named",
        {
            "spec initContainers": [container("pmd", restartPolicy="Always")],
            "spec containers 0": other(),
            f"{NOTES} dpdk/containers": "pmd",
        },
    ),
    ("two DPDK containers with a volume each", SECOND),
    (
        "the annotation chooses one of two containers that ask for hugepages",
        {"spec containers 1": other("b", resources=asking("100m", Mi2="2Mi")), f"{NOTES} dpdk/containers": "app"},
    ),
    ("both page sizes in one container", BOTH_SIZES),
    (
        "both page sizes and the smaller one chosen by annotation",
        {**BOTH_SIZES, **eal("--huge-dir=/dev/hugepages"), f"{NOTES} dpdk/huge-size": "2Mi"},
    ),
    ("a second size of zero", hugepages("1Gi", "0")),
    (
        "arm64: 64Ki pages",
        {**hugepages("2Mi", ABSENT), **hugepages("64Ki", "128Ki"), "spec volumes 0": volume("huge", "HugePages-64Ki")},
    ),
    (
        "arm64: 512Mi pages",
        {**hugepages("2Mi", ABSENT), **hugepages("512Mi", "1Gi"), "spec volumes 0": volume("huge", "HugePages-512Mi")},
    ),
    (
        "ppc64: 16Gi pages",
        {**hugepages("2Mi", ABSENT), **hugepages("16Gi", "16Gi"), "spec volumes 0": volume("huge", "HugePages-16Gi")},
    ),
    ("plain HugePages with one size", {"spec volumes 0": volume("huge", "HugePages")}),
    ("a medium in another spelling", {"spec volumes 0": volume("huge", "HugePages-2048Ki")}),
    ("a size limit of which nobody knows who wrote it", {"spec volumes 0": volume(sizeLimit="1Gi")}),
    ("a sub-path", {f"{APP} volumeMounts 0 subPath": "app"}),
    ("readOnly: false", {f"{APP} volumeMounts 0 readOnly": False}),
    (
        "a mount inside another that the user may have written",
        {
            f"{APP} volumeMounts 1": {"name": "dev", "mountPath": "/dev"},
            "spec volumes 1": {"name": "dev", "hostPath": {"path": "/dev"}},
        },
    ),
    (
        "a read-only mount in a container that is not for DPDK",
        {"spec containers 1": other(volumeMounts=[{"name": "huge", "mountPath": "/h", "readOnly": True}])},
    ),
    ("more EAL options", eal("-l 2-3 --huge-dir=/dev/hugepages -n 4")),
    ("--huge-dir in two tokens", eal("-l 2-3 --huge-dir /dev/hugepages")),
    ("a trailing slash", eal("--huge-dir=/dev/hugepages/")),
    ("--in-memory in the variable", eal("--in-memory")),
    ("--no-huge in the variable", eal("-l 2 --no-huge")),
    (
        "a command with --huge-dir needs no variable",
        {f"{APP} command": ["l2fwd", "--huge-dir=/dev/hugepages"], ENV: ABSENT},
    ),
    (
        "arguments with --huge-dir in two words",
        {f"{APP} args": ["-n", "4", "--huge-dir", "/dev/hugepages"], ENV: ABSENT},
    ),
    (
        "a shell's command line with --huge-dir",
        {f"{APP} args": ["-c", "exec l2fwd --huge-dir /dev/hugepages -- -p 1"], ENV: ABSENT},
    ),
    (
        "a shell's command line with quotes and punctuation around the path",
        {f"{APP} args": ["-c", "(l2fwd --huge-dir='/dev/hugepages'; sleep 1)&"], ENV: ABSENT},
    ),
    ("a --huge-dir of the application's own", {f"{APP} args": ["-l", "2", "--", "--huge-dir=/x"]}),
    ("a --huge-dir of the application's own in the variable", eal("--huge-dir=/dev/hugepages -- --huge-dir=/x")),
    ("a command whose --huge-dir depends on a variable", {f"{APP} args": ["--huge-dir=$(POD)"], ENV: ABSENT}),
    ("a --huge-dir that depends on a variable", eal("--huge-dir=/mnt/$(POD)")),
    (
        "a --huge-dir whose path another variable holds",
        {
            f"{ENV} 0": {"name": "ROOT", "value": "/dev"},
            f"{ENV} 1": {"name": "DPDK_EAL_ARGS", "value": "--huge-dir=$(ROOT)/hugepages"},
        },
    ),
    ("a command with --in-memory", {f"{APP} command": ["l2fwd", "--in-memory"], ENV: ABSENT}),
    ("a command with --no-huge", {f"{APP} args": ["--no-huge"], ENV: ABSENT}),
    ("the variable's name by annotation", {f"{NOTES} dpdk/eal-env": "EAL_ARGS", f"{ENV} 0 name": "EAL_ARGS"}),
    ("privileged", {f"{APP} securityContext": {"privileged": True}}),
    (
        "privileged beats a dropped IPC_LOCK",
        {f"{APP} securityContext": {"privileged": True, "capabilities": {"drop": ["IPC_LOCK"]}}},
    ),
    ("ALL added", {CAPABILITIES: {"add": ["ALL"]}}),
    ("capabilities in lower case", {CAPABILITIES: {"add": ["ipc_lock"]}}),
    ("all dropped, IPC_LOCK added", {CAPABILITIES: {"add": ["IPC_LOCK"], "drop": ["ALL"]}}),
    ("CAP_IPC_LOCK beside IPC_LOCK", {CAPABILITIES: {"add": ["CAP_IPC_LOCK", "IPC_LOCK"]}}),
    ("hostUsers: true", {"spec hostUsers": True}),
    ("linux by name", {"spec os": {"name": "linux"}}),
    ("a mirror pod promises nothing", {f"{NOTES} kubernetes.io/config.mirror": "x", CPU_LIMIT: "3"}),
]


@pytest.mark.parametrize("changes", [pytest.param(changes, id=sentence) for sentence, changes in KEPT])
def test_a_kept_promise_is_passed_in_silence(changes: Changes) -> None:
    assert violations(tweak(minimal(), changes)) == []


def test_a_pod_that_never_opted_in_is_the_callers_mistake() -> None:
    pod = tweak(minimal(), {f"{NOTES} dpdk": "True"})
    with pytest.raises(ValueError, match=r'^the pod is not annotated dpdk: "true", so nothing was promised$'):
        violations(pod)


SITES = [
    (
        "CPUs in pairs where the site's step is 2",
        Site(cpu_step=2),
        cpu("3"),
        ["C2: container app has 3 CPUs, no multiple of 2 (spec.containers[0].resources.limits.cpu)"],
    ),
    ("a pair of CPUs where the site's step is 2", Site(cpu_step=2), cpu("4"), []),
    (
        "whole CPUs everywhere",
        Site(whole_cpus_all=True),
        {"spec initContainers": [other("setup")]},
        ["C2: container setup has 100m CPUs, no multiple of 1 (spec.initContainers[0].resources.limits.cpu)"],
    ),
    (
        "another variable",
        Site(eal_env="EAL"),
        {},
        ["C5: container app has 0 variables EAL, not one (spec.containers[0].env)"],
    ),
    ("user namespaces allowed", Site(allow_user_namespace=True), {"spec hostUsers": False}, []),
]


@pytest.mark.parametrize(("site", "changes", "sentences"), [pytest.param(s, c, w, id=i) for i, s, c, w in SITES])
def test_the_site_decides(site: Site, changes: Changes, sentences: list[str]) -> None:
    assert violations(tweak(minimal(), changes), settings=site) == sentences


SHARED = {**SECOND, "spec containers 1 volumeMounts 0 name": "huge", "spec volumes 1": ABSENT}
BARE = {ENV: ABSENT, f"{APP} volumeMounts": ABSENT, "spec volumes": ABSENT}
WROTE: list[tuple[str, Changes, Changes, list[str]]] = [
    ("a size limit of the user's", {"spec volumes 0 emptyDir sizeLimit": "1Gi"}, {}, []),
    (
        "a size limit of ours",
        BARE,
        {"spec containers": [container()], "spec volumes": [volume(sizeLimit="1Gi")]},
        ["C4: volume huge has a sizeLimit that the user did not write (spec.volumes)"],
    ),
    ("a volume that the user shared", SHARED, {}, []),
    (
        "a volume that we shared",
        {**SHARED, "spec containers 1 volumeMounts": []},
        {"spec containers 1 volumeMounts": [{"name": "huge", "mountPath": "/dev/hugepages"}]},
        ["C4: volume huge is shared by app and fwd, which the user did not write"],
    ),
    (
        "a mount of ours over the user's",
        {**BARE, f"{APP} volumeMounts": [{"name": "dev", "mountPath": "/dev/"}]},
        {
            f"{APP} volumeMounts 1": {"name": "huge", "mountPath": "/dev/hugepages"},
            "spec volumes": [volume()],
            ENV: container()["env"],
        },
        ["C4: container app has mounts /dev/ and /dev/hugepages, one over the other (spec.containers[0].volumeMounts)"],
    ),
    ("two tokens of the user's", eal("--huge-dir /dev/hugepages"), {}, []),
    (
        "two tokens of ours",
        eal("-n 4"),
        eal("-n 4 --huge-dir /dev/hugepages"),
        ["C5: container app has --huge-dir in two tokens in DPDK_EAL_ARGS (spec.containers[0].env)"],
    ),
    ("the smaller page size by the user's choice", {**BOTH_SIZES, **eal("--huge-dir=/dev/hugepages")}, {}, []),
    (
        "the smaller page size by ours",
        {**BOTH_SIZES, ENV: ABSENT},
        {ENV: [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}]},
        ["C5: container app has --huge-dir /dev/hugepages in DPDK_EAL_ARGS, not its mount of 1Gi (spec.containers[0].env)"],
    ),
    (
        "the larger page size where the annotation says the smaller",
        {**BOTH_SIZES, ENV: ABSENT, f"{NOTES} dpdk/huge-size": "2Mi"},
        {ENV: [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages-1Gi"}]},
        ["C5: container app has --huge-dir /dev/hugepages-1Gi in DPDK_EAL_ARGS, not its mount of 2Mi (spec.containers[0].env)"],
    ),
    (
        "the container of the user's choice, not of ours",
        {**SECOND, **hugepages("2Mi", ABSENT), f"{CAPABILITIES} add": [], **eal("")},
        {},
        [],
    ),
]


@pytest.mark.parametrize(("written", "ours", "sentences"), [pytest.param(w, o, s, id=i) for i, w, o, s in WROTE])
def test_it_matters_who_wrote_it(written: Changes, ours: Changes, sentences: list[str]) -> None:
    before = tweak(minimal(), written)
    assert violations(tweak(before, ours), before=before) == sentences
