"""The Decision for people and programs: sentences, aligned text, a diff with reasons, plain JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.minimal import APP, MINIMAL, REMOVE, both, decide, dpdk_container, huge_volume, tweaked
from webhook import report
from webhook.edits import Append, Edit, Reject, Remove, Set, Warn
from webhook.options import KEYS
from webhook.pod import Pod, parse_pod
from webhook.review import Decision, review
from webhook.rules import Rule
from webhook.settings import Settings


def proposing(*edits: Edit) -> Decision:
    def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
        yield from edits

    return review(parse_pod(MINIMAL), Settings(), [Rule("sample", propose, "")])


def test_text_is_aligned() -> None:
    changes = {
        "spec.resources": {},
        f"{APP}.resources.requests.cpu": REMOVE,
        f"{APP}.volumeMounts": REMOVE,
        f"{APP}.securityContext": REMOVE,
        "spec.volumes.0.emptyDir.sizeLimit": "1Gi",
    }
    columns = [
        ("pod  resources                         ", "{} → (removed)         ", "pod_resources  ", "empty pod-level resources"),
        ("app  resources.requests.cpu            ", "(unset) → 2            ", "resources      ", "exclusive CPUs need"),
        ("app  volumeMounts                      ", "+ huge /dev/hugepages  ", "hugepages      ", "EAL creates its files"),
        ("app  securityContext.capabilities.add  ", "+ IPC_LOCK             ", "ipc_lock       ", "pages are locked"),
    ]
    *lines, warning = report.text(decide(tweaked(MINIMAL, changes))).splitlines()
    assert len(lines) == len(columns)
    for line, row in zip(lines, columns, strict=True):
        assert line.startswith("".join(row))
    assert warning == (
        "warning   hugepages: sizeLimit on hugepages: volume huge: it does not size the mount; the container's limit does"
    )


def test_one_change_is_one_line() -> None:
    decision = decide(tweaked(MINIMAL, {f"{APP}.resources.requests.cpu": "1"}))
    assert report.text(decision) == (
        "app  resources.requests.cpu  1 → 2  resources  exclusive CPUs need requests equal to limits in every container"
    )


def test_warnings_come_before_rejections() -> None:
    decision = decide(tweaked(MINIMAL, {"spec.os.name": "windows", "spec.volumes.0.emptyDir.sizeLimit": 1}))
    assert (
        report.text(decision).splitlines()
        == report.findings(decision)
        == [
            "warning   hugepages: sizeLimit on hugepages: volume huge: it does not size the mount; the container's limit does",
            "rejected  windows: windows pod (spec.os.name): "
            "hugepages and IPC_LOCK exist on Linux only; remove the annotation dpdk or run the pod on Linux",
        ]
    )


def test_a_compliant_pod_is_not_talked_about() -> None:
    assert report.text(decide(MINIMAL)) == ""
    assert report.findings(decide(MINIMAL)) == []


SHORTFALLS = [
    (
        Set(("spec", "containers", 0, "resources", "limits", "cpu"), "4", "because"),
        "sample: container app, spec.containers[0].resources.limits.cpu is 2 and must be 4: because",
    ),
    (
        Set(("spec", "hostname"), "a", "because"),
        "sample: spec.hostname is (unset) and must be a: because",
    ),
    (
        Append(("spec", "volumes"), huge_volume("more"), "because"),
        "sample: spec.volumes[1] is (unset) and must be more: because",
    ),
    (
        Remove(("metadata", "name"), "because"),
        "sample: metadata.name is fwd and must go: because",
    ),
]


@pytest.mark.parametrize(("edit", "sentence"), SHORTFALLS)
def test_a_change_that_is_outstanding_is_a_reason_for_a_refusal(edit: Any, sentence: str) -> None:
    [change] = proposing(edit).changes
    assert report.shortfall(change) == sentence


VALUES: list[tuple[str, Any, str]] = [
    ("a text", "-l 2", "-l 2"),
    ("a text with a line break", "a\nb", "a\\nb"),
    ("a long text", "x" * 61, "x" * 59 + "…"),
    ("a number", 2, "2"),
    ("a boolean", True, "true"),
    ("a list", ["a", 1], '["a",1]'),
    ("an object", {"add": ["IPC_LOCK"]}, '{"add":["IPC_LOCK"]}'),
    ("a volume by its name", huge_volume(), "huge"),
    ("a mount by its name and path", {"name": "huge", "mountPath": "/h"}, "huge /h"),
    ("a variable by its name and value", {"name": "A", "value": "1"}, "A 1"),
    ("an empty variable by its name", {"name": "A", "value": ""}, "A"),
    ("a long value", {"name": "A", "value": "x" * 99}, "A " + "x" * 57 + "…"),
]


@pytest.mark.parametrize(("value", "shown"), [row[1:] for row in VALUES], ids=[row[0] for row in VALUES])
def test_a_value_on_one_line(value: Any, shown: str) -> None:
    decision = proposing(Set(("spec", "field"), value, "because"))
    assert report.text(decision) == f"pod  field  (unset) → {shown}  sample  because"


FIELDS = [
    (Set(("metadata", "labels", "a/b"), "x", ""), "pod  metadata.labels[a/b]  (unset) → x"),
    (Set(("spec", "hostname"), "x", ""), "pod  hostname  (unset) → x"),
    (Set(("spec", "containers", 0, "image"), "x", ""), "app  image  example.com/l2fwd:25.11 → x"),
    (Append(("spec", "containers", 0, "args"), "x", ""), "app  args  + x"),
    (Remove(("spec", "containers", 0, "image"), ""), "app  image  example.com/l2fwd:25.11 → (removed)"),
]


@pytest.mark.parametrize(("edit", "start"), FIELDS)
def test_the_field_is_named_from_where_it_belongs(edit: Any, start: str) -> None:
    assert report.text(proposing(edit)) == f"{start}  sample  "


def test_a_diff_gives_the_reason_behind_each_line_that_a_rule_wrote() -> None:
    pod = tweaked(
        MINIMAL,
        {
            f"{APP}.resources.requests.cpu": "1",
            f"{APP}.resources.limits.memory": REMOVE,
            f"{APP}.volumeMounts": REMOVE,
            f"{APP}.env": [{"name": "CMD", "value": "fwd"}],
            "spec.resources": {},
        },
    )
    lines = report.diff(pod, decide(pod)).splitlines()
    assert lines[:8] == [
        " apiVersion: v1",
        " kind: Pod",
        " metadata:",
        "   name: fwd",
        "   annotations:",
        "     dpdk: 'true'",
        " spec:",
        "   containers:",
    ]
    assert [line for line in lines if not line.startswith(" ")] == [
        "-          cpu: '1'",
        "+          cpu: '2'  # resources: exclusive CPUs need requests equal to limits in every container",
        "+          memory: 1Gi  # resources: exclusive CPUs need requests equal to limits in every container",
        "+        - name: DPDK_EAL_ARGS  # eal_env: EAL finds its hugepages there, once the image passes the variable on",
        "+          value: --huge-dir=/dev/hugepages",
        "+      volumeMounts:",
        "+        - name: huge  # hugepages: EAL creates its files in this hugetlbfs mount",
        "+          mountPath: /dev/hugepages",
        "-  resources: {}",
    ]


def test_a_diff_without_changes_is_the_pod() -> None:
    lines = report.diff(MINIMAL, decide(MINIMAL)).splitlines()
    assert lines == [f" {line}" for line in report.manifest(MINIMAL).splitlines()]


def test_a_manifest_reads_back_as_the_pod() -> None:
    twice = {"name": "größe"}
    pod = tweaked(MINIMAL, {"spec.a": [twice, {"deep": twice}], "spec.long": "x " * 200, "spec.odd": ["yes", "1", None, 1.5]})
    assert yaml.safe_load(report.manifest(pod)) == pod
    assert "&" not in report.manifest({"a": twice, "b": twice})
    assert report.manifest({"b": ["größe"], "a": 1}) == "b:\n  - größe\na: 1\n"


def test_json_holds_the_whole_record() -> None:
    pod = tweaked(
        MINIMAL,
        {
            f"{APP}.resources.requests.cpu": REMOVE,
            "spec.resources": {},
            "spec.os.name": "windows",
            f"{APP}.volumeMounts.0.subPath": "a",
        },
    )
    decision = decide(pod)
    record = report.as_json(decision)
    assert json.loads(json.dumps(record)) == record
    assert record == {
        "allowed": False,
        "promised": True,
        "changes": [
            {
                "rule": "pod_resources",
                "container": None,
                "path": "spec.resources",
                "before": {},
                "after": None,
                "why": "empty pod-level resources turn a Guaranteed pod into BestEffort",
            },
            {
                "rule": "resources",
                "container": "app",
                "path": "spec.containers[0].resources.requests.cpu",
                "before": None,
                "after": "2",
                "why": "exclusive CPUs need requests equal to limits in every container",
            },
        ],
        "rejections": [
            {
                "rule": "windows",
                "container": None,
                "path": "spec.os.name",
                "reason": "windows pod",
                "detail": "hugepages and IPC_LOCK exist on Linux only; remove the annotation dpdk or run the pod on Linux",
                "message": report.rejection(decision.rejections[0]),
            }
        ],
        "warnings": [
            {
                "rule": "hugepages",
                "container": "app",
                "path": "spec.containers[0].volumeMounts[0].subPath",
                "reason": "hugepages mounted by subPath",
                "detail": "EAL's files land in a directory below its root",
                "message": report.warning(decision.warnings[0]),
            }
        ],
        "patch": [
            {"op": "remove", "path": "/spec/resources"},
            {"op": "add", "path": "/spec/containers/0/resources/requests/cpu", "value": "2"},
        ],
        "pod": decision.pod,
    }


SENTENCES: list[tuple[Any, str, str]] = [
    (
        ("spec", "containers", 0, "env"),
        "sample: odd (container app, spec.containers[0].env): mend it",
        "sample: container app, odd: mend it",
    ),
    (("metadata", "annotations", "dpdk/x"), "sample: odd (metadata.annotations[dpdk/x]): mend it", "sample: odd: mend it"),
]


@pytest.mark.parametrize(("path", "rejection", "warning"), SENTENCES)
def test_findings_as_sentences(path: Any, rejection: str, warning: str) -> None:
    decision = proposing(Reject(path, "odd", "mend it"), Warn(path, "odd", "mend it"))
    assert report.rejection(decision.rejections[0]) == rejection
    assert report.warning(decision.warnings[0]) == warning


def test_a_warning_ends_in_an_ellipsis_where_it_would_be_longer_than_120_characters() -> None:
    [finding] = proposing(Warn(("spec",), "odd", "x" * 200)).warnings
    assert report.warning(finding) == "sample: odd: " + "x" * 106 + "…"
    assert len(report.warning(finding)) == 120


ODD = ["a\nb", "\x1b[31m", "\u202e", "x" * 500, "\x00", "\ud800", "’"]
NASTY = st.text(st.characters(), max_size=20) | st.sampled_from(ODD)


@given(NASTY, NASTY)
def test_no_text_of_a_users_breaks_a_line_or_makes_a_warning_long(name: str, text: str) -> None:
    mount = {"name": text, "mountPath": f"/{text}"}
    volumes = {"spec.volumes.0": huge_volume(text, sizeLimit=1), f"{APP}.volumeMounts": [mount]}
    nasty: list[dict[str, Any]] = [
        {f"{APP}.resources.limits.cpu": text},
        {f"{APP}.resources.limits.hugepages-2Mi": text},
        {f"{APP}.resources.limits": {f"hugepages-{text}": "1"}},
        {f"{APP}.resources.limits": {text: "-1"}},
        both("cpu", REMOVE),
        volumes,
        {**volumes, f"{APP}.volumeMounts": [{**mount, "subPath": text}]},
        {**volumes, f"{APP}.volumeMounts": [{**mount, "readOnly": True}]},
        {"spec.volumes.0": huge_volume(text, f"HugePages-{text}")},
        {f"{APP}.volumeMounts": [{"name": text, "mountPath": f"/dev/hugepages/{text}"}]},
        {f"{APP}.env.0.value": f"--huge-dir={text}"},
        {f"{APP}.args": [f"--huge-dir={text}"]},
        {f"{APP}.securityContext.runAsUser": 1},
        {"spec.containers.1": dpdk_container(text, "huge")},
        {"metadata.annotations": {"dpdk": f" True{text[:1]}"}},
        *({f"metadata.annotations.dpdk/{key}": text} for key in (*KEYS, text) if "." not in key),
    ]
    for changes in nasty:
        decision = decide(tweaked(MINIMAL, {f"{APP}.name": name, **changes}))
        for finding in decision.warnings:
            assert report.warning(finding).isprintable()
            assert len(report.warning(finding)) <= 120
        assert all(report.rejection(finding).isprintable() for finding in decision.rejections)
