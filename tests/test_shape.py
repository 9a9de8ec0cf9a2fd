"""The types of the fields that the rules read: a wrong one is refused with its path, an unknown field is nobody's business."""

import copy
from typing import Any

import pytest

from tests.minimal import APP, MINIMAL, tweaked
from webhook.path import Path
from webhook.shape import CONTAINERS, DEPTH, Malformed, check_depth, check_shape

OBJECT, LIST = "an object is expected, not", "a list is expected, not"
STRING, BOOLEAN, WHOLE = "a string is expected, not", "a boolean is expected, not", "a whole number is expected, not"
FIRST = "spec.containers[0]"

# where, what stands there, the sentence
WRONG: list[tuple[str, Any, str]] = [
    ("apiVersion", "apps/v1", "apiVersion: 'v1' is expected, not 'apps/v1'"),
    ("apiVersion", ["v1"], "apiVersion: 'v1' is expected, not a list"),
    ("kind", "Deployment", "kind: 'Pod' is expected, not 'Deployment'"),
    ("metadata", "fwd", f"metadata: {OBJECT} a string"),
    ("metadata.name", 1, f"metadata.name: {STRING} a number; quote it"),
    ("metadata.generateName", [], f"metadata.generateName: {STRING} a list"),
    ("metadata.namespace", {}, f"metadata.namespace: {STRING} an object"),
    ("metadata.annotations", [], f"metadata.annotations: {OBJECT} a list"),
    ("metadata.annotations.dpdk", True, f"metadata.annotations.dpdk: {STRING} the boolean true; quote it"),
    ("metadata.annotations.note", 1.5, f"metadata.annotations.note: {STRING} a number; quote it"),
    ("metadata.annotations.dpdk/huge-dir", {}, f"metadata.annotations[dpdk/huge-dir]: {STRING} an object"),
    ("spec", [], f"spec: {OBJECT} a list"),
    ("spec", None, "spec: a pod needs it"),
    ("spec.containers", {}, f"spec.containers: {LIST} an object"),
    ("spec.containers", [], "spec.containers: a pod needs at least one container"),
    ("spec.containers", None, "spec.containers: a pod needs at least one container"),
    (APP, None, f"{FIRST}: {OBJECT} null"),
    (APP, "app", f"{FIRST}: {OBJECT} a string"),
    (f"{APP}.name", 1, f"{FIRST}.name: {STRING} a number; quote it"),
    (f"{APP}.command", "sh", f"{FIRST}.command: {LIST} a string"),
    (f"{APP}.command", ["sh", 1], f"{FIRST}.command[1]: {STRING} a number; quote it"),
    (f"{APP}.args", {}, f"{FIRST}.args: {LIST} an object"),
    (f"{APP}.args", [None], f"{FIRST}.args[0]: {STRING} null"),
    (f"{APP}.env", {}, f"{FIRST}.env: {LIST} an object"),
    (f"{APP}.env.0", "A=1", f"{FIRST}.env[0]: {OBJECT} a string"),
    (f"{APP}.env.0.name", 5, f"{FIRST}.env[0].name: {STRING} a number; quote it"),
    (f"{APP}.env.0.value", False, f"{FIRST}.env[0].value: {STRING} the boolean false; quote it"),
    (f"{APP}.env.0.valueFrom", "x", f"{FIRST}.env[0].valueFrom: {OBJECT} a string"),
    (f"{APP}.envFrom", {}, f"{FIRST}.envFrom: {LIST} an object"),
    (f"{APP}.envFrom", ["x"], f"{FIRST}.envFrom[0]: {OBJECT} a string"),
    (f"{APP}.resources", [], f"{FIRST}.resources: {OBJECT} a list"),
    (f"{APP}.resources.requests", "2", f"{FIRST}.resources.requests: {OBJECT} a string"),
    (f"{APP}.resources.limits", [2], f"{FIRST}.resources.limits: {OBJECT} a list"),
    (f"{APP}.restartPolicy", True, f"{FIRST}.restartPolicy: {STRING} the boolean true; quote it"),
    (f"{APP}.securityContext", [], f"{FIRST}.securityContext: {OBJECT} a list"),
    (f"{APP}.securityContext.privileged", "true", f"{FIRST}.securityContext.privileged: {BOOLEAN} 'true'"),
    (f"{APP}.securityContext.privileged", 1, f"{FIRST}.securityContext.privileged: {BOOLEAN} a number"),
    (f"{APP}.securityContext.runAsUser", "0", f"{FIRST}.securityContext.runAsUser: {WHOLE} '0'"),
    (f"{APP}.securityContext.runAsUser", True, f"{FIRST}.securityContext.runAsUser: {WHOLE} the boolean true"),
    (f"{APP}.securityContext.runAsUser", 1.5, f"{FIRST}.securityContext.runAsUser: {WHOLE} a number"),
    (f"{APP}.securityContext.runAsNonRoot", "no", f"{FIRST}.securityContext.runAsNonRoot: {BOOLEAN} 'no'"),
    (f"{APP}.securityContext.capabilities", [], f"{FIRST}.securityContext.capabilities: {OBJECT} a list"),
    (f"{APP}.securityContext.capabilities.add", "ALL", f"{FIRST}.securityContext.capabilities.add: {LIST} a string"),
    (f"{APP}.securityContext.capabilities.add.0", None, f"{FIRST}.securityContext.capabilities.add[0]: {STRING} null"),
    (f"{APP}.securityContext.capabilities.drop", "ALL", f"{FIRST}.securityContext.capabilities.drop: {LIST} a string"),
    (f"{APP}.securityContext.capabilities.drop", [[]], f"{FIRST}.securityContext.capabilities.drop[0]: {STRING} a list"),
    (f"{APP}.volumeMounts", {}, f"{FIRST}.volumeMounts: {LIST} an object"),
    (f"{APP}.volumeMounts.0", [], f"{FIRST}.volumeMounts[0]: {OBJECT} a list"),
    (f"{APP}.volumeMounts.0.name", 1, f"{FIRST}.volumeMounts[0].name: {STRING} a number; quote it"),
    (f"{APP}.volumeMounts.0.mountPath", [], f"{FIRST}.volumeMounts[0].mountPath: {STRING} a list"),
    (f"{APP}.volumeMounts.0.readOnly", "true", f"{FIRST}.volumeMounts[0].readOnly: {BOOLEAN} 'true'"),
    (f"{APP}.volumeMounts.0.subPath", 1, f"{FIRST}.volumeMounts[0].subPath: {STRING} a number; quote it"),
    (f"{APP}.volumeMounts.0.subPathExpr", {}, f"{FIRST}.volumeMounts[0].subPathExpr: {STRING} an object"),
    ("spec.initContainers", {}, f"spec.initContainers: {LIST} an object"),
    ("spec.initContainers", [{"name": 1}], f"spec.initContainers[0].name: {STRING} a number; quote it"),
    ("spec.hostUsers", "false", f"spec.hostUsers: {BOOLEAN} 'false'"),
    ("spec.os", "windows", f"spec.os: {OBJECT} a string"),
    ("spec.os.name", 1, f"spec.os.name: {STRING} a number; quote it"),
    ("spec.resources", [], f"spec.resources: {OBJECT} a list"),
    ("spec.securityContext", "root", f"spec.securityContext: {OBJECT} a string"),
    ("spec.securityContext.runAsUser", "1000", f"spec.securityContext.runAsUser: {WHOLE} '1000'"),
    ("spec.securityContext.runAsNonRoot", 1, f"spec.securityContext.runAsNonRoot: {BOOLEAN} a number"),
    ("spec.securityContext.fsGroup", 1.0, f"spec.securityContext.fsGroup: {WHOLE} a number"),
    ("spec.volumes", {}, f"spec.volumes: {LIST} an object"),
    ("spec.volumes.0", "huge", f"spec.volumes[0]: {OBJECT} a string"),
    ("spec.volumes.0.name", 1, f"spec.volumes[0].name: {STRING} a number; quote it"),
    ("spec.volumes.0.emptyDir", "", f"spec.volumes[0].emptyDir: {OBJECT} a string"),
    ("spec.volumes.0.emptyDir.medium", ["HugePages"], f"spec.volumes[0].emptyDir.medium: {STRING} a list"),
]


@pytest.mark.parametrize(("path", "value", "sentence"), WRONG)
def test_a_wrong_type_is_refused_with_its_path(path: str, value: Any, sentence: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_shape(tweaked(MINIMAL, {path: value}))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("raw", "kind"), [(None, "null"), ([], "a list"), ("pod", "a string"), (1, "a number")])
def test_what_is_no_object_is_no_pod(raw: object, kind: str) -> None:
    with pytest.raises(Malformed) as caught:
        check_shape(raw)
    assert str(caught.value) == f"a Pod is expected, not {kind}"


def test_a_text_in_a_message_is_shown_on_one_short_line() -> None:
    with pytest.raises(Malformed) as caught:
        check_shape(tweaked(MINIMAL, {"kind": "a\n" * 1_000}))
    assert str(caught.value) == "kind: 'Pod' is expected, not '" + "a\\n" * 26 + "a…'"


@pytest.mark.parametrize("at", [(), ("request", "object")])
def test_the_path_begins_where_the_pod_stands(at: Path) -> None:
    with pytest.raises(Malformed) as caught:
        check_shape(tweaked(MINIMAL, {"spec.hostUsers": 1}), at)
    assert caught.value.path == (*at, "spec", "hostUsers")
    assert caught.value.problem == "a boolean is expected, not a number"


NULL = [
    *("apiVersion", "kind", "metadata", "metadata.name", "metadata.annotations", "metadata.annotations.dpdk"),
    *("spec.initContainers", "spec.hostUsers", "spec.os", "spec.resources", "spec.securityContext", "spec.volumes"),
    *(f"{APP}.{field}" for field in ("name", "command", "args", "env", "envFrom", "resources", "restartPolicy")),
    *(f"{APP}.{field}" for field in ("resources.limits", "resources.limits.cpu", "securityContext", "volumeMounts")),
    *(f"{APP}.securityContext.{field}" for field in ("capabilities", "capabilities.add", "privileged", "runAsUser")),
    *(f"{APP}.env.0.name", f"{APP}.env.0.value", f"{APP}.volumeMounts.0.mountPath", "spec.volumes.0.emptyDir"),
]


@pytest.mark.parametrize("path", NULL)
def test_a_null_member_is_as_good_as_missing(path: str) -> None:
    pod = tweaked(MINIMAL, {path: None})
    assert check_shape(pod) is pod


UNKNOWN = {
    "spec.futureField": [1, {"a": None}],
    f"{APP}.futureField": 1.5,
    f"{APP}.image": 7,
    f"{APP}.env.0.valueFrom": {"futureRef": []},
    f"{APP}.resources.limits.cpu": [],
    f"{APP}.resources.claims": "x",
    "spec.ephemeralContainers": "x",
    "spec.resources": {"requests": 1},
    "spec.volumes.0.emptyDir.sizeLimit": 5,
    "metadata.labels": [],
    "status": 3,
}


@pytest.mark.parametrize(("path", "value"), UNKNOWN.items(), ids=UNKNOWN.keys())
def test_a_field_that_no_rule_relies_on_passes_as_it_is(path: str, value: Any) -> None:
    pod = tweaked(MINIMAL, {path: value})
    before = copy.deepcopy(pod)
    assert check_shape(pod) == before


def test_as_many_containers_as_allowed() -> None:
    containers = [{"name": f"c{number}"} for number in range(CONTAINERS - 1)]
    check_shape({"spec": {"containers": containers, "initContainers": [{"name": "setup"}]}})
    with pytest.raises(Malformed) as caught:
        check_shape({"spec": {"containers": containers, "initContainers": [{}, {}]}})
    assert str(caught.value) == "spec.containers: more than 1000 containers in one pod"


def nested(levels: int, innermost: Any) -> Any:
    """Lists and objects in turn, so many of them around the innermost value."""
    value = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"a": value, "b": "text"}
    return value


def test_nesting_up_to_the_limit_passes() -> None:
    check_depth(nested(DEPTH + 1, "text"))
    check_depth("text")


def test_nesting_beyond_the_limit_is_refused() -> None:
    with pytest.raises(Malformed) as caught:
        check_depth(nested(DEPTH + 2, "text"))
    assert str(caught.value) == "nested deeper than 64 levels"


def test_the_path_of_what_is_nested_too_deep() -> None:
    with pytest.raises(Malformed) as caught:
        check_depth(nested(500, 1), ("request", "object"))
    assert str(caught.value) == "request.object: nested deeper than 64 levels"


def test_what_aliases_repeat_is_looked_at_once() -> None:
    """Sixty times doubled: written out, these would be more lists than any memory holds."""
    value: Any = []
    for _ in range(60):
        value = [value, value]
    check_depth(value)
