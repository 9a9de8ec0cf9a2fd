"""The pods of an object: found in any kind, decided as the pods that a controller makes, written back in their place."""

import copy
from collections.abc import Mapping
from typing import Any

import jsonpatch
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.review import admission_review
from tests.minimal import APP, MINIMAL, both, decide, tweaked
from tests.strategies import pods
from webhook import admission
from webhook.admission import BadReview
from webhook.path import dotted
from webhook.report import as_json, record, rejection, warning
from webhook.settings import Settings
from webhook.shape import Malformed
from webhook.workload import KINDS, WORKLOADS, review_all, subjects

SETTINGS = Settings()
FRACTION = tweaked(MINIMAL, both("cpu", "1500m"))
REFUSED = tweaked(MINIMAL, both("memory", None))


def made(kind: str, pod: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    """An object of a kind that makes this pod."""
    if kind == "Pod":
        return copy.deepcopy(dict(pod))
    template = {"metadata": pod.get("metadata"), "spec": pod["spec"]}
    spec: dict[str, Any] = {"selector": {"matchLabels": {}}, "template": template}
    if kind == "CronJob":
        spec = {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}}
    owner: dict[str, Any] = {"apiVersion": WORKLOADS[kind], "kind": kind, "metadata": {"name": "fwd", **metadata}, "spec": spec}
    return copy.deepcopy(owner)


PLACES = {"Pod": "", "CronJob": "spec.jobTemplate.spec.template"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_pod_of_every_kind_is_found_in_its_place(kind: str) -> None:
    [subject] = subjects(made(kind, MINIMAL))
    assert (subject.kind, subject.name, dotted(subject.at)) == (kind, "fwd", PLACES.get(kind, "spec.template"))
    assert subject.pod.spec == MINIMAL["spec"]
    assert subject.decide(SETTINGS).is_compliant


@given(st.sampled_from(sorted(WORKLOADS)), pods())
def test_a_template_is_decided_as_the_pod_that_is_made_of_it(kind: str, pod: dict[str, Any]) -> None:
    given = made(kind, pod)
    before = copy.deepcopy(given)
    [reviewed] = review_all([given], SETTINGS)
    [inside], alone = reviewed.decisions, decide(pod)
    at = dotted(inside.at)
    assert given == before
    assert (inside.allowed, inside.is_compliant, inside.is_promised) == (alone.allowed, alone.is_compliant, alone.is_promised)
    assert inside.pod["spec"] == alone.pod["spec"]
    for within, single in zip(
        as_json(inside)["changes"] + as_json(inside)["rejections"] + as_json(inside)["warnings"],
        as_json(alone)["changes"] + as_json(alone)["rejections"] + as_json(alone)["warnings"],
        strict=True,
    ):
        assert (within["rule"], within["path"]) == (single["rule"], f"{at}.{single['path']}")
    assert jsonpatch.JsonPatch(inside.patch).apply(given) == reviewed.after


def test_a_list_is_opened_and_each_of_its_patches_holds_for_the_whole() -> None:
    given = {"apiVersion": "v1", "kind": "List", "items": [made("Deployment", FRACTION), {"kind": "Service"}, FRACTION]}
    [reviewed] = review_all([given], SETTINGS)
    assert [dotted(subject.at) for subject in reviewed.subjects] == ["items[0].spec.template", "items[2]"]
    patch = [operation for decision in reviewed.decisions for operation in decision.patch]
    assert [operation["path"] for operation in patch] == [
        f"{place}/spec/containers/0/resources/{side}/cpu"
        for place in ("/items/0/spec/template", "/items/2")
        for side in ("limits", "requests")
    ]
    assert jsonpatch.JsonPatch(patch).apply(given) == reviewed.after
    assert reviewed.after["items"][1] is given["items"][1]
    records = record([reviewed])
    assert isinstance(records, list)
    assert [(each["kind"], each["path"]) for each in records] == [("Deployment", "items[0].spec.template"), ("Pod", "items[2]")]


@pytest.mark.parametrize("kind", ["List", "PodList", "DeploymentList"])
def test_lists_of_one_kind_are_lists(kind: str) -> None:
    assert len(subjects({"kind": kind, "items": [made("Deployment", MINIMAL)]})) == 1


def test_one_workload_is_one_record() -> None:
    told = record(review_all([made("Job", MINIMAL)], SETTINGS))
    assert isinstance(told, dict)
    assert (told["kind"], told["name"], told["path"], told["allowed"]) == ("Job", "fwd", "spec.template", True)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "Service"},
        {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "spec": {"tasks": []}},
        {"apiVersion": "batch/v1", "kind": "Deployment", "spec": {}},
        {"apiVersion": "example.com/v1", "kind": "Pod"},
        {"apiVersion": "example.com/v1", "kind": "JobList"},
        {"kind": "List", "items": None},
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"template": {}}},
        {"kind": "List", "items": []},
        {"kind": "List", "items": [{"kind": "List", "items": [MINIMAL]}]},
    ],
    ids=orjson.dumps,
)
def test_what_makes_no_pod_that_we_know_has_none(given: dict[str, Any]) -> None:
    assert subjects(given) == []
    with pytest.raises(Malformed, match=r"^there is no pod or workload here that can be read; those are Pod, "):
        review_all([given], SETTINGS)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "an object is expected, not a list"),
        ({"kind": 1}, "kind: a string is expected, not a number"),
        ({"kind": "List", "items": "x"}, "items: a list is expected, not a string"),
        ({"kind": "List", "items": ["x"]}, "items[0]: an object is expected, not a string"),
        ({"kind": "Deployment"}, "spec: an object is expected, not null"),
        (
            {"kind": "CronJob", "spec": {"jobTemplate": {"spec": []}}},
            "spec.jobTemplate.spec: an object is expected, not a list",
        ),
        ({"kind": "Job", "spec": {"template": {}}}, "spec.template.spec: a pod needs it"),
        (
            {"kind": "List", "items": [{"kind": "Job", "spec": {"template": {"spec": {"containers": []}}}}]},
            "items[0].spec.template.spec.containers: a pod needs at least one container",
        ),
    ],
    ids=orjson.dumps,
)
def test_what_can_not_be_read_is_named_with_its_place(given: object, problem: str) -> None:
    with pytest.raises(Malformed) as caught:
        subjects(given)
    assert str(caught.value) == problem


def test_what_would_take_long_is_not_begun() -> None:
    pod = tweaked(MINIMAL, {"spec.containers": [{"name": "app"}] * 99, "spec.initContainers": [{"name": "setup"}]})
    assert len(review_all([{"kind": "List", "items": [pod] * 9}, pod], SETTINGS)) == 2
    with pytest.raises(Malformed) as caught:
        review_all([{"kind": "List", "items": [pod] * 9}, pod, MINIMAL], SETTINGS)
    assert str(caught.value) == "1001 containers; no more than 1000 are reviewed at once"


def test_of_several_documents_the_one_that_can_not_be_read_is_named() -> None:
    with pytest.raises(Malformed) as caught:
        review_all([MINIMAL, {"kind": "Service"}, {"kind": "Job"}], SETTINGS)
    assert str(caught.value) == "[document 3].spec: an object is expected, not null"


def test_documents_are_counted_and_kept_apart() -> None:
    told = record(review_all([MINIMAL, {"kind": "Service"}, MINIMAL], SETTINGS))
    assert isinstance(told, list)
    assert [(each["document"], each["name"]) for each in told] == [(1, "fwd"), (3, "fwd")]


def test_a_name_that_the_api_server_ends_is_a_name() -> None:
    [subject] = subjects({"kind": "Pod", "metadata": {"generateName": "fwd-"}, "spec": MINIMAL["spec"]})
    assert subject.name == "fwd-"


@pytest.mark.parametrize("kind", WORKLOADS)
def test_an_annotation_on_the_workload_itself_is_warned_of(kind: str) -> None:
    plain = {"metadata": {}, "spec": MINIMAL["spec"]}
    given = {"kind": "List", "items": [made(kind, plain, annotations={"dpdk": "true"})]}
    [reviewed] = review_all([given], SETTINGS)
    [decision] = reviewed.decisions
    assert not decision.is_promised
    [finding] = decision.warnings
    assert dotted(finding.path) == "items[0].metadata.annotations.dpdk"
    assert warning(finding) == (
        f"opt_in: not opted in: annotate {PLACES.get(kind, 'spec.template')}, "
        f"which its pods are made from, and not the {kind} itself"
    )
    assert len(warning(finding)) <= 120


@pytest.mark.parametrize("template", ["true", "false"])
def test_an_annotation_on_both_is_the_templates(template: str) -> None:
    pod = tweaked(MINIMAL, {"metadata.annotations": {"dpdk": template}})
    [reviewed] = review_all([made("Deployment", pod, annotations={"dpdk": "true"})], SETTINGS)
    assert reviewed.decisions[0].warnings == ()


# --- /warn: whoever applies a workload is told, and never stopped


def warned(given: Mapping[str, Any], **settings: Any) -> list[str]:
    request = admission.parse_workload(orjson.dumps(admission_review(given)))
    answer = orjson.loads(admission.warn(request, Settings(**settings)).review("uid"))["response"]
    assert answer["allowed"] is True
    assert "patch" not in answer
    return list(answer.get("warnings", []))


@pytest.mark.parametrize("kind", WORKLOADS)
def test_what_the_pods_will_be_refused_for_is_said_when_the_workload_is_applied(kind: str) -> None:
    given = made(kind, tweaked(REFUSED, {f"{APP}.securityContext.capabilities": {"drop": ["IPC_LOCK"]}}))
    place = PLACES.get(kind, "spec.template")
    assert warned(given) == [
        f"the pods of this {kind} would be refused (2 reasons):",
        f"resources: no memory (container app, {place}.spec.containers[0].resources.limits.memory): a guess could kill the "
        "application when it runs out; write how much it needs beside hugepages, such as 1Gi",
        f"ipc_lock: IPC_LOCK dropped (container app, {place}.spec.containers[0].securityContext.capabilities.drop[0]): "
        "drop beats add; remove it there",
    ]


def test_what_the_pods_will_be_warned_of_is_said_as_well() -> None:
    given = made("Deployment", tweaked(MINIMAL, both("cpu", None)))
    assert warned(given) == ["resources: container app, no cpu: it gets 1, and testpmd for one needs 2; write how many"]


@pytest.mark.parametrize("pod", [MINIMAL, FRACTION, {"metadata": {}, "spec": MINIMAL["spec"]}])
def test_a_workload_whose_pods_will_run_is_not_talked_about(pod: dict[str, Any]) -> None:
    assert warned(made("Deployment", pod)) == []


def test_it_can_be_turned_off() -> None:
    assert warned(made("Deployment", REFUSED), warn_workloads=False) == []


def test_a_pod_with_a_thousand_reasons_is_told_within_what_the_api_server_takes() -> None:
    container = {"name": "app", "resources": {"limits": {f"example.com/x{n}": "-1" for n in range(1000)}}}
    lines = warned(made("Deployment", tweaked(MINIMAL, {"spec.containers": [container]})))
    assert sum(map(len, lines)) < 4096
    assert all(len(line) <= 256 for line in lines)
    assert lines[-1].startswith("… and ")


def test_a_workload_that_goes_is_allowed() -> None:
    review = admission_review(made("Deployment", MINIMAL))
    review["request"] |= {"operation": "DELETE", "object": None}
    answer = admission.warn(admission.parse_workload(orjson.dumps(review)), SETTINGS)
    assert orjson.loads(answer.review("uid"))["response"]["allowed"] is True


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "Pod"}, "request.kind.kind: one of Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob is expected"),
        ({"group": "batch"}, "request.kind.group: 'apps' is expected, not 'batch'"),
        ({"version": "v1beta1"}, "request.kind.version: 'v1' is expected, not 'v1beta1'"),
    ],
)
def test_a_review_of_anything_else_is_a_wrong_registration(change: dict[str, str], problem: str) -> None:
    review = admission_review(made("Deployment", MINIMAL))
    review["request"]["kind"] |= change
    with pytest.raises(BadReview) as caught:
        admission.parse_workload(orjson.dumps(review))
    assert str(caught.value).startswith(problem)


def test_a_template_that_can_not_be_read_is_a_bad_review_with_its_place() -> None:
    given = made("CronJob", {"spec": {"containers": "x"}})
    with pytest.raises(BadReview) as caught:
        admission.parse_workload(orjson.dumps(admission_review(given)))
    place = "request.object.spec.jobTemplate.spec.template.spec.containers"
    assert str(caught.value) == f"{place}: a list is expected, not a string"


def test_a_rejection_names_the_place_in_the_workload() -> None:
    [reviewed] = review_all([made("CronJob", REFUSED)], SETTINGS)
    assert rejection(reviewed.decisions[0].rejections[0]).startswith(
        "resources: no memory (container app, spec.jobTemplate.spec.template.spec.containers[0].resources.limits.memory): "
    )
