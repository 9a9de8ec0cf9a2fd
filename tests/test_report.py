"""The Decision for people and programs: sentences, aligned text, plain JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.golden import Case, by_name, cases
from tests.minimal import APP, MINIMAL, REMOVE, both, decide, dpdk_container, huge_volume, tweaked
from tests.strategies import annotated_pods
from webhook import report
from webhook.edits import Append, Edit, Reject, Remove, Set, Warn
from webhook.options import KEYS
from webhook.pod import Pod, parse_pod
from webhook.review import Decision, Finding, review
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
    assert warning == ("warning   hugepages: sizeLimit on hugepages: volume huge: the container's limit sizes the mount")


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
            "warning   hugepages: sizeLimit on hugepages: volume huge: the container's limit sizes the mount",
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
        "sample: spec.volumes lacks more: because",
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


LONG = "x" * 31 + "y" * 32
HEAD = "it can't run"


def test_a_long_name_gives_way_to_the_detail() -> None:
    changes = {f"{APP}.name": LONG, "spec.securityContext": {"runAsUser": 1000, "fsGroup": 1000}}
    [finding] = decide(tweaked(MINIMAL, changes)).warnings
    assert report.warning(finding) == (
        "ipc_lock: container xxxxxxxx…yyyyyyy, not root: "
        "IPC_LOCK is in the bounding set only: the binary needs file capabilities"
    )
    assert len(report.warning(finding)) == 120


@pytest.mark.parametrize(
    ("detail", "warning"),
    [
        ("d" * 32, f"sample: container {LONG}, odd: {'d' * 32}"),
        ("d" * 33, f"sample: container {'x' * 31}…{'y' * 30}, odd: {'d' * 33}"),
        ("d" * 92, f"sample: container x…y, odd: {'d' * 92}"),
        ("d" * 94, f"sample: container …, odd: {'d' * 94}"),
        ("d" * 95, f"sample: container …, odd: {'d' * 93}…"),
    ],
)
def test_a_name_has_the_room_that_the_detail_leaves(detail: str, warning: str) -> None:
    assert report.warning(Finding("sample", LONG, ("spec", "containers", 0), "odd", detail)) == warning


@pytest.mark.parametrize("case", [case for case in cases() if case.pod and "warnings" in case.found], ids=by_name)
def test_every_warning_has_room_for_its_detail(case: Case) -> None:
    keep_their_details(decide(case.pod or {}, **case.settings))


@given(annotated_pods())
def test_a_warning_of_any_pod_has_room_for_its_detail(pod: dict[str, Any]) -> None:
    keep_their_details(decide(pod))


def keep_their_details(decision: Decision) -> None:
    for finding in decision.warnings:
        named = replace(finding, container=finding.container and LONG)
        assert report.warning(named).endswith(f"{finding.reason}: {finding.detail}")


# --- what the API server passes on


def warning_of(*containers: str | None, reason: str = "odd", detail: str = "mend it") -> list[Finding]:
    return [Finding("sample", container, ("spec",), reason, detail) for container in containers]


GROUPS: list[tuple[str, list[Finding], list[str]]] = [
    ("none", [], []),
    ("one container", warning_of("app"), ["sample: container app, odd: mend it"]),
    ("two", warning_of("app", "fwd"), ["sample: containers app and fwd, odd: mend it"]),
    ("three", warning_of("app", "fwd", "log"), ["sample: containers app, fwd and log, odd: mend it"]),
    ("four", warning_of("a", "b", "c", "d"), ["sample: 4 containers, odd: mend it"]),
    ("two with long names", warning_of(LONG, f"{LONG[:-1]}z"), ["sample: 2 containers, odd: mend it"]),
    ("one, twice", warning_of("app", "app"), ["sample: container app, odd: mend it"]),
    ("the pod, twice", warning_of(None, None), ["sample: odd: mend it"]),
    (
        "other reasons and details are other lines, in the order in which they came",
        warning_of("a", "b") + warning_of("c", detail="leave it") + warning_of("d", reason="new") + warning_of("e"),
        [
            "sample: containers a, b and e, odd: mend it",
            "sample: container c, odd: leave it",
            "sample: container d, new: mend it",
        ],
    ),
]


@pytest.mark.parametrize(("findings", "lines"), [row[1:] for row in GROUPS], ids=[row[0] for row in GROUPS])
def test_containers_that_share_a_text_share_a_warning(findings: list[Finding], lines: list[str]) -> None:
    assert report.warnings(replace(decide(MINIMAL), warnings=tuple(findings))) == lines


@pytest.mark.parametrize("count", [1, 39, 40, 41, 42, 43, 1000])
def test_the_api_server_takes_all_of_the_warnings(count: int) -> None:
    findings = [each for number in range(count) for each in warning_of("app", detail=f"{number:075}")]
    lines = report.warnings(replace(decide(MINIMAL), warnings=tuple(findings)))
    kept = [line for line in lines if not line.startswith("…")]
    assert sum(map(len, lines)) < 4096
    assert kept == [report.warning(finding) for finding in findings[: len(kept)]]
    if len(kept) < count:
        assert lines[len(kept) :] == [f"… and {count - len(kept)} more; POST the pod to /dry-run to see all"]
        assert sum(map(len, lines)) > 4096 - 120
    else:
        assert lines == kept
    assert (len(kept) == count) is (count * len(kept[0]) < 4096)


def test_forty_containers_alike_are_two_warnings() -> None:
    others = {f"spec.containers.{number}": {"name": f"log-{number}"} for number in range(1, 41)}
    assert report.warnings(decide(tweaked(MINIMAL, {**others, f"{APP}.securityContext.privileged": True}))) == [
        "resources: 40 containers, no cpu: it gets 100m; write what it needs",
        "resources: 40 containers, no memory: it gets 128Mi; write what it needs",
        "ipc_lock: container app, privileged: it has every capability; DPDK needs IPC_LOCK only",
    ]


# --- a refusal


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_refusal_gives_every_reason(count: int) -> None:
    reasons = [f"reason {number}" for number in range(count)]
    head = f"{HEAD} ({'1 reason' if count == 1 else f'{count} reasons'}):"
    assert report.refusal(reasons, HEAD).splitlines() == [head, *reasons]


def test_a_refusal_gives_the_first_fifty_of_more_reasons_than_anybody_reads() -> None:
    reasons = [f"reason {number}" for number in range(20_000)]
    assert report.refusal(reasons, HEAD).splitlines() == [
        f"{HEAD} (20000 reasons):",
        *reasons[:50],
        "… and 19950 more; POST the pod to /dry-run to see all",
    ]


def test_a_refusal_holds_no_more_than_sixteen_thousand_characters() -> None:
    head, *lines, last = report.refusal([f"{number:0900}" for number in range(40)], HEAD).splitlines()
    assert lines == [f"{number:0900}" for number in range(18)]
    assert (head, last) == (
        f"{HEAD} (40 reasons):",
        "… and 22 more; POST the pod to /dry-run to see all",
    )
    assert report.refusal(["x" * 100_000], HEAD) == f"{HEAD} (1 reason):\n{'x' * 999}…"


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
