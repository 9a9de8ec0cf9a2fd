"""AdmissionReview bytes in, AdmissionReview bytes out; the only place that knows admission.k8s.io/v1.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from webhook.options import ANNOTATION
from webhook.path import Path, dotted, shown
from webhook.pod import Pod, parse_pod
from webhook.quantity import json_type
from webhook.report import advice, refusal, rejection, shortfall, warnings
from webhook.review import Decision, Finding, review
from webhook.settings import Settings
from webhook.shape import Malformed, check_depth
from webhook.workload import WORKLOADS, Subject, subjects

API_VERSION: Final = "admission.k8s.io/v1"
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT")
_AS_IT_IS: Final = "this pod can't run DPDK as it is"
_CHANGED_SINCE: Final = "another webhook changed this pod after dpdk-webhook's turn, and now it can't run DPDK"
_OBJECT: Final[Path] = ("request", "object")


class BadReview(ValueError):
    """Not an AdmissionReview that can be answered: `path` says where, `problem` what was expected there."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{dotted(path)}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked about: `request` of the review, checked. `pod` is None for DELETE."""

    uid: str
    operation: str
    pod: Pod | None
    old_annotations: dict[str, Any]
    is_resize: bool  # pods/resize: the one way in which the resources of a pod that exists can change


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """A workload that is asked about; no subject for DELETE."""

    uid: str
    subjects: tuple[Subject, ...]


def parse(body: bytes) -> Request:
    """The request in a review of a pod; BadReview, with the path, for anything else."""
    request, uid, operation = _request(body)
    _check_kind(request, {"Pod": "v1"})
    if request.get("subResource") not in (None, "", "resize", "status"):
        raise BadReview(("request", "subResource"), f"a review of pods is expected, not of {_show(request['subResource'])}")
    if operation in ("DELETE", "CONNECT"):
        return Request(uid, operation, None, {}, is_resize=False)
    try:
        pod = parse_pod(request.get("object"), _OBJECT)
    except Malformed as error:
        raise BadReview(error.path, error.problem) from error
    is_resize = request.get("subResource") == "resize"
    return Request(uid, operation, pod, _annotations(request.get("oldObject")), is_resize)


def parse_workload(body: bytes) -> WorkloadRequest:
    """The request in a review of a workload; BadReview, with the path, for anything else."""
    request, uid, operation = _request(body)
    _check_kind(request, WORKLOADS)
    if operation in ("DELETE", "CONNECT"):
        return WorkloadRequest(uid, ())
    try:
        found = subjects(request.get("object"), _OBJECT)
    except Malformed as error:
        raise BadReview(error.path, error.problem) from error
    return WorkloadRequest(uid, tuple(found))


def _request(body: bytes) -> tuple[dict[str, Any], str, str]:
    """(request, uid, operation)"""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReview((), f"not JSON: {error}") from error
    try:
        check_depth(document)
    except Malformed as error:
        raise BadReview(error.path, error.problem) from error
    if not isinstance(document, dict):
        raise BadReview((), f"an AdmissionReview is expected, not {json_type(document)}")
    for field, expected in (("apiVersion", API_VERSION), ("kind", "AdmissionReview")):
        if document.get(field) != expected:
            raise BadReview((field,), f"'{expected}' is expected, not {_show(document.get(field))}")
    request = document.get("request")
    if not isinstance(request, dict):
        raise BadReview(("request",), f"an object is expected, not {json_type(request)}")
    uid, operation = request.get("uid"), request.get("operation")
    if not isinstance(uid, str) or not uid:
        raise BadReview(("request", "uid"), f"a string is expected, not {_show(uid)}")
    if operation not in OPERATIONS:
        raise BadReview(("request", "operation"), f"one of {', '.join(OPERATIONS)} is expected, not {_show(operation)}")
    return request, uid, operation


def _check_kind(request: dict[str, Any], kinds: Mapping[str, str]) -> None:
    """A review of anything else means that the registration is wrong, which only a loud answer brings to light."""
    given = request.get("kind")
    if not isinstance(given, dict):
        raise BadReview(("request", "kind"), f"an object is expected, not {json_type(given)}")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        expected = f"'{next(iter(kinds))}'" if len(kinds) == 1 else f"one of {', '.join(kinds)}"
        raise BadReview(("request", "kind", "kind"), f"{expected} is expected, not {_show(kind)}")
    group, _, version = kinds[kind].rpartition("/")
    for field, expected in (("group", group), ("version", version)):
        value = given.get(field)
        if value != expected and not (field == "group" and not group and value is None):
            raise BadReview(("request", "kind", field), f"'{expected}' is expected, not {_show(value)}")


def _annotations(old: object) -> dict[str, Any]:
    metadata = old.get("metadata") if isinstance(old, dict) else None
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}


def mutate(request: Request, settings: Settings) -> bytes:
    """The review's answer with the patch, or with every reason why there can't be one. Only a CREATE is ever patched:
    the spec of a pod that exists is immutable."""
    if request.pod is None or request.operation != "CREATE":
        return _answer(request.uid)
    decision = review(request.pod, settings)
    if decision.allowed:
        return _answer(request.uid, decision, warnings=warnings(decision))
    return _refusal(request, [rejection(finding) for finding in decision.rejections], warnings(decision))


def validate(request: Request, settings: Settings) -> bytes:
    """The review's answer: refused, with every reason, while any rule still has something to say."""
    if request.pod is None:
        return _answer(request.uid)
    if request.operation == "UPDATE" and not request.is_resize:
        if not request.pod.is_annotated or request.old_annotations.get(ANNOTATION) == "true":
            return _answer(request.uid)
        return _refusal(request, [rejection(_TURNED_ON)], [])
    decision = review(request.pod, settings)
    if decision.is_compliant:
        return _answer(request.uid)
    reasons = [rejection(finding) for finding in decision.rejections] + [shortfall(change) for change in decision.changes]
    # a pod that is created was set right or refused by /mutate: its author reads of fields here that somebody else wrote
    return _refusal(request, reasons, [], _CHANGED_SINCE if request.operation == "CREATE" else _AS_IT_IS)


def warn(request: WorkloadRequest, settings: Settings) -> bytes:
    """The review's answer: allowed, always. Whoever applies a workload is told here what becomes of its pods; when they are
    refused, only the events of its ReplicaSet, or of its Job, say so."""
    found = request.subjects if settings.warn_workloads else ()
    return _answer(request.uid, warnings=[line for subject in found for line in advice(subject, subject.decide(settings))])


_TURNED_ON: Final = Finding(
    "opt_in",
    None,
    ("metadata", "annotations", ANNOTATION),
    "turned on too late",
    "the spec of a pod that exists can't be changed; delete it and create it with the annotation",
)


def _answer(uid: str, decision: Decision | None = None, *, warnings: list[str] | None = None) -> bytes:
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if decision is not None and decision.changes:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(decision.patch)).decode()
    return _review(response, warnings or [])


def _refusal(request: Request, reasons: list[str], warnings: list[str], head: str = _AS_IT_IS) -> bytes:
    """Code 422 and reason Invalid make kubectl print the lines as they are, behind the webhook's name."""
    status = {"status": "Failure", "code": 422, "reason": "Invalid", "message": refusal(reasons, head)}
    return _review({"uid": request.uid, "allowed": False, "status": status}, warnings)


def _review(response: dict[str, Any], warnings: list[str]) -> bytes:
    if warnings:
        response["warnings"] = warnings
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _show(value: object) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else json_type(value)
