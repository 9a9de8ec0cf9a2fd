"""The engine: every rule is asked in turn, what it proposes is applied and recorded, and the input stays as it was."""

import copy
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import jsonpatch
import pytest

from tests.minimal import ANNOTATIONS, APP, MINIMAL, REMOVE, SECOND, decide, rejected, tweaked
from webhook.edits import UNSET, Append, Edit, Reject, Remove, Set, Warn
from webhook.pod import Pod, parse_pod
from webhook.review import review
from webhook.rules import RULES, Rule
from webhook.settings import Settings

BARE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"annotations": {"dpdk": "true", "dpdk/hugepages-1Gi": "2Gi"}},
    "spec": {
        "containers": [{"name": "app", "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}],
        "initContainers": [{"name": "proxy", "restartPolicy": "Always"}],
    },
}


def test_row_59_a_compliant_pod_needs_nothing() -> None:
    decision = decide(MINIMAL)
    assert decision.is_promised
    assert decision.allowed
    assert decision.is_compliant
    assert (decision.changes, decision.rejections, decision.warnings, decision.patch) == ((), (), (), [])
    assert decision.pod == MINIMAL


def test_a_bare_pod_gets_everything() -> None:
    decision = decide(BARE)
    assert decision.allowed
    assert not decision.is_compliant
    resources = {"cpu": "2", "memory": "1Gi", "hugepages-1Gi": "2Gi"}
    assert decision.pod == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": BARE["metadata"],
        "spec": {
            "containers": [
                {
                    "name": "app",
                    "resources": {"limits": resources, "requests": resources},
                    "volumeMounts": [{"name": "hugepages-1gi", "mountPath": "/dev/hugepages"}],
                    "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
                    "env": [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}],
                }
            ],
            "initContainers": [
                {
                    "name": "proxy",
                    "restartPolicy": "Always",
                    "resources": {side: {"cpu": "100m", "memory": "128Mi"} for side in ("limits", "requests")},
                }
            ],
            "volumes": [{"name": "hugepages-1gi", "emptyDir": {"medium": "HugePages-1Gi"}}],
        },
    }


def test_a_second_pass_is_silent() -> None:
    assert decide(decide(BARE).pod).is_compliant


def test_the_patch_applied_to_the_input_gives_the_pod_and_the_input_stays() -> None:
    before = copy.deepcopy(BARE)
    decision = decide(BARE)
    assert before == BARE
    assert jsonpatch.JsonPatch(decision.patch).apply(before) == decision.pod


SPREAD = {**SECOND, f"{APP}.securityContext": REMOVE, f"{APP}.env": REMOVE, f"{APP}.resources.requests.cpu": REMOVE}


@pytest.mark.parametrize("pod", [BARE, tweaked(MINIMAL, SPREAD)], ids=["bare", "two containers"])
def test_rules_in_any_order_make_the_same_pod(pod: dict[str, Any]) -> None:
    writers = [rule for rule in RULES if "nothing" not in rule.part("Writes")]
    usual = decide(pod).pod
    for order in permutations(writers):
        assert review(parse_pod(pod), Settings(), order).pod == usual


UNKNOWN: dict[str, Any] = {
    "metadata.labels": {"z": "1", "a": "2"},
    "spec.runtimeClassName": "kata",
    "spec.overhead": {"cpu": "250m"},
    "spec.schedulingGates": [{"name": "gate"}],
    "spec.nodeName": "n1",
    "spec.hostNetwork": True,
    "spec.tolerations": [{"operator": "Exists"}],
    "spec.ephemeralContainers": [{"name": "debug"}],
    "spec.volumes.1": {"name": "info", "downwardAPI": {"items": [{"path": "labels"}]}},
    f"{APP}.resources.claims": [{"name": "gpu"}],
    f"{APP}.resources.limits.nic": 1,
    f"{APP}.resources.requests.nic": "1",
    f"{APP}.futureField": {"deep": [None, 1.0]},
    "status": {"phase": "Pending"},
}


@pytest.mark.parametrize(("path", "value"), UNKNOWN.items(), ids=UNKNOWN.keys())
def test_row_58_what_is_not_ours_stays_as_it_is(path: str, value: Any) -> None:
    pod = tweaked(MINIMAL, {path: value})
    assert decide(pod).patch == []
    needy = tweaked(pod, {f"{APP}.resources.requests.cpu": REMOVE})
    expected = tweaked(needy, {f"{APP}.resources.requests.cpu": "2"})
    assert decide(needy).pod == expected


def test_fields_keep_their_order() -> None:
    pod = tweaked(MINIMAL, {f"{APP}.resources.requests.cpu": "1"})
    assert list(decide(pod).pod["spec"]["containers"][0]) == list(MINIMAL["spec"]["containers"][0])
    assert list(decide(pod).pod["spec"]["containers"][0]["resources"]["requests"]) == ["cpu", "memory", "hugepages-2Mi"]


def test_every_reason_is_given_at_once() -> None:
    pod = tweaked(
        MINIMAL,
        {"spec.os.name": "windows", "spec.hostUsers": False, f"{APP}.resources.limits.cpu": "two", f"{ANNOTATIONS}.dpdk/x": ""},
    )
    decision = decide(pod)
    assert not decision.allowed
    assert not decision.is_compliant
    assert [finding.rule for finding in decision.rejections] == ["options", "windows", "host_users", "resources"]


@pytest.mark.parametrize("annotations", [{}, {"dpdk": "yes"}, {"dpdk": "true", "kubernetes.io/config.mirror": "abc"}])
def test_where_nothing_is_promised_no_other_rule_is_asked(annotations: dict[str, str]) -> None:
    asked: list[Pod] = []

    def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
        asked.append(pod)
        yield from ()

    pod = tweaked(MINIMAL, {ANNOTATIONS: annotations})
    decision = review(parse_pod(pod), Settings(), [Rule("asked", propose, "")])
    assert asked == []
    assert not decision.is_promised
    assert decision.is_compliant


def rule(*edits: Edit) -> Rule:
    def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
        yield from edits

    return Rule("sample", propose, "A sample.")


def test_a_change_records_its_rule_its_container_and_both_values() -> None:
    edits = (
        Set(("spec", "containers", 0, "image"), "new", "because"),
        Append(("spec", "tolerations"), {"key": "x"}, "why not"),
        Remove(("spec", "volumes"), "gone"),
    )
    decision = review(parse_pod(MINIMAL), Settings(), [rule(*edits)])
    assert [
        (change.rule, change.container, change.operation.before, change.after, change.why) for change in decision.changes
    ] == [
        ("sample", "app", "example.com/l2fwd:25.11", "new", "because"),
        ("sample", None, UNSET, {"key": "x"}, "why not"),
        ("sample", None, MINIMAL["spec"]["volumes"], None, "gone"),
    ]


def test_a_finding_records_its_rule_its_container_and_its_path() -> None:
    pod = tweaked(MINIMAL, {"spec.initContainers": [{"name": "setup"}]})
    path = ("spec", "initContainers", 0, "resources")
    edits = (Reject(path, "bad", "mend it"), Warn(("spec", "containers"), "odd", "look"), Warn(("spec",), "odd", "look"))
    decision = review(parse_pod(pod), Settings(), [rule(*edits)])
    [rejection] = decision.rejections
    assert (rejection.rule, rejection.container, rejection.path) == ("sample", "setup", path)
    assert (rejection.reason, rejection.detail) == ("bad", "mend it")
    assert [warning.container for warning in decision.warnings] == [None, None]


def test_a_rule_sees_the_pod_as_it_stood_when_it_began_and_the_next_one_what_it_made() -> None:
    seen: list[Any] = []

    def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
        seen.append(pod.spec.get("hostname"))
        yield Set(("spec", "hostname"), "a", "first")
        seen.append(pod.spec.get("hostname"))
        yield Set(("spec", "hostname"), "b", "second")

    review(parse_pod(MINIMAL), Settings(), [Rule("first", propose, ""), Rule("second", propose, "")])
    assert seen == [None, None, "b", "b"]


def test_with_rejections_the_pod_is_as_far_as_the_rules_got() -> None:
    decision = decide(tweaked(MINIMAL, {"spec.os.name": "windows", f"{APP}.resources.requests.cpu": REMOVE}))
    assert len(rejected(decision)) == 1
    assert decision.pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2"
