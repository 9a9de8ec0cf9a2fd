"""The values along each axis of a random pod; a table begins with the plainest, which shrinking prefers."""

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")
Json = dict[str, Any]


class Draw(Protocol):
    """Whoever chooses: hypothesis, or a seed."""

    def __call__(self, choices: Sequence[T], /) -> T: ...


def weighted(*choices: tuple[int, T]) -> tuple[T, ...]:
    return tuple(value for weight, value in choices for _ in range(weight))


def one_of(*choices: T) -> tuple[T, ...]:
    return choices


HUNDRED: Final = range(100)


def chance(draw: Draw, percent: int) -> bool:
    return draw(HUNDRED) >= 100 - percent


def table(calm: Sequence[tuple[int, Any]], wild: Sequence[tuple[int, Any]]) -> dict[bool, tuple[Any, ...]]:
    """Weighted values by mood: wild pods draw from both."""
    return {True: weighted(*calm), False: weighted(*calm, *wild)}


# Amounts, each in several spellings, from small to large.
CPUS: Final = (
    ("0.0005", "500u", 0.0005),
    (".5", "500m", 0.5, "0.50"),
    ("1.5", "1500m", 1.5, "15e-1"),
    ("2", 2, "2000m", 2.0, "2e0", "+2", "2.", "2E0"),
    (4, "4", "4000m", 4.0),
)
MEMORIES: Final = (
    ("128Mi", 134217728, "134217728", "131072Ki"),
    ("1G", "1e9", 1e9, "1000M", 1000000000),
    ("1Gi", "1024Mi", 1073741824, "1073741824", "+1Gi", "1.0Gi"),
    ("4Gi", "4096Mi", "4294967296000m"),
)
HUGE: Final = (
    ("1Gi", "1024Mi", 1073741824, "+1Gi"),
    ("2Gi", "2048Mi", "2147483648", 2147483648),
    ("16Gi", "16384Mi", 17179869184.0),
)
ZERO: Final = one_of("0", 0, "0m", 0.0, "0Gi")
BROKEN: Final[tuple[Any, ...]] = (
    *("two", "", "1K", "1_000", "1 Gi", "2MB", "-1", "-1Gi", "1e1000000", "NaN", "0x2", "2k", None),
    *(" 2", "2\n", ".", "1e", "--1", "٢", "9" * 41, "1e-41", "Infinity", -1, True, [], ["2"], {}, {"cpu": "2"}),
)
SIZES: Final = weighted(
    (6, ["2Mi"]),
    (4, ["1Gi"]),
    (4, ["2Mi", "1Gi"]),
    (1, ["64Ki"]),
    (1, ["512Mi"]),
    (1, ["64Ki", "512Mi"]),
    (1, ["32Mi"]),
    (1, ["16Mi"]),
)
ODD_SIZES: Final = one_of("1024Mi", "1G", "2MB", "2048Ki", "3Mi", "2mi", "16Gi")
NOT_WHOLE: Final = one_of("3Mi", "1000M", "1.5Mi", 1)

DPDK_PAIRS: Final = table(
    [(6, "same"), (2, "limit"), (2, "request"), (2, "below")], [(1, "absent"), (1, "above"), (2, "broken")]
)
OTHER_PAIRS: Final = table(
    [(5, "same"), (2, "absent"), (2, "limit"), (2, "request"), (2, "below"), (1, "zero")], [(1, "above"), (2, "broken")]
)
CPU_PAIRS: Final = table(
    [(6, "same"), (2, "limit"), (2, "request"), (2, "below"), (1, "absent"), (1, "zero")], [(1, "above"), (2, "broken")]
)
HUGE_PAIRS: Final = table([(8, "same"), (2, "limit"), (2, "request")], [(1, "below"), (1, "above"), (1, "zero"), (2, "parts")])

# Unknown fields.
KEYS: Final = one_of("futureField", "a/b", "~1", "a~0/b~1c", "ключ", "日本", "with blank", "")
LEAVES: Final = one_of(True, 0, 1.5, "text", "été", None, [], {}, [1, {"a/b": None}], {"~": ["x", {"é": 2.0}]})

# Volumes and mounts.
TAKEN: Final = one_of("hugepages-2mi", "hugepages-1gi", "hugepages-2mi-2")
VOLUME_NAMES: Final = one_of("huge", "hugepages-2mi", "hugepages-1gi", "dpdk-mem", "h")
PLACES: Final = one_of("/hugepages", "/dev/hugepages", "/mnt/huge", "/run/dpdk/huge/")
HOW_MOUNTED: Final[tuple[Json, ...]] = one_of({"readOnly": False}, {"subPath": "app"}, {"subPathExpr": "$(POD)"})
OTHER_SOURCES: Final[tuple[Json, ...]] = one_of(
    {"emptyDir": {}},
    {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    {"emptyDir": None, "hostPath": {"path": "/sys"}},
    {"configMap": {"name": "config", "items": [{"key": "a~1/b", "path": "a"}]}},
    {"futureVolume": {"size": 1.0}},
)
OTHER_PLACES: Final = table(
    [(3, "/etc/config"), (1, "/var/cache"), (1, "/data/hugepages")],
    [(2, "/dev/hugepages"), (2, "/dev"), (2, "/dev/hugepages/sub"), (2, "/hugepages/sub"), (1, "/")],
)

# EAL options.
# What else stands in a container's file system.
MESSAGE_PATHS: Final = table(
    [(2, "/dev/termination-log"), (1, "/var/fwd.log"), (1, "")], [(1, "/dev/hugepages/log"), (1, "/dev")]
)
DEVICE_PATHS: Final = table([(1, "/dev/xvda")], [(1, "/dev/hugepages"), (1, "/dev/hugepages-1Gi/disk")])

COMMANDS: Final = table(
    [
        (8, {}),
        (2, {"command": ["l2fwd"], "args": None}),
        (2, {"command": ["sh", "-c"], "args": ["exec dpdk-testpmd $(DPDK_EAL_ARGS) -- -i"]}),
        (2, {"args": ["$(DPDK_EAL_ARGS)", "-l", "2-3"]}),
        (1, {"command": [], "args": []}),
        (1, {"command": ["l2fwd", "--in-memory"]}),
        (1, {"args": ["-l", "2", "--no-huge"]}),
        (1, {"command": ["sh", "-c", "l2fwd --in-memory -- -p 1"]}),
        (1, {"command": ["l2fwd"], "args": ["-l", "2", "--", "--huge-dir=/elsewhere"]}),
        (1, {"command": ["sh", "-c"], "args": ["(l2fwd $(ARGS); sleep 1)&"]}),
    ],
    [(1, {"command": ["l2fwd", "--huge-dir=/elsewhere"]}), (1, {"args": ["--huge-dir", "/dev/hugepages"]})],
)
EAL_VALUES: Final = table(
    [
        (4, "-l 2-3"),
        (2, ""),
        (2, "-n 4 --file-prefix=fwd "),
        (1, None),
        (1, "--in-memory"),
        (1, "-l 2 --no-huge"),
        (1, "-l 2 -- -i"),
        (1, "-l 2 $(MORE)"),
        (1, "-l $(POD) $$(MORE)"),
    ],
    [
        (1, "--huge-dir=/elsewhere"),
        (1, "--huge-dir"),
        (1, "--huge-dir=/dev/hugepages --huge-dir /dev/hugepages"),
        (1, "--huge-dir='/dev/hugepages'"),
        (1, "--huge-dir=$(POD)"),
    ],
)
MORE_OPTIONS: Final = one_of("-n 4", "-n 4 -- -i", "--no-huge")
EAL_FORMS: Final = table([(5, "absent"), (4, "literal"), (2, "from")], [(1, "reference"), (1, "twice")])
ENV_PLACES: Final = weighted((3, "alone"), (1, "first"), (1, "last"))
NO_ENV: Final[tuple[Json, ...]] = weighted((8, {}), (1, {"env": []}), (1, {"env": None}))
NOTHING: Final[tuple[list[Json] | None, ...]] = one_of([], None)
VALUE_FROM: Final = {"configMapKeyRef": {"name": "eal", "key": "a~1/b"}}

SECURITY: Final = table(
    [
        (6, None),
        (1, {}),
        (2, {"runAsUser": 0, "readOnlyRootFilesystem": True}),
        (2, {"runAsUser": 1000, "runAsNonRoot": True, "capabilities": None}),
        (1, {"capabilities": {}}),
        (1, {"capabilities": {"add": None, "drop": ["NET_RAW"]}}),
        (2, {"capabilities": {"add": ["NET_ADMIN"]}}),
        (2, {"capabilities": {"add": ["SYS_NICE", "IPC_LOCK"]}}),
        (1, {"capabilities": {"add": ["ipc_lock"]}}),
        (1, {"capabilities": {"add": ["CAP_IPC_LOCK"]}}),
        (1, {"capabilities": {"add": ["Cap_Ipc_Lock", "CAP_ALL"]}}),
        (1, {"runAsNonRoot": True}),
        (1, {"capabilities": {"add": ["All"]}}),
        (2, {"capabilities": {"drop": ["ALL"]}}),
        (1, {"capabilities": {"add": ["ALL"], "drop": ["all"]}}),
        (1, {"privileged": True}),
        (1, {"privileged": False, "capabilities": {"add": []}}),
    ],
    [
        (1, {"capabilities": {"add": ["IPC_LOCK"], "drop": ["IPC_LOCK"]}}),
        (1, {"capabilities": {"drop": ["Cap_Ipc_Lock"]}}),
        (1, {"capabilities": {"add": ["ALL"], "drop": ["CAP_IPC_LOCK"]}}),
        (1, {"privileged": True, "capabilities": {"drop": ["ipc_lock"]}}),
    ],
)

# Around the containers.
SPECS: Final = table(
    [
        (10, {}),
        (1, {"hostUsers": True, "os": {"name": "linux"}}),
        (1, {"hostUsers": None, "os": None, "resources": None, "initContainers": None, "volumes": None}),
        (1, {"hostNetwork": True, "nodeName": "node-1", "runtimeClassName": "kata", "overhead": {"cpu": "250m"}}),
        (1, {"securityContext": {"runAsUser": 1000, "fsGroup": 1000}, "tolerations": [{"operator": "Exists"}]}),
        (1, {"securityContext": {"runAsUser": 1000, "runAsNonRoot": True}}),
        (1, {"securityContext": {"runAsUser": None, "fsGroup": 0}, "shareProcessNamespace": True}),
        (1, {"ephemeralContainers": [{"name": "debug", "image": "busybox"}], "schedulingGates": [{"name": "g"}]}),
        (2, {"resources": {}}),
        (1, {"resources": {"requests": {}, "limits": None}}),
    ],
    [
        (1, {"hostUsers": False}),
        (1, {"os": {"name": "windows"}}),
        (1, {"resources": {"limits": {"cpu": "4"}}}),
        (1, {"resources": {"requests": None, "claims": []}}),
    ],
)
NOTES: Final = table(
    [
        (12, {}),
        (2, {"dpdk/huge-dir": "/run/huge"}),
        (2, {"dpdk/eal-env": "EAL_ARGS"}),
        (2, {"dpdk/whole-cpus": "all"}),
        (1, {"dpdk/whole-cpus": "dpdk", "dpdk/eal-env": "_a1"}),
        (1, {"dpdk/huge-dir": "/mnt/ключ-日本"}),
        (1, {"kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container app"}),
        (1, {"a~1b/c~0": "~", "example.com/été": "日本"}),
    ],
    [
        (2, {"dpdk/huge-dir": "x y"}),
        (2, {"dpdk/huge-dir": "/"}),
        (2, {"dpdk/huge-size": "4Mi"}),
        (2, {"dpdk/eal-env": "1 A=B"}),
        (2, {"dpdk/whole-cpus": "yes"}),
        (2, {"dpdk/container": "app"}),
        (2, {"dpdk/containers": "app,ghost"}),
        (2, {"dpdk/containers": ""}),
        (2, {"dpdk/hugepages-2Mi": "much"}),
        *((1, {"dpdk/huge-dir": path}) for path in ("huge", "/mnt/../huge", "/a:b", "/huge/", "/proc/huge", "/dev", "", "/$A")),
        *((1, {"dpdk/hugepages-2Mi": amount}) for amount in ("3Mi", "0", "-2Mi", "")),
        *((1, {f"dpdk/{key}": "1Gi"}) for key in ("hugepages-2MB", "hugepages-2mi", "hugepage-2Mi", "Huge-Dir", "", "x" * 99)),
        *((1, {"dpdk/eal-env": name}) for name in ("PATH", "KUBERNETES_EAL", "a-b", "x" * 64)),
        (1, {"dpdk/huge-size": "1024Mi"}),
        (1, {"dpdk/containers": "setup-0"}),
        (1, {"dpdk/containers": "app,,fwd"}),
        (2, {"kubernetes.io/config.mirror": "8a7b"}),
    ],
)
NOT_OPTED_IN: Final[tuple[Json | None, ...]] = one_of(
    None, {}, {"dpdk": "false"}, {"dpdk": "True"}, {"dpdk": "yes"}, {"dpdk": ""}, {"DPDK": "true"}
)
_EXEC: Final = {"exec": {"command": ["true"]}}
PROBES: Final[tuple[Json, ...]] = one_of(
    {"livenessProbe": _EXEC},
    {"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}},
    {"readinessProbe": {"httpGet": {"port": 80}}, "startupProbe": _EXEC},
    {"lifecycle": {"postStart": _EXEC, "preStop": None}, "readinessProbe": None},
    {"livenessProbe": None, "lifecycle": None},
)

# Who is in the pod.
APPS: Final = one_of(("app", "fwd", "l2fwd", "x"), ("worker-1", "a" * 63, "app", "0"))
METADATA: Final[tuple[Json, ...]] = one_of(
    {"name": "fwd"}, {"generateName": "fwd-"}, {"name": "fwd", "namespace": "nfv", "labels": {"a/b": "c"}}
)
COUNT: Final = weighted((6, 1), (4, 2), (1, 3), (1, 4))
FEW: Final = weighted((6, 0), (2, 1), (1, 2))
CHOICES: Final = table([(4, "asking"), (2, "named"), (2, "default")], [(1, "nobody")])
MOOD: Final = weighted((6, True), (4, False))

# The site.
STEPS: Final = weighted((4, 1), (2, 2), (1, 3), (1, 4))
WHOLE: Final = weighted((3, "dpdk"), (1, "all"))
DEFAULT_CPUS: Final = weighted((4, "1"), (1, ""), (1, "2500m"))
OTHER_CPUS: Final = weighted((4, "100m"), (1, "0.5"), (1, "2"))
DEFAULT_MEMORIES: Final = weighted((2, ""), (1, "1Gi"))
DEFAULT_HUGEPAGES: Final = weighted((4, ()), (2, (("2Mi", "1Gi"),)), (1, (("1Gi", "2Gi"), ("2Mi", "64Mi"))))
MOST_CPUS: Final = weighted((4, 1024), (1, 4))
HUGE_DIRS: Final = weighted((4, "/dev/hugepages"), (1, "/mnt/huge"), (1, "/data"))
EAL_NAMES: Final = weighted((4, "DPDK_EAL_ARGS"), (1, "EAL_ARGS"), (1, "ARGS"))

# What is asked about the pod.
OPERATIONS: Final = weighted((8, "CREATE"), (1, "UPDATE"), (1, "DELETE"))
