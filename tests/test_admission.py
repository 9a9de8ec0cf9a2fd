"""AdmissionReview bytes in and out, as kube-apiserver sends and reads them."""

import base64
import copy
from collections.abc import Callable
from typing import Any

import jsonpatch
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.review import admission_review
from webhook import admission
from webhook.admission import BadReview, mutate, parse, validate
from webhook.path import dotted
from webhook.pod import parse_pod
from webhook.review import review
from webhook.settings import Settings

SETTINGS = Settings()
Review = dict[str, Any]
Tweak = Callable[[Review], object]

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "pod", "annotations": {"dpdk": "true"}},
    "spec": {
        "containers": [
            {
                "name": "app",
                "image": "example.com/app",
                "resources": {"limits": {"cpu": "1500m", "memory": "1Gi", "hugepages-2Mi": "64Mi"}},
            }
        ]
    },
}


def _review(tweak: Tweak = lambda review: None) -> Review:
    body = admission_review(copy.deepcopy(POD))
    tweak(body["request"])
    return body


def _answer(decide: Callable[[admission.Request, Settings], admission.Answer], body: Review) -> dict[str, Any]:
    """The response, and that its envelope is right."""
    request = parse(orjson.dumps(body))
    answer = orjson.loads(decide(request, SETTINGS).review(request.asked.uid))
    response: dict[str, Any] = answer.pop("response")
    assert answer == {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    assert response["uid"] == body["request"]["uid"]
    return response


def _patched(response: dict[str, Any], pod: dict[str, Any]) -> Any:
    assert response["patchType"] == "JSONPatch"
    return jsonpatch.JsonPatch(orjson.loads(base64.b64decode(response["patch"], validate=True))).apply(pod)


def _compliant() -> dict[str, Any]:
    return dict(review(parse_pod(copy.deepcopy(POD)), SETTINGS).pod)


def _container(request: Review) -> Any:
    return request["object"]["spec"]["containers"][0]


# --- what /mutate answers


def test_the_patch_gives_the_pod_of_the_decision() -> None:
    body = _review()
    response = _answer(mutate, body)
    assert response["allowed"] is True
    assert _patched(response, body["request"]["object"]) == _compliant()
    assert set(response) == {"uid", "allowed", "patchType", "patch", "auditAnnotations"}


@pytest.mark.parametrize(
    "tweak",
    [
        pytest.param(lambda r: r["object"]["metadata"].pop("annotations"), id="not annotated"),
        pytest.param(lambda r: r["object"]["metadata"]["annotations"].update(dpdk="false"), id="annotated with false"),
        pytest.param(lambda r: r["object"].pop("metadata"), id="no metadata at all"),
        pytest.param(lambda r: r.update(object=_compliant()), id="compliant already"),
        pytest.param(lambda r: r.update(operation="UPDATE"), id="an update, whose spec nobody can change"),
        pytest.param(lambda r: r.update(operation="DELETE", object=None, oldObject=POD), id="a deletion"),
        pytest.param(lambda r: r.update(operation="CONNECT", object=None), id="a connection"),
    ],
)
def test_allowed_without_a_patch(tweak: Tweak) -> None:
    body = _review(tweak)
    assert _answer(mutate, body) == {"uid": body["request"]["uid"], "allowed": True}


def test_a_near_miss_is_allowed_with_a_warning() -> None:
    body = _review(lambda r: r["object"]["metadata"]["annotations"].update(dpdk="True"))
    assert _answer(mutate, body) == {
        "uid": body["request"]["uid"],
        "allowed": True,
        "warnings": ["opt_in: not opted in: the value is 'True'; only \"true\" turns it on"],
        "auditAnnotations": {"rules": "opt_in"},
    }


def _wrong_in_three_places(request: Review) -> None:
    _container(request)["resources"]["limits"] = {"hugepages-2Mi": "3Mi"}
    request["object"]["spec"]["hostUsers"] = False
    request["object"]["spec"]["initContainers"] = [{"name": name, "resources": {"limits": {"memory": 1}}} for name in "ab"]


def test_a_refusal_lists_every_reason_at_once_and_keeps_the_warnings() -> None:
    response = _answer(mutate, _review(_wrong_in_three_places))
    assert response["allowed"] is False
    assert "patch" not in response
    assert {key: response["status"][key] for key in ("status", "code", "reason")} == {
        "status": "Failure",
        "code": 422,
        "reason": "Invalid",
    }
    resources = "container app, spec.containers[0].resources.limits"
    assert response["status"]["message"].splitlines() == [
        "this pod can't run DPDK as it is (3 reasons):",
        "host_users: user namespace (spec.hostUsers): IPC_LOCK is not effective in a user namespace; remove hostUsers: false",
        f"resources: no memory ({resources}.memory): a guess could kill the application when it runs out; "
        "write how much it needs beside hugepages, such as 1Gi",
        f"hugepages: not whole pages ({resources}.hugepages-2Mi): 3Mi is not a whole number of 2Mi pages; write 4Mi",
    ]
    assert response["warnings"] == [
        "resources: container app, no cpu: it gets 1, and testpmd for one needs 2; write how many",
        "resources: containers a and b, no cpu: it gets 100m; write what it needs",
    ]


@pytest.mark.parametrize("decide", [mutate, validate])
def test_of_more_reasons_than_anybody_reads_the_rest_is_counted(
    decide: Callable[[admission.Request, Settings], admission.Answer],
) -> None:
    amounts = {"memory": "1Gi", **{f"example.com/{number}": "two" for number in range(1000)}}
    response = _answer(decide, _review(lambda r: _container(r)["resources"].update(limits=amounts)))
    assert len(response["status"]["message"].splitlines()) == 52


# --- what /validate answers


def test_a_compliant_pod_is_valid() -> None:
    assert _answer(validate, _review(lambda r: r.update(object=_compliant())))["allowed"] is True


def _undone(request: Review) -> None:
    """What a webhook that ran after us might do."""
    request["object"] = _compliant()
    _container(request)["resources"]["requests"]["cpu"] = "500m"
    _container(request)["securityContext"]["capabilities"]["add"] = ["NET_ADMIN"]


def test_what_another_webhook_undid_is_refused_field_by_field() -> None:
    response = _answer(validate, _review(_undone))
    assert (response["allowed"], response["status"]["code"], response["status"]["reason"]) == (False, 422, "Invalid")
    assert response["status"]["message"].splitlines() == [
        "another webhook changed this pod after dpdk-webhook's turn, and now it can't run DPDK (2 reasons):",
        "resources: container app, spec.containers[0].resources.requests.cpu is 500m and must be 2: "
        "exclusive CPUs need requests equal to limits in every container",
        "ipc_lock: container app, spec.containers[0].securityContext.capabilities.add lacks IPC_LOCK: "
        "pages are locked so that devices can reach them",
    ]


def test_what_must_go_is_said() -> None:
    def tweak(request: Review) -> None:
        request["object"] = _compliant() | {"spec": _compliant()["spec"] | {"resources": {}}}

    message = _answer(validate, _review(tweak))["status"]["message"]
    assert message.splitlines() == [
        "another webhook changed this pod after dpdk-webhook's turn, and now it can't run DPDK (1 reason):",
        "pod_resources: spec.resources is {} and must go: empty pod-level resources turn a Guaranteed pod into BestEffort",
    ]


TURNED_ON = (
    "this pod can't run DPDK as it is (1 reason):\n"
    "opt_in: turned on too late (metadata.annotations.dpdk): "
    "the spec of a pod that exists can't be changed; delete it and create it with the annotation"
)


@pytest.mark.parametrize(
    ("old", "now", "allowed"),
    [
        pytest.param({}, "true", False, id="turned on"),
        pytest.param({"metadata": {"annotations": {"dpdk": "false"}}}, "true", False, id="turned on from false"),
        pytest.param({"metadata": {"annotations": None}}, "true", False, id="no annotations before"),
        pytest.param({"metadata": [1]}, "true", False, id="an old pod that can't be read never had it"),
        pytest.param(None, "true", False, id="no old pod"),
        pytest.param({"metadata": {"annotations": {"dpdk": "true"}}}, "true", True, id="on before"),
        pytest.param({"metadata": {"annotations": {"dpdk": "true"}}}, "false", True, id="turned off"),
        pytest.param({}, None, True, id="never on"),
    ],
)
def test_an_update_may_do_anything_but_turn_it_on(old: object, now: str | None, allowed: bool) -> None:
    def tweak(request: Review) -> None:
        request.update(operation="UPDATE", oldObject=old)
        request["object"]["metadata"]["annotations"] = {"dpdk": now}

    response = _answer(validate, _review(tweak))
    assert (response["allowed"], response.get("status", {}).get("message")) == (allowed, None if allowed else TURNED_ON)


def test_a_resize_that_leaves_the_promise_is_refused() -> None:
    def resize(cpu: str) -> dict[str, Any]:
        def tweak(request: Review) -> None:
            request.update(operation="UPDATE", subResource="resize", object=_compliant(), oldObject=_compliant())
            for side in ("limits", "requests"):
                _container(request)["resources"][side]["cpu"] = cpu

        return _answer(validate, _review(tweak))

    assert resize("4")["allowed"] is True
    assert resize("2500m")["status"]["message"].splitlines()[1:] == [
        f"resources: container app, spec.containers[0].resources.{side}.cpu is 2500m and must be 3: "
        "a polling core cannot be shared; rounded up to whole CPUs"
        for side in ("limits", "requests")
    ]


@pytest.mark.parametrize("operation", ["DELETE", "CONNECT"])
def test_nothing_to_validate(operation: str) -> None:
    assert _answer(validate, _review(lambda r: r.update(operation=operation, object=None)))["allowed"] is True


# --- what can't be answered


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b"[]", (), "an AdmissionReview is expected, not a list"),
        (b"null", (), "an AdmissionReview is expected, not null"),
        (b"{}", ("apiVersion",), "apiVersion: 'admission.k8s.io/v1' is expected, not null"),
        (b"[" * 100 + b"]" * 100, (), "nested deeper than 64 levels"),
    ],
)
def test_not_a_review(body: bytes, path: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadReview) as caught:
        parse(body)
    assert (caught.value.path, str(caught.value)) == (path, message)


@pytest.mark.parametrize(
    ("tweak", "message"),
    [
        (
            lambda r: r.update(apiVersion="admission.k8s.io/v1beta1"),
            "apiVersion: 'admission.k8s.io/v1' is expected, not 'admission.k8s.io/v1beta1'",
        ),
        (lambda r: r.update(apiVersion=["x"]), "apiVersion: 'admission.k8s.io/v1' is expected, not a list"),
        (lambda r: r.update(kind="Pod"), "kind: 'AdmissionReview' is expected, not 'Pod'"),
        (lambda r: r.pop("request"), "request: an object is expected, not null"),
        (lambda r: r.update(request=[r["request"]]), "request: an object is expected, not a list"),
        (lambda r: r["request"].pop("uid"), "request.uid: a string is expected, not null"),
        (lambda r: r["request"].update(uid=""), "request.uid: a string is expected, not ''"),
        (lambda r: r["request"].update(uid=7), "request.uid: a string is expected, not a number"),
        (
            lambda r: r["request"].pop("operation"),
            "request.operation: one of CREATE, UPDATE, DELETE, CONNECT is expected, not null",
        ),
        (
            lambda r: r["request"].update(operation="create"),
            "request.operation: one of CREATE, UPDATE, DELETE, CONNECT is expected, not 'create'",
        ),
        (
            lambda r: r["request"].update(operation={}),
            "request.operation: one of CREATE, UPDATE, DELETE, CONNECT is expected, not an object",
        ),
        (lambda r: r["request"].pop("kind"), "request.kind: an object is expected, not null"),
        (lambda r: r["request"].update(kind="Pod"), "request.kind: an object is expected, not a string"),
        (lambda r: r["request"]["kind"].update(group="apps"), "request.kind.group: '' is expected, not 'apps'"),
        (lambda r: r["request"]["kind"].update(group=[]), "request.kind.group: '' is expected, not a list"),
        (lambda r: r["request"]["kind"].update(version="v2"), "request.kind.version: 'v1' is expected, not 'v2'"),
        (lambda r: r["request"]["kind"].update(kind="Deployment"), "request.kind.kind: 'Pod' is expected, not 'Deployment'"),
        (
            lambda r: r["request"].update(subResource="ephemeralcontainers"),
            "request.subResource: a review of pods is expected, not of 'ephemeralcontainers'",
        ),
        (lambda r: r["request"].update(subResource=[]), "request.subResource: a review of pods is expected, not of a list"),
        (lambda r: r["request"].pop("object"), "request.object: a Pod is expected, not null"),
        (lambda r: r["request"].update(object=[]), "request.object: a Pod is expected, not a list"),
        (lambda r: r["request"].update(object={}), "request.object.spec: a pod needs it"),
        (lambda r: r["request"]["object"].update(kind="Job"), "request.object.kind: 'Pod' is expected, not 'Job'"),
        (lambda r: r["request"]["object"].update(spec=7), "request.object.spec: an object is expected, not a number"),
        (
            lambda r: r["request"]["object"]["spec"].update(containers=[]),
            "request.object.spec.containers: a pod needs at least one container",
        ),
        (
            lambda r: r["request"]["object"]["spec"].update(containers={}),
            "request.object.spec.containers: a list is expected, not an object",
        ),
        (
            lambda r: r["request"]["object"]["spec"].update(containers=[{}] * 1001),
            "request.object.spec.containers: more than 1000 containers in one pod",
        ),
        (
            lambda r: r["request"]["object"]["metadata"]["annotations"].update(dpdk=True),
            "request.object.metadata.annotations.dpdk: a string is expected, not the boolean true; quote it",
        ),
        (
            lambda r: _container(r["request"]).update(env=[None]),
            "request.object.spec.containers[0].env[0]: an object is expected, not null",
        ),
        (
            lambda r: _container(r["request"]).update(args="x"),
            "request.object.spec.containers[0].args: a list is expected, not a string",
        ),
    ],
)
def test_a_review_that_can_not_be_answered(tweak: Tweak, message: str) -> None:
    body = _review()
    tweak(body)
    with pytest.raises(BadReview) as caught:
        parse(orjson.dumps(body))
    assert str(caught.value) == message
    assert dotted(caught.value.path) == message.partition(":")[0]


RAW = orjson.dumps(_review())
AMOUNT = b'"1500m"'


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(b"", "zero-length, empty document", id="nothing"),
        pytest.param(b"dpdk", "unexpected character", id="text"),
        pytest.param(RAW[:-1], "unexpected end of data", id="cut short"),
        pytest.param(RAW + b"x", "unexpected content after document", id="more behind it"),
        pytest.param(b"\xff" + RAW, "not valid UTF-8", id="not UTF-8"),
        pytest.param(b"\xef\xbb\xbf" + RAW, "BOM", id="byte order mark"),
        pytest.param(RAW.replace(AMOUNT, b"NaN"), "unexpected character", id="NaN"),
        pytest.param(RAW.replace(AMOUNT, b"1e999999999"), "number is infinity", id="infinity"),
        pytest.param(RAW.replace(AMOUNT, b"1" * 1_000_000), "number is infinity", id="a million digits"),
        pytest.param(RAW.replace(AMOUNT, b'"\\ud800"'), "surrogate", id="lone surrogate"),
        pytest.param(
            RAW.replace(AMOUNT, b"[" * 100_000 + b"]" * 100_000), "depth limit exceeded", id="a hundred thousand levels"
        ),
    ],
)
def test_bytes_that_are_not_json(body: bytes, problem: str) -> None:
    with pytest.raises(BadReview, match=r"^not JSON: .*") as caught:
        parse(body)
    assert problem in str(caught.value)
    assert caught.value.path == ()


def test_of_a_key_that_stands_twice_the_last_counts_as_for_the_api_server() -> None:
    body = RAW.replace(b'"operation":', b'"operation":"DELETE","operation":')
    assert parse(body).asked.operation == "CREATE"


@pytest.mark.parametrize("number", [b"11111111111111111111", b"-1e308", b"0.1", b"-0.0", b"1e-308"])
def test_any_number_that_json_has_is_judged_as_a_quantity(number: bytes) -> None:
    answer = orjson.loads(mutate(parse(RAW.replace(AMOUNT, number)), SETTINGS).review("uid"))
    assert answer["response"]["allowed"] in (True, False)


# --- nothing else comes out


@given(st.binary(max_size=200))
def test_random_bytes_are_bad_reviews(body: bytes) -> None:
    with pytest.raises(BadReview):
        parse(body)


LEAF = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUE = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [place for key, inner in inside for place in _places(inner, (*path, key))]


SAMPLE = _review(lambda r: r["object"]["spec"].update(initContainers=[_compliant()["spec"]["containers"][0]], volumes=[{}]))
PLACES = _places(SAMPLE)[1:]


@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUE), min_size=1, max_size=3))
def test_a_review_with_anything_anywhere_is_answered_or_a_bad_review(mutations: list[tuple[tuple[Any, ...], Any]]) -> None:
    body = copy.deepcopy(SAMPLE)
    for (*above, last), value in mutations:
        here: Any = body
        for part in above:
            here = (
                here.get(part)
                if isinstance(here, dict)
                else here[part]
                if isinstance(here, list) and part in range(len(here))
                else None
            )
        if (isinstance(here, dict) and isinstance(last, str)) or (isinstance(here, list) and last in range(len(here))):
            here[last] = value
    try:
        request = parse(orjson.dumps(body))
    except BadReview:
        return
    for decide in (mutate, validate):
        response = orjson.loads(decide(request, SETTINGS).review(request.asked.uid))["response"]
        assert response["uid"] == request.asked.uid
        assert response["allowed"] or response["status"]["message"]
