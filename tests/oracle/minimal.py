"""The smallest pod that keeps the promise, and the means to break it in one place."""

import copy
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

ABSENT: Final = object()
Changes: TypeAlias = Mapping[str, object]  # path to value, as `tweak` takes them


def asking(cpu: object = "2", memory: object = "1Gi", **hugepages: object) -> dict[str, Any]:
    """Resources with request = limit; `Mi2="1Gi"` stands for hugepages-2Mi."""
    amounts = {"cpu": cpu, "memory": memory}
    amounts |= {f"hugepages-{name[2:]}{name[:2]}": value for name, value in hugepages.items()}
    return {"requests": dict(amounts), "limits": dict(amounts)}


def container(name: str = "app", volume: str = "huge", **fields: object) -> dict[str, Any]:
    """A DPDK container that keeps the promise, with one 2Mi hugepage volume."""
    return {
        "name": name,
        "image": "registry.example/l2fwd:25.11",
        "resources": asking(Mi2="512Mi"),
        "env": [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}],
        "volumeMounts": [{"name": volume, "mountPath": "/dev/hugepages"}],
        "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
        **fields,
    }


def other(name: str = "log", **fields: object) -> dict[str, Any]:
    """A container that is Guaranteed and no more."""
    return {"name": name, "image": "registry.example/log:1", "resources": asking("100m", "128Mi"), **fields}


def volume(name: str = "huge", medium: str = "HugePages-2Mi", **fields: object) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": medium, **fields}}


def minimal() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "fwd", "annotations": {"dpdk": "true"}},
        "spec": {"containers": [container()], "volumes": [volume()]},
    }


def tweak(pod: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """A copy with the value at each path replaced, or removed where it is ABSENT.

    A path is keys and indices divided by blanks; missing objects are made, and an index just past the end appends.
    """
    tweaked: Any = copy.deepcopy(dict(pod))
    for path, value in changes.items():
        place: Any = tweaked
        *parents, last = path.split()
        for key in parents:
            place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
        if isinstance(place, list):
            place[int(last) : int(last) + 1] = [] if value is ABSENT else [copy.deepcopy(value)]
        elif value is ABSENT:
            del place[last]
        else:
            place[last] = copy.deepcopy(value)
    assert isinstance(tweaked, dict)
    return tweaked


APP = "spec containers 0"
NOTES = "metadata annotations"
CPU_REQUEST = f"{APP} resources requests cpu"
CPU_LIMIT = f"{APP} resources limits cpu"
REQUESTS = f"{APP} resources requests"
LIMITS = f"{APP} resources limits"
ENV = f"{APP} env"
CAPABILITIES = f"{APP} securityContext capabilities"
SECOND: Changes = {
    "spec containers 1": container("fwd", "huge-fwd"),
    "spec volumes 1": volume("huge-fwd"),
}


def cpu(amount: object) -> Changes:
    return {CPU_REQUEST: amount, CPU_LIMIT: amount}


def memory(amount: object) -> Changes:
    return {f"{REQUESTS} memory": amount, f"{LIMITS} memory": amount}


def hugepages(size: str, amount: object) -> Changes:
    return {f"{REQUESTS} hugepages-{size}": amount, f"{LIMITS} hugepages-{size}": amount}


def eal(value: str) -> Changes:
    return {f"{ENV} 0 value": value}


BOTH_SIZES: Changes = {
    **hugepages("1Gi", "2Gi"),
    "spec volumes 1": volume("huge-1g", "HugePages-1Gi"),
    f"{APP} volumeMounts 1": {"name": "huge-1g", "mountPath": "/dev/hugepages-1Gi"},
    **eal("--huge-dir=/dev/hugepages-1Gi"),
}
