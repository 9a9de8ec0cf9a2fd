"""hugepages: each DPDK container has the request, the volume, and the mount that EAL maps them from."""

from typing import Any

from tests.minimal import (
    ANNOTATIONS,
    APP,
    POINTER,
    REMOVE,
    SECOND,
    Case,
    add,
    asking,
    becomes,
    both,
    dpdk_container,
    each,
    huge_volume,
    other_container,
    replace,
    stays,
)

REQUESTS, LIMITS, MOUNTS = f"{APP}.resources.requests", f"{APP}.resources.limits", f"{APP}.volumeMounts"
MI2, GI1 = "hugepages-2Mi", "hugepages-1Gi"
SIBLING = other_container(resources=asking(cpu="100m", memory="128Mi", huge="2Mi"))


def mount(volume: str, path: str, **fields: Any) -> dict[str, Any]:
    return {"name": volume, "mountPath": path, **fields}


def size(name: str, amount: str) -> dict[str, Any]:
    """The pod with pages of this size, instead of 2Mi, all the way down."""
    return {
        **both(MI2, REMOVE),
        **both(f"hugepages-{name}", amount),
        "spec.volumes.0": huge_volume("huge", f"HugePages-{name}"),
    }


NOOP = [
    Case("row 59: compliant", {}),
    Case("row 16: two spellings of one amount", {f"{REQUESTS}.{MI2}": 536870912, f"{LIMITS}.{MI2}": "0.5Gi"}),
    *(Case(f"row 27: {name}", size(name, "16Gi")) for name in ("64Ki", "16Mi", "32Mi", "512Mi", "1Gi", "16Gi")),
    Case("row 32: plain HugePages, while one size is requested", {"spec.volumes.0": huge_volume("huge", "HugePages")}),
    Case("row 32: a medium in another spelling, which the kubelet reads as a number",
         {"spec.volumes.0": huge_volume("huge", "HugePages-2048Ki")}),
    Case("row 32: mounted read-write in so many words", {f"{MOUNTS}.0.readOnly": False}),
    Case("row 32: mounted elsewhere",
         {f"{MOUNTS}.0.mountPath": "/mnt/huge", f"{APP}.env.0.value": "--huge-dir=/mnt/huge"}),
    Case("row 32: mounted below another mount by the user", {f"{MOUNTS}.1": mount("data", "/dev")}),
    Case("row 34: a volume each", SECOND),
    Case("row 34: shared on purpose", {"spec.containers.1": dpdk_container("fwd", "huge")}),
    Case("row 54: another container's hugepages need no mount", {"spec.containers.1": SIBLING,
         f"{ANNOTATIONS}.dpdk/containers": "app"}),
    Case("another container's mounts are its own",
         {"spec.containers.1": other_container(volumeMounts=[mount("huge", "relative", readOnly=True)])}),
    Case("a size asked for with 0 or null beside another", {**both(GI1, 0), f"{LIMITS}.hugepages-64Ki": None}),
]  # fmt: skip


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


AT = f"{POINTER}/resources"
BARE: dict[str, Any] = {  # a DPDK container with CPUs and memory, and nothing about hugepages
    f"{APP}.resources": asking(cpu="2", memory="1Gi"),
    f"{APP}.env": REMOVE,
    MOUNTS: REMOVE,
    "spec.volumes": REMOVE,
}
UNMOUNTED = {f"{APP}.env": REMOVE, MOUNTS: REMOVE, "spec.volumes": REMOVE}
BOTH_SIZES = {**UNMOUNTED, **both(GI1, "2Gi")}


def made(volume: str, medium: str) -> dict[str, Any]:
    return {"name": volume, "emptyDir": {"medium": medium}}


def variable(path: str) -> dict[str, str]:
    return {"name": "DPDK_EAL_ARGS", "value": f"--huge-dir={path}"}


ONE_SIZE = [
    add("/spec/volumes", [made("hugepages-2mi", "HugePages-2Mi")]),
    add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi", "/dev/hugepages")]),
    add(f"{POINTER}/env", [variable("/dev/hugepages")]),
]
TWO_SIZES = [
    add("/spec/volumes", [made("hugepages-2mi", "HugePages-2Mi")]),
    add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi", "/dev/hugepages-2Mi")]),
    add("/spec/volumes/-", made("hugepages-1gi", "HugePages-1Gi")),
    add(f"{POINTER}/volumeMounts/-", mount("hugepages-1gi", "/dev/hugepages-1Gi")),
]

CHANGES = [
    Case("row 22: the annotated amount", {**BARE, f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "1Gi"},
         [add(f"{AT}/limits/{MI2}", "1Gi"), add(f"{AT}/requests/{MI2}", "1Gi"), *ONE_SIZE]),
    Case("row 22: the site's amount", BARE,
         [add(f"{AT}/limits/{MI2}", "1Gi"), add(f"{AT}/requests/{MI2}", "1Gi"), *ONE_SIZE],
         {"default_hugepages": {"2Mi": "1024Mi"}}),
    Case("row 22: the annotated amount beats the site's", {**BARE, f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "2Mi"},
         [add(f"{AT}/limits/{MI2}", "2Mi"), add(f"{AT}/requests/{MI2}", "2Mi"), *ONE_SIZE],
         {"default_hugepages": {"1Gi": "1Gi"}}),
    Case("row 22: 0 counts as unset", {**both(MI2, "0"), f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "1Gi"},
         [replace(f"{AT}/limits/{MI2}", "1Gi"), replace(f"{AT}/requests/{MI2}", "1Gi")]),
    Case("row 22: a 0 alone counts as unset",
         {f"{REQUESTS}.{MI2}": REMOVE, f"{LIMITS}.{MI2}": 0, f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "1Gi"},
         [replace(f"{AT}/limits/{MI2}", "1Gi"), add(f"{AT}/requests/{MI2}", "1Gi")]),
    Case("row 22: several amounts",
         {**BARE, f"{ANNOTATIONS}.dpdk/hugepages-1Gi": "2Gi", f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "4Mi"},
         [add(f"{AT}/limits/{MI2}", "4Mi"), add(f"{AT}/requests/{MI2}", "4Mi"),
          add(f"{AT}/limits/{GI1}", "2Gi"), add(f"{AT}/requests/{GI1}", "2Gi"),
          *TWO_SIZES, add(f"{POINTER}/env", [variable("/dev/hugepages-1Gi")])]),
    Case("row 23: only a limit", {f"{REQUESTS}.{MI2}": REMOVE}, [add(f"{AT}/requests/{MI2}", "512Mi")]),
    Case("row 23: only a request", {f"{LIMITS}.{MI2}": REMOVE}, [add(f"{AT}/limits/{MI2}", "512Mi")]),
    Case("row 23: only a limit, in another container",
         {"spec.containers.1": SIBLING, "spec.containers.1.resources.requests.hugepages-2Mi": REMOVE,
          f"{ANNOTATIONS}.dpdk/containers": "app"},
         [add("/spec/containers/1/resources/requests/hugepages-2Mi", "2Mi")]),
    Case("row 28: one size", UNMOUNTED, ONE_SIZE),
    Case("row 28: several sizes in one container", BOTH_SIZES,
         [*TWO_SIZES, add(f"{POINTER}/env", [variable("/dev/hugepages-1Gi")])]),
    Case("row 28: another container's size makes the pod's second",
         {**UNMOUNTED, "spec.containers.1": other_container(resources={**asking(cpu="100m", memory="1Gi")}),
          **both(GI1, "1Gi", "spec.containers.1"), f"{ANNOTATIONS}.dpdk/containers": "app"},
         [add("/spec/volumes", [made("hugepages-2mi", "HugePages-2Mi")]),
          add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi", "/dev/hugepages-2Mi")]),
          add(f"{POINTER}/env", [variable("/dev/hugepages-2Mi")])]),
    Case("row 33: a fitting volume that nobody mounts", {f"{APP}.env": REMOVE, MOUNTS: REMOVE},
         [add(f"{POINTER}/volumeMounts", [mount("huge", "/dev/hugepages")]), ONE_SIZE[2]]),
    Case("row 33: a plain HugePages volume fits the only size",
         {f"{APP}.env": REMOVE, MOUNTS: [], "spec.volumes.0": huge_volume("any", "HugePages")},
         [add(f"{POINTER}/volumeMounts/-", mount("any", "/dev/hugepages")), ONE_SIZE[2]]),
    Case("row 33: not one that another container mounts",
         {f"{APP}.env": REMOVE, MOUNTS: REMOVE, "spec.containers.1": other_container(volumeMounts=[mount("huge", "/h")])},
         [add("/spec/volumes/-", made("hugepages-2mi", "HugePages-2Mi")), *ONE_SIZE[1:]]),
    Case("row 34: two DPDK containers get a volume each",
         {**SECOND, **UNMOUNTED, "spec.containers.1.env": REMOVE, "spec.containers.1.volumeMounts": REMOVE},
         [add("/spec/volumes", [made("hugepages-2mi", "HugePages-2Mi")]),
          add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi", "/dev/hugepages")]),
          add("/spec/volumes/-", made("hugepages-2mi-2", "HugePages-2Mi")),
          add("/spec/containers/1/volumeMounts", [mount("hugepages-2mi-2", "/dev/hugepages")]),
          add(f"{POINTER}/env", [variable("/dev/hugepages")]),
          add("/spec/containers/1/env", [variable("/dev/hugepages")])]),
    Case("row 34: two DPDK containers do not share a volume that nobody mounts",
         {"spec.containers.1": dpdk_container("fwd", "huge"), "spec.containers.1.volumeMounts": REMOVE, MOUNTS: REMOVE},
         [add("/spec/volumes/-", made("hugepages-2mi", "HugePages-2Mi")),
          add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi", "/dev/hugepages")]),
          add("/spec/volumes/-", made("hugepages-2mi-2", "HugePages-2Mi")),
          add("/spec/containers/1/volumeMounts", [mount("hugepages-2mi-2", "/dev/hugepages")])]),
    Case("row 34: a second DPDK container does not join the first one's volume",
         {"spec.containers.1": dpdk_container("fwd", "huge"), "spec.containers.1.volumeMounts": REMOVE},
         [add("/spec/volumes/-", made("hugepages-2mi", "HugePages-2Mi")),
          add("/spec/containers/1/volumeMounts", [mount("hugepages-2mi", "/dev/hugepages")])]),
    Case("row 35: the volume's name is taken, and so is the next",
         {**UNMOUNTED, "spec.volumes": [{"name": "hugepages-2mi"}, {"name": "hugepages-2mi-2", "emptyDir": None}]},
         [add("/spec/volumes/-", made("hugepages-2mi-3", "HugePages-2Mi")),
          add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi-3", "/dev/hugepages")]), ONE_SIZE[2]]),
    Case("row 39: the annotated path", {**UNMOUNTED, f"{ANNOTATIONS}.dpdk/huge-dir": "/mnt/huge"},
         [ONE_SIZE[0], add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi", "/mnt/huge")]),
          add(f"{POINTER}/env", [variable("/mnt/huge")])]),
    Case("row 39: the site's path", UNMOUNTED,
         [ONE_SIZE[0], add(f"{POINTER}/volumeMounts", [mount("hugepages-2mi", "/mnt/huge")]),
          add(f"{POINTER}/env", [variable("/mnt/huge")])], {"huge_dir": "/mnt/huge"}),
    Case("row 36: a neighbour whose name begins alike is not in the way",
         {**UNMOUNTED, MOUNTS: [mount("data", "/dev/hugepages2")], "spec.volumes": [{"name": "data"}]},
         [add("/spec/volumes/-", made("hugepages-2mi", "HugePages-2Mi")),
          add(f"{POINTER}/volumeMounts/-", mount("hugepages-2mi", "/dev/hugepages")), ONE_SIZE[2]]),
]  # fmt: skip


@each(CHANGES)
def test_changes(case: Case) -> None:
    becomes(case)


REASONS = [
    Case("an annotation", {**both(MI2, REMOVE), f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "1Gi"},
         ["the amount that the annotation gives"] * 2),
    Case("a default", both(MI2, REMOVE), ["this site's default amount"] * 2, {"default_hugepages": {"2Mi": "1Gi"}}),
    Case("a copy", {f"{REQUESTS}.{MI2}": REMOVE}, ["hugepages need requests equal to limits"]),
    Case("a volume and its mount", UNMOUNTED, [
        "DPDK maps its memory from this volume",
        "EAL creates its files in this hugetlbfs mount",
        "EAL finds its hugepages there, once the image passes the variable on",
    ]),
]  # fmt: skip


@each(REASONS)
def test_reasons(case: Case) -> None:
    assert [change.why for change in case.decide().changes] == case.expected
