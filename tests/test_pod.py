"""The view of a pod: its containers with their paths, and which of them run DPDK."""

from typing import Any

import pytest

from tests.minimal import ANNOTATIONS, APP, MINIMAL, REMOVE, SECOND, Case, asking, each, other_container, tweaked
from webhook.pod import DEFAULT_CONTAINER, MIRROR, Pod, parse_pod
from webhook.shape import Malformed

MINIMAL_VIEW = parse_pod(MINIMAL)


def view(changes: dict[str, Any]) -> Pod:
    return parse_pod(tweaked(MINIMAL, changes))


SIDECAR = {"name": "proxy", "restartPolicy": "Always"}
SETUP = {"name": "setup", "image": "example.com/setup:1"}
NO_HUGEPAGES = {f"{APP}.resources": asking(cpu="2", memory="1Gi")}
TWO_WITHOUT = {**NO_HUGEPAGES, "spec.containers.1": other_container()}


def test_a_container_knows_its_place_and_its_part() -> None:
    pod = view({"spec.containers.1": other_container(), "spec.initContainers": [SETUP, SIDECAR]})
    assert [(container.name, container.path, container.role) for container in pod.containers] == [
        ("app", ("spec", "containers", 0), "app"),
        ("log", ("spec", "containers", 1), "app"),
        ("setup", ("spec", "initContainers", 0), "init"),
        ("proxy", ("spec", "initContainers", 1), "sidecar"),
    ]


def test_ephemeral_containers_count_for_nothing() -> None:
    pod = view({"spec.ephemeralContainers": [{"name": "debug"}]})
    assert [container.name for container in pod.containers] == ["app"]


NAMED = [("app", "app"), (None, "#0"), ("", "#0"), ("a\nb", "a\\nb"), ("x" * 64, "x" * 62 + "…")]


@pytest.mark.parametrize(("name", "expected"), NAMED)
def test_a_name_fits_on_one_line_of_a_message(name: str | None, expected: str) -> None:
    assert view({f"{APP}.name": name}).containers[0].name == expected


def test_the_path_of_a_field() -> None:
    [app] = MINIMAL_VIEW.containers
    assert app.at("env", 0, "value") == ("spec", "containers", 0, "env", 0, "value")


def test_fields_that_are_there() -> None:
    [app] = view({f"{APP}.command": ["fwd"], f"{APP}.args": ["-l", "2"]}).containers
    assert app.requests == app.limits == {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "512Mi"}
    assert app.security_context == {"capabilities": {"add": ["IPC_LOCK"]}}
    assert app.env == [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}]
    assert app.mounts == [{"name": "huge", "mountPath": "/dev/hugepages"}]
    assert app.command_line == ["fwd", "-l", "2"]
    assert view({"spec.securityContext": {"fsGroup": 1}}).security_context == {"fsGroup": 1}
    assert MINIMAL_VIEW.volumes == [{"name": "huge", "emptyDir": {"medium": "HugePages-2Mi"}}]


@pytest.mark.parametrize("absent", [REMOVE, None], ids=["missing", "null"])
def test_fields_that_are_not_there(absent: object) -> None:
    fields = ("resources", "securityContext", "env", "volumeMounts")
    pod = view({**{f"{APP}.{field}": absent for field in fields}, "spec.volumes": absent, "spec.securityContext": None})
    [app] = pod.containers
    assert (app.requests, app.limits, app.security_context) == ({}, {}, {})
    assert (app.env, app.mounts, app.command_line) == ([], [], [])
    assert (pod.volumes, pod.security_context) == ([], {})


def test_resources_without_sides() -> None:
    [app] = view({f"{APP}.resources": {"requests": None}}).containers
    assert (app.requests, app.limits) == ({}, {})


ASKING: list[tuple[str, Any, bool]] = [
    ("an amount", {"limits": {"hugepages-2Mi": "2Mi"}}, True),
    ("a request alone", {"requests": {"hugepages-1Gi": 1073741824}}, True),
    ("an amount that can't be read", {"limits": {"hugepages-2Mi": "lots"}}, True),
    ("zero", {"limits": {"hugepages-2Mi": "0", "hugepages-1Gi": 0}}, False),
    ("null", {"limits": {"hugepages-2Mi": None}}, False),
    ("nothing of the kind", {"limits": {"cpu": "2", "example.com/hugepages-2Mi": "2"}}, False),
]


@pytest.mark.parametrize(("resources", "expected"), [row[1:] for row in ASKING], ids=[row[0] for row in ASKING])
def test_asking_for_hugepages(resources: Any, expected: bool) -> None:
    assert view({f"{APP}.resources": resources}).containers[0].asks_for_hugepages() is expected


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("True", False), ("yes", False), ("false", False), ("true ", False), (None, False)]
)
def test_row_1_opted_in_to_the_letter(value: str | None, expected: bool) -> None:
    assert view({f"{ANNOTATIONS}.dpdk": value}).is_annotated is expected


@pytest.mark.parametrize("metadata", [None, {}, {"annotations": None}, {"annotations": {}}])
def test_a_pod_without_annotations(metadata: Any) -> None:
    pod = view({"metadata": metadata})
    assert pod.annotations == {}
    assert not pod.is_annotated
    assert not pod.is_mirror


def test_row_3_a_mirror_is_known_by_its_annotation() -> None:
    assert view({ANNOTATIONS: {MIRROR: ""}}).is_mirror


CHOSEN = [
    Case("the only app container", NO_HUGEPAGES, ["app"]),
    Case("row 57: an init container is not counted", {**NO_HUGEPAGES, "spec.initContainers": [SETUP]}, ["app"]),
    Case("row 56: a sidecar is not counted", {**NO_HUGEPAGES, "spec.initContainers": [SIDECAR]}, ["app"]),
    Case("the one that asks for hugepages", {"spec.containers.1": other_container()}, ["app"]),
    Case("everyone that asks for hugepages", SECOND, ["app", "fwd"]),
    Case("hugepages beat the default container", {**SECOND, ANNOTATIONS: {DEFAULT_CONTAINER: "app"}}, ["app", "fwd"]),
    Case("the default container, where none asks", {**TWO_WITHOUT, ANNOTATIONS: {DEFAULT_CONTAINER: "log"}}, ["log"]),
    Case("those named, whoever asks for hugepages", {**SECOND, ANNOTATIONS: {"dpdk/containers": "fwd"}}, ["fwd"]),
    Case("those named, in the pod's order", {**SECOND, ANNOTATIONS: {"dpdk/containers": "fwd, app"}}, ["app", "fwd"]),
    Case(
        "row 56: a sidecar that is named",
        {"spec.initContainers": [SIDECAR], ANNOTATIONS: {"dpdk/containers": "proxy"}},
        ["proxy"],
    ),
]


@each(CHOSEN)
def test_dpdk_containers(case: Case) -> None:
    pod = parse_pod(tweaked(MINIMAL, case.changes))
    assert [container.name for container in pod.dpdk_containers] == case.expected
    assert pod.dpdk_containers_problem is None


MANY = {f"spec.containers.{number}": other_container(f"c{number}") for number in range(1, 11)}

UNCLEAR = [
    Case(
        "two app containers, none asks, none is the default",
        TWO_WITHOUT,
        'none of app, log asks for hugepages; name one: dpdk/containers: "app"',
    ),
    Case(
        "the default container is none of them",
        {**TWO_WITHOUT, ANNOTATIONS: {DEFAULT_CONTAINER: "nobody"}},
        'none of app, log asks for hugepages; name one: dpdk/containers: "app"',
    ),
    Case(
        "a missing name is no default container",
        {**TWO_WITHOUT, f"{APP}.name": None},
        'none of #0, log asks for hugepages; name one: dpdk/containers: "#0"',
    ),
    Case(
        "many containers are not all listed",
        {**NO_HUGEPAGES, **MANY},
        'none of app, c1, c2, c3, c4, c5, c6, c7, 3 more asks for hugepages; name one: dpdk/containers: "app"',
    ),
    Case(
        "one that is named and not there",
        {ANNOTATIONS: {"dpdk/containers": "app,fwd"}, "spec.initContainers": [SIDECAR]},
        "there is no container or sidecar 'fwd'; the pod has app, proxy",
    ),
    Case(
        "row 57: a plain init container can't be named",
        {ANNOTATIONS: {"dpdk/containers": "setup"}, "spec.initContainers": [SETUP]},
        "there is no container or sidecar 'setup'; the pod has app",
    ),
]


@each(UNCLEAR)
def test_no_dpdk_container_can_be_told(case: Case) -> None:
    pod = parse_pod(tweaked(MINIMAL, case.changes))
    assert pod.dpdk_containers == ()
    assert pod.dpdk_containers_problem is not None
    assert pod.dpdk_containers_problem.detail == case.expected


def test_a_malformed_pod_is_refused_with_the_path_below_the_place_where_it_stands() -> None:
    with pytest.raises(Malformed) as caught:
        parse_pod({"spec": {"containers": {}}}, ("request", "object"))
    assert str(caught.value) == "request.object.spec.containers: a list is expected, not an object"
