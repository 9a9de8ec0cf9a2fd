"""The smallest pod that keeps the promise, the means to change it in one place, and what the rules make of it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import pytest

from webhook.pod import parse_pod
from webhook.report import rejection, warning
from webhook.review import Decision, review
from webhook.settings import Settings

Changes: TypeAlias = Mapping[str, Any]  # dotted path to value, as `tweaked` takes them

REMOVE: Final = object()
APP: Final = "spec.containers.0"
ANNOTATIONS: Final = "metadata.annotations"


def asking(**amounts: Any) -> dict[str, Any]:
    """Resources with requests equal to limits; huge="1Gi" stands for hugepages-2Mi."""
    named = {"hugepages-2Mi" if name == "huge" else name: amount for name, amount in amounts.items()}
    return {"requests": dict(named), "limits": dict(named)}


def dpdk_container(name: str, volume: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": "example.com/l2fwd:25.11",
        "resources": asking(cpu="2", memory="1Gi", huge="512Mi"),
        "env": [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}],
        "volumeMounts": [{"name": volume, "mountPath": "/dev/hugepages"}],
        "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
    }


def other_container(name: str = "log", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "example.com/log:1", "resources": asking(cpu="100m", memory="128Mi"), **fields}


def huge_volume(name: str = "huge", medium: str = "HugePages-2Mi", **fields: Any) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": medium, **fields}}


MINIMAL: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "fwd", "annotations": {"dpdk": "true"}},
    "spec": {"containers": [dpdk_container("app", "huge")], "volumes": [huge_volume()]},
}

SECOND: Final[Changes] = {
    "spec.containers.1": dpdk_container("fwd", "huge-fwd"),
    "spec.volumes.1": huge_volume("huge-fwd"),
}


def both(resource: str, amount: Any, container: str = APP) -> dict[str, Any]:
    """The request and the limit of one resource."""
    return {f"{container}.resources.{side}.{resource}": amount for side in ("requests", "limits")}


def tweaked(pod: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """A copy with the value at each path set, or gone where it is REMOVE.

    Missing objects above a path are made; an index just past a list's end appends.
    """
    copied: dict[str, Any] = copy.deepcopy(dict(pod))
    for path, value in changes.items():
        place: Any = copied
        *above, last = path.split(".")
        for part in above:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        key = int(last) if isinstance(place, list) else last
        if value is REMOVE:
            del place[key]
        elif isinstance(place, list) and key == len(place):
            place.append(copy.deepcopy(value))
        else:
            place[key] = copy.deepcopy(value)
    return copied


def decide(pod: Mapping[str, Any], **settings: Any) -> Decision:
    return review(parse_pod(pod), Settings(**settings))


def rejected(decision: Decision) -> list[str]:
    return [rejection(finding) for finding in decision.rejections]


def warned(decision: Decision) -> list[str]:
    return [warning(finding) for finding in decision.warnings]


@dataclass(frozen=True)
class Case:
    """One row of a table: what is expected of the minimal pod, changed, under these settings."""

    sentence: str
    changes: Changes
    expected: Any = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def each(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """The test once for every case, called by its sentence."""
    return pytest.mark.parametrize("case", cases, ids=[case.sentence for case in cases])
