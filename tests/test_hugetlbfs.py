"""The plan of hugepages and mounts, as data: the same before and after the rules wrote what it says."""

from itertools import chain
from typing import Any

import pytest

from tests.minimal import (
    ANNOTATIONS,
    APP,
    MINIMAL,
    REMOVE,
    SECOND,
    Case,
    asking,
    both,
    decide,
    each,
    huge_volume,
    other_container,
    tweaked,
)
from webhook.hugetlbfs import Mount, Plan, plan
from webhook.pod import parse_pod
from webhook.settings import Settings

MOUNTS = f"{APP}.volumeMounts"
UNMOUNTED: dict[str, Any] = {f"{APP}.env": REMOVE, MOUNTS: REMOVE, "spec.volumes": REMOVE}
GI1 = both("hugepages-1Gi", "1Gi")
BARE: dict[str, Any] = {**UNMOUNTED, f"{APP}.resources": asking(cpu="2", memory="1Gi")}


def planned(changes: dict[str, Any], **settings: Any) -> Plan:
    return plan(parse_pod(tweaked(MINIMAL, changes)), Settings(**settings))


def mounts(found: Plan) -> list[Mount]:
    return list(chain.from_iterable(found.mounts.values()))


PAGES = [
    Case("what the container asks for", {}, [("app", "2Mi", "512Mi", True)]),
    Case("what the container asks for on one side", {f"{APP}.resources.limits": REMOVE}, [("app", "2Mi", "512Mi", True)]),
    Case("several sizes", GI1, [("app", "2Mi", "512Mi", True), ("app", "1Gi", "1Gi", True)]),
    Case("what the annotation gives", {**BARE, f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "4Mi"}, [("app", "2Mi", "4Mi", False)]),
    Case("what the site gives", BARE, [("app", "1Gi", "2Gi", False)], {"default_hugepages": {"1Gi": "2Gi"}}),
    Case("nothing", BARE, []),
    Case(
        "another container's too",
        {"spec.initContainers": [other_container(resources=asking(cpu=1, memory=1, huge="2Mi"))]},
        [("app", "2Mi", "512Mi", True), ("log", "2Mi", "2Mi", True)],
    ),
]


@each(PAGES)
def test_pages(case: Case) -> None:
    pages = planned(dict(case.changes), **case.settings).pages
    assert [(page.container.name, str(page.size), str(page.amount), page.asked) for page in pages] == case.expected


WHERE = [
    Case("kept", {}, [("app", "2Mi", "/dev/hugepages", "huge", True, True)]),
    Case("mounted", {MOUNTS: REMOVE}, [("app", "2Mi", "/dev/hugepages", "huge", False, True)]),
    Case("made", UNMOUNTED, [("app", "2Mi", "/dev/hugepages", "hugepages-2mi", False, False)]),
    Case(
        "several sizes, the smallest first",
        {**UNMOUNTED, f"{APP}.resources": asking(cpu=2, memory=1, **{"hugepages-1Gi": "1Gi", "huge": "2Mi"})},
        [
            ("app", "2Mi", "/dev/hugepages-2Mi", "hugepages-2mi", False, False),
            ("app", "1Gi", "/dev/hugepages-1Gi", "hugepages-1gi", False, False),
        ],
    ),
    Case(
        "one size kept, the other made",
        GI1,
        [
            ("app", "2Mi", "/dev/hugepages", "huge", True, True),
            ("app", "1Gi", "/dev/hugepages-1Gi", "hugepages-1gi", False, False),
        ],
    ),
    Case(
        "every mount of a volume, and of its neighbour",
        {
            f"{MOUNTS}.1": {"name": "huge", "mountPath": "/a"},
            f"{MOUNTS}.2": {"name": "more", "mountPath": "/b"},
            "spec.volumes.1": huge_volume("more"),
        },
        [
            ("app", "2Mi", path, volume, True, True)
            for path, volume in (("/dev/hugepages", "huge"), ("/a", "huge"), ("/b", "more"))
        ],
    ),
    Case(
        "row 34: a volume each",
        {**SECOND, **UNMOUNTED, "spec.containers.1.volumeMounts": REMOVE},
        [
            ("app", "2Mi", "/dev/hugepages", "hugepages-2mi", False, False),
            ("fwd", "2Mi", "/dev/hugepages", "hugepages-2mi-2", False, False),
        ],
    ),
    Case(
        "row 35: the name of a volume that a mount merely promises is taken",
        {**UNMOUNTED, MOUNTS: [{"name": "hugepages-2mi", "mountPath": "/x"}]},
        [("app", "2Mi", "/dev/hugepages", "hugepages-2mi-2", False, False)],
    ),
    Case("no mount while an amount is wrong", both("hugepages-2Mi", "3Mi"), []),
    Case("no mount where the path is taken", {**UNMOUNTED, MOUNTS: [{"name": "dev", "mountPath": "/dev"}]}, []),
    Case("no mount where it is read-only", {f"{MOUNTS}.0.readOnly": True}, []),
]


@each(WHERE)
def test_mounts(case: Case) -> None:
    found = [
        (mount.container.name, str(mount.size), mount.path, mount.volume, mount.is_mounted, mount.has_volume)
        for mount in mounts(planned(dict(case.changes)))
    ]
    assert found == case.expected


def test_row_35_a_name_is_found_however_many_are_taken() -> None:
    taken = [{"name": "hugepages-2mi"}, *({"name": f"hugepages-2mi-{number}"} for number in range(2, 10_050))]
    [mount] = mounts(planned({**UNMOUNTED, "spec.volumes": taken}))
    assert mount.volume == "hugepages-2mi-10050"


def test_a_containers_mounts() -> None:
    found = planned(dict(SECOND))
    pod = parse_pod(tweaked(MINIMAL, SECOND))
    assert [[mount.volume for mount in found.of(container)] for container in pod.containers] == [["huge"], ["huge-fwd"]]


STABLE = [
    UNMOUNTED,
    {MOUNTS: REMOVE},
    {**UNMOUNTED, **GI1},
    {**BARE, f"{ANNOTATIONS}.dpdk/hugepages-2Mi": "4Mi", f"{ANNOTATIONS}.dpdk/hugepages-1Gi": "1Gi"},
    {**SECOND, **UNMOUNTED, "spec.containers.1.volumeMounts": REMOVE, "spec.containers.1.env": REMOVE},
]


@pytest.mark.parametrize("changes", STABLE)
def test_the_plan_is_the_same_before_and_after(changes: dict[str, Any]) -> None:
    """The rule that names a mount may run before or after the one that makes it."""
    before = planned(changes)
    after = plan(parse_pod(decide(tweaked(MINIMAL, changes)).pod), Settings())
    facts = [
        [
            (sorted((page.container.name, page.size, page.amount.millis) for page in found.pages), found.problems),
            [(mount.container.name, mount.size, mount.path, mount.volume) for mount in mounts(found)],
        ]
        for found in (before, after)
    ]
    assert facts[0] == facts[1]


def test_while_nobody_asks_for_hugepages_no_volume_is_called_unwanted() -> None:
    """Which containers run DPDK is unclear here, and that is what the user is told."""
    changes = {f"{APP}.resources": asking(cpu="2", memory="1Gi"), "spec.containers.1": other_container()}
    assert planned(changes).problems == []
