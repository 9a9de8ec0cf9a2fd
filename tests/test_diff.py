"""The pod's YAML before and after: every line of both, in order, and why a rule wrote or removed one."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given

from tests.minimal import APP, MINIMAL, REMOVE, decide, dpdk_container, huge_volume, other_container, tweaked
from tests.strategies import pods
from webhook.diff import diff, manifest
from webhook.edits import Append, Edit, Prepend, Remove, Set
from webhook.pod import Pod, parse_pod
from webhook.review import review
from webhook.rules import Rule
from webhook.settings import Settings


def changed(pod: dict[str, Any], *rules: list[Edit]) -> list[str]:
    """The lines of the diff that are not in both pods, after so many rules' edits."""

    def proposing(edits: list[Edit]) -> Rule:
        def propose(pod: Pod, settings: Settings) -> Iterator[Edit]:
            yield from edits

        return Rule("sample", propose, "")

    decision = review(parse_pod(pod), Settings(), [proposing(edits) for edits in rules])
    return [line for line in diff(pod, decision).splitlines() if not line.startswith(" ")]


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
    lines = diff(pod, decide(pod)).splitlines()
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
        "-  resources: {}  # pod_resources: empty pod-level resources turn a Guaranteed pod into BestEffort",
    ]


def test_a_diff_without_changes_is_the_pod() -> None:
    lines = diff(MINIMAL, decide(MINIMAL)).splitlines()
    assert lines == [f" {line}" for line in manifest(MINIMAL).splitlines()]


def test_a_manifest_reads_back_as_the_pod() -> None:
    twice = {"name": "größe"}
    pod = tweaked(MINIMAL, {"spec.a": [twice, {"deep": twice}], "spec.long": "x " * 200, "spec.odd": ["yes", "1", None, 1.5]})
    assert yaml.safe_load(manifest(pod)) == pod
    assert "&" not in manifest({"a": twice, "b": twice})
    assert manifest({"b": ["größe"], "a": 1}) == "b:\n  - größe\na: 1\n"


ENV = ("spec", "containers", 0, "env")
VALUE = (*ENV, 0, "value")


def test_what_comes_to_the_front_shifts_what_was_there() -> None:
    pod = tweaked(MINIMAL, {f"{APP}.env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]})
    first, second = (Prepend(ENV, {"name": name, "value": "1"}, f"why {name}") for name in "CD")
    assert changed(pod, [Set(VALUE, "2", "why A"), first], [Remove((*ENV, 1, "value"), "not A")], [second]) == [
        "+        - name: D  # sample: why D",
        "+          value: '1'",
        "+        - name: C  # sample: why C",
        "+          value: '1'",
        "-          value: '1'  # sample: not A",
    ]


CHANGES: list[tuple[str, Any, list[Edit], list[str]]] = [
    (
        "a value becomes an object",
        {"a": None},
        [Set(("spec", "a", "b"), 1, "why")],
        ["-  a: null", "+  a:", "+    b: 1  # sample: why"],
    ),
    (
        "an empty list gets its first item",
        {"a": []},
        [Append(("spec", "a"), "x", "why")],
        ["-  a: []", "+  a:", "+    - x  # sample: why"],
    ),
    (
        "an item of a list goes",
        {"a": ["x", "y"]},
        [Remove(("spec", "a", 1), "why")],
        ["-    - y  # sample: why"],
    ),
    (
        "a field that was null goes with what is below it",
        {"a": None},
        [Remove(("spec", "a", "b"), "why")],
        ["-  a: null  # sample: why"],
    ),
    (
        "neighbours are replaced",
        {"a": 1, "b": 2},
        [Set(("spec", "a"), 3, "why"), Set(("spec", "b"), 4, "why not")],
        ["-  a: 1", "-  b: 2", "+  a: 3  # sample: why", "+  b: 4  # sample: why not"],
    ),
    (
        "a field goes, and comes back at the end",
        {"a": 1, "b": 2},
        [Remove(("spec", "a"), "away"), Set(("spec", "a"), 1, "back")],
        ["-  a: 1  # sample: away", "+  a: 1  # sample: back"],
    ),
    (
        "two values begin on one line",
        {},
        [Append(("spec", "a"), {"b": 1}, "the item"), Set(("spec", "a", 0, "b"), 2, "its field")],
        ["+  a:", "+    - b: 2  # sample: the item; sample: its field"],
    ),
    (
        "one reason for two values on one line",
        {},
        [Append(("spec", "a"), {"b": 1}, "why"), Set(("spec", "a", 0, "b"), 2, "why")],
        ["+  a:", "+    - b: 2  # sample: why"],
    ),
    (
        "a text of several lines, and the reason behind its end",
        {"a": "x\ny"},
        [Set(("spec", "a"), "x\nz", "why")],
        ["-    y'", "+    z'  # sample: why"],
    ),
    (
        "line breaks that only YAML knows",
        {"a": "x\u2028y\x85z", "b": 1},
        [Set(("spec", "b"), 2, "why")],
        ["-  b: 1", "+  b: 2  # sample: why"],
    ),
]


@pytest.mark.parametrize(("fields", "edits", "lines"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_only_what_changed_is_marked(fields: dict[str, Any], edits: list[Edit], lines: list[str]) -> None:
    spec = {**MINIMAL["spec"], **fields}
    assert changed({**MINIMAL, "spec": spec}, edits) == lines


def test_containers_that_resemble_each_other_are_not_mixed_up() -> None:
    others = [other_container(f"log-{number}") for number in range(3)]
    pod = tweaked(MINIMAL, {"spec.containers": [dpdk_container("app", "huge"), *others]})
    pod = tweaked(pod, {"spec.containers.2.resources.limits.memory": REMOVE})
    lines = diff(pod, decide(pod)).splitlines()
    [added] = [number for number, line in enumerate(lines) if not line.startswith(" ")]
    assert lines[added].startswith("+          memory: 128Mi  # resources: ")
    assert [line for line in lines[:added] if "name: log" in line][-1].endswith("log-1")


@given(pods())
def test_a_diff_holds_both_pods_and_every_reason(pod: dict[str, Any]) -> None:
    decision = decide(pod)
    lines = diff(pod, decision).splitlines()
    bare = [line.partition("  # ")[0] for line in lines]
    assert "\n".join(line[1:] for line in bare if line[0] in " -") == manifest(pod).rstrip("\n")
    assert "\n".join(line[1:] for line in bare if line[0] in " +") == manifest(decision.pod).rstrip("\n")
    noted = "\n".join(line for line in lines if line[0] in "+-")
    assert all(f"{change.rule}: {change.why}" in noted for change in decision.changes)


@given(pods())
def test_a_reason_is_a_comment_to_yaml(pod: dict[str, Any]) -> None:
    decision = decide(pod)
    lines = diff(pod, decision).splitlines()
    assert yaml.load("\n".join(line[1:] for line in lines if line[0] in " -"), yaml.CSafeLoader) == pod
    assert yaml.load("\n".join(line[1:] for line in lines if line[0] in " +"), yaml.CSafeLoader) == decision.pod


@pytest.mark.timeout(30)
def test_a_thousand_containers_alike_take_a_second() -> None:
    containers = [dpdk_container(f"app-{number}", f"huge-{number}") for number in range(1000)]
    volumes = [huge_volume(f"huge-{number}") for number in range(1000)]
    pod = tweaked(MINIMAL, {"spec.containers": [{**each, "env": []} for each in containers], "spec.volumes": volumes})
    decision = decide(pod)
    assert len(decision.changes) == 1000
    lines = diff(pod, decision).splitlines()
    assert sum(line.startswith("-") for line in lines) == 1000
    assert sum(line.startswith("+") for line in lines) == 3000
