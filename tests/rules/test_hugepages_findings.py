"""hugepages: what it refuses and what it warns of."""

from typing import Any

import pytest

from tests.minimal import (
    ANNOTATIONS,
    APP,
    MINIMAL,
    REMOVE,
    Case,
    both,
    decide,
    dpdk_container,
    each,
    huge_volume,
    is_warned,
    other_container,
    refused,
    rejected,
    tweaked,
)

REQUESTS, LIMITS, MOUNTS = f"{APP}.resources.requests", f"{APP}.resources.limits", f"{APP}.volumeMounts"
MI2, GI1 = "hugepages-2Mi", "hugepages-1Gi"
UNMOUNTED: dict[str, Any] = {f"{APP}.env": REMOVE, MOUNTS: REMOVE, "spec.volumes": REMOVE}
TWO_SIZES = both(GI1, "1Gi")


def where(field: str) -> str:
    return f"(container app, spec.containers[0].{field})"


def volume(index: int) -> str:
    return f"(spec.volumes[{index}].emptyDir.medium)"


def wrong_name(name: str, meant: str) -> Case:
    detail = (
        f"hugepages: unknown page size {where(f'resources.limits.{name}')}: no node advertises {name} by that name; {meant}"
    )
    return Case(f"row 26: {name}", {f"{LIMITS}.{name}": "1Gi"}, [detail])


def unusable(path: str | None, problem: str) -> Case:
    detail = f"'{path or ''}' {problem}; write a path such as /dev/hugepages"
    return Case(
        f"row 39: hugepages mounted at {path!a}, where EAL can't use them",
        {f"{MOUNTS}.0.mountPath": path},
        [f"hugepages: mount path that EAL can't use {where('volumeMounts[0].mountPath')}: {detail}"],
    )


REJECTS = [
    Case("row 22: no amount", both(MI2, REMOVE),
         [f"hugepages: no hugepages {where('resources.limits')}: "
          'an amount can\'t be guessed; annotate the pod, such as dpdk/hugepages-2Mi: "1Gi"']),
    Case("row 22: an amount of 0", both(MI2, 0),
         [f"hugepages: no hugepages {where('resources.limits')}: "
          'an amount can\'t be guessed; annotate the pod, such as dpdk/hugepages-2Mi: "1Gi"']),
    Case("row 24: a request below its limit", {f"{REQUESTS}.{MI2}": "256Mi"},
         [f"hugepages: hugepages request is not the limit {where('resources.requests.hugepages-2Mi')}: "
          "the request 256Mi is not the limit 512Mi; write one amount on both sides"]),
    Case("row 24: a request above its limit", {f"{REQUESTS}.{MI2}": "1Gi"},
         [f"hugepages: hugepages request is not the limit {where('resources.requests.hugepages-2Mi')}: "
          "the request 1Gi is not the limit 512Mi; write one amount on both sides"]),
    Case("row 24: a request of 0 is a request", {f"{REQUESTS}.{MI2}": "0"},
         [f"hugepages: hugepages request is not the limit {where('resources.requests.hugepages-2Mi')}: "
          "the request 0 is not the limit 512Mi; write one amount on both sides"]),
    Case("row 25: not whole pages", both(MI2, "3Mi"),
         [f"hugepages: not whole pages {where('resources.limits.hugepages-2Mi')}: "
          "3Mi is not a whole number of 2Mi pages; write 4Mi"]),
    Case("row 25: a decimal gigabyte, in a request alone", {f"{LIMITS}.{MI2}": REMOVE, f"{REQUESTS}.{MI2}": "1G"},
         [f"hugepages: not whole pages {where('resources.requests.hugepages-2Mi')}: "
          "1G is not a whole number of 2Mi pages; write 954Mi"]),
    Case("row 25: less than none", both(MI2, "-2Mi"),
         [f"hugepages: not whole pages {where('resources.limits.hugepages-2Mi')}: -2Mi is not an amount above 0"]),
    wrong_name("hugepages-1024Mi", "write hugepages-1Gi"),
    wrong_name("hugepages-1G", "write hugepages-1Gi"),
    wrong_name("hugepages-2MB", "write hugepages-2Mi"),
    wrong_name("hugepages-3Mi", "write a size such as hugepages-2Mi"),
    wrong_name("hugepages-huge", "write a size such as hugepages-2Mi"),
    Case("row 18: an amount that can't be read", {f"{LIMITS}.{MI2}": "lots"},
         [f"hugepages: not a quantity {where('resources.limits.hugepages-2Mi')}: "
          "'lots' is not a quantity; write an amount such as 2Gi"]),
    Case("rows 24 to 26 in another container too",
         {"spec.containers.1": other_container(), "spec.containers.1.resources.requests.hugepages-2M": "2Mi"},
         ["hugepages: unknown page size (container log, spec.containers[1].resources.requests.hugepages-2M): "
          "no node advertises hugepages-2M by that name; write hugepages-2Mi"]),
    Case("row 30: plain HugePages while two sizes are requested",
         {**TWO_SIZES, "spec.volumes.0": huge_volume("huge", "HugePages"),
          "spec.volumes.1": huge_volume("big", "HugePages-1Gi"), f"{MOUNTS}.1": {"name": "big", "mountPath": "/big"}},
         [f"hugepages: medium without a size {volume(0)}: "
          "volume huge can't say which of 1Gi, 2Mi it holds; write medium HugePages-<size>"]),
    Case("row 30: an amount of 0 counts for the kubelet, which goes by names",
         {"spec.volumes.0": huge_volume("huge", "HugePages"),
          f"{APP}.resources.requests.hugepages-1Gi": "0", f"{APP}.resources.limits.hugepages-1Gi": "0"},
         [f"hugepages: medium without a size {volume(0)}: "
          "volume huge can't say which of 1Gi, 2Mi it holds; write medium HugePages-<size>"]),
    Case("row 31: a size that nobody requests", {"spec.volumes.1": huge_volume("big", "HugePages-1Gi")},
         [f"hugepages: volume of a size that nobody requests {volume(1)}: "
          "volume big is HugePages-1Gi, and the pod's containers ask for 2Mi only; remove it, or request its size"]),
    Case("row 31: a medium that is no size", {"spec.volumes.1": huge_volume("big", "HugePages-huge")},
         [f"hugepages: volume of a size that nobody requests {volume(1)}: "
          "volume big is HugePages-huge, and the pod's containers ask for 2Mi only; remove it, or request its size"]),
    Case("row 36: the path is taken",
         {**UNMOUNTED, MOUNTS: [{"name": "data", "mountPath": "/dev/hugepages/"}]},
         [f"hugepages: mount path taken {where('volumeMounts[0].mountPath')}: hugepages go to /dev/hugepages, and volume data "
          'is mounted there; choose another path, such as dpdk/huge-dir: "/mnt/huge"']),
    Case("row 36: the path is below another mount",
         {**UNMOUNTED, MOUNTS: [{"name": "data", "mountPath": "/data"}, {"name": "dev", "mountPath": "/dev"}]},
         [f"hugepages: mount path taken {where('volumeMounts[1].mountPath')}: hugepages go to /dev/hugepages, and volume dev "
          'is mounted above it, at /dev; choose another path, such as dpdk/huge-dir: "/mnt/huge"']),
    Case("row 36: the path is above another mount",
         {**UNMOUNTED, MOUNTS: [{"name": "cfg", "mountPath": "/dev/hugepages/cfg"}]},
         [f"hugepages: mount path taken {where('volumeMounts[0].mountPath')}: hugepages go to /dev/hugepages, and volume cfg "
          "is mounted below it, at /dev/hugepages/cfg; choose another path, such as dpdk/huge-dir: \"/mnt/huge\""]),
    Case("row 36: the path of a block device",
         {**UNMOUNTED, f"{APP}.volumeDevices": [{"name": "disk", "devicePath": "/dev/hugepages"}]},
         [f"hugepages: mount path taken {where('volumeDevices[0].devicePath')}: hugepages go to /dev/hugepages, and the "
          'device of volume disk is there; choose another path, such as dpdk/huge-dir: "/mnt/huge"']),
    Case("row 36: the path of the termination message",
         {**UNMOUNTED, f"{APP}.terminationMessagePath": "/dev/hugepages/end"},
         [f"hugepages: mount path taken {where('terminationMessagePath')}: hugepages go to /dev/hugepages, and the termination "
          'message is below it, at /dev/hugepages/end; choose another path, such as dpdk/huge-dir: "/mnt/huge"']),
    Case("row 36: another volume is mounted where the user's own hugepages are, but for a slash",
         {f"{MOUNTS}.1": {"name": "data", "mountPath": "/dev/hugepages/"}},
         [f"hugepages: mount path taken {where('volumeMounts[0].mountPath')}: "
          "volume data is mounted there as well; mount one of them elsewhere"]),
    Case("row 37: mounted read-only", {f"{MOUNTS}.0.readOnly": True},
         [f"hugepages: hugepages mounted read-only {where('volumeMounts[0].readOnly')}: "
          "EAL creates files in /dev/hugepages; remove readOnly"]),
    Case("row 37: mounted read-only a second time", {f"{MOUNTS}.1": {"name": "huge", "mountPath": "/ro", "readOnly": True}},
         [f"hugepages: hugepages mounted read-only {where('volumeMounts[1].readOnly')}: "
          "EAL creates files in /ro; remove readOnly"]),
    unusable("/mnt/my huge", "has a blank, a colon, a character that a shell reads, an empty part or a trailing slash"),
    unusable("/mnt//huge", "has a blank, a colon, a character that a shell reads, an empty part or a trailing slash"),
    unusable("dev/hugepages", "is not an absolute path"),
    unusable("/dev/../huge", "has a part . or .."),
    unusable("/", "is not an absolute path"),
    unusable(None, "is not an absolute path"),
]  # fmt: skip


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)


TAKEN = [
    ("/", "above it, at /"),
    ("/dev/", "above it, at /dev/"),
    ("dev", "above it, at dev"),
    ("/dev/hugepages", "there"),
    ("/dev//hugepages", "there"),
    ("/dev/./hugepages", "there"),
    ("/dev/x/../hugepages", "there"),
    ("/dev/hugepages/a/b", "below it, at /dev/hugepages/a/b"),
]


@pytest.mark.parametrize(("path", "relation"), TAKEN)
def test_row_36_a_mount_in_the_way(path: str, relation: str) -> None:
    pod = tweaked(MINIMAL, {**UNMOUNTED, MOUNTS: [{"name": "data", "mountPath": path}]})
    assert rejected(decide(pod)) == [
        f"hugepages: mount path taken {where('volumeMounts[0].mountPath')}: hugepages go to /dev/hugepages, and volume data "
        f'is mounted {relation}; choose another path, such as dpdk/huge-dir: "/mnt/huge"'
    ]


WARNS = [
    Case("row 59: compliant", {}, []),
    Case("row 34: shared on purpose, said once",
         {"spec.containers.1": dpdk_container("fwd", "huge")},
         ["hugepages: container app, hugepage volume shared: volume huge: each process needs its own --file-prefix"]),
    Case("row 34: one DPDK container beside another kind",
         {"spec.containers.1": other_container(volumeMounts=[{"name": "huge", "mountPath": "/h"}])}, []),
    Case("row 38: a subPath", {f"{MOUNTS}.0.subPath": "app"},
         ["hugepages: container app, hugepages mounted by subPath: EAL's files land in a directory below its root"]),
    Case("row 38: a subPathExpr", {f"{MOUNTS}.0.subPathExpr": "$(POD)"},
         ["hugepages: container app, hugepages mounted by subPath: EAL's files land in a directory below its root"]),
    Case("row 40: a sizeLimit", {"spec.volumes.0.emptyDir.sizeLimit": "1Gi"},
         ["hugepages: sizeLimit on hugepages: volume huge: the container's limit sizes the mount"]),
    Case("an amount that the container has itself", {f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "0.5Gi"}, []),
    Case("an annotated amount that is not the container's", {f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "1Gi"},
         ["hugepages: container app, option not used: dpdk/hugepages-2Mi: what the container asks for stands"]),
    Case("an annotated path that is mounted already", {f"{ANNOTATIONS}.dpdk/huge-dir": "/dev/hugepages"}, []),
    Case("an annotated path, and hugepages mounted elsewhere", {f"{ANNOTATIONS}.dpdk/huge-dir": "/mnt/huge"},
         ["hugepages: container app, option not used: dpdk/huge-dir: hugepages are mounted already, and that mount stands"]),
]  # fmt: skip


@each(WARNS)
def test_warns(case: Case) -> None:
    is_warned(case)


def test_an_annotated_amount_is_not_called_unused_while_the_containers_own_is_wrong() -> None:
    pod = tweaked(MINIMAL, {**both(MI2, "3Mi"), f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "1Gi"})
    assert decide(pod).warnings == ()
