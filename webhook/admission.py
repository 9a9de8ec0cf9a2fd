"""AdmissionReview bytes in, AdmissionReview bytes out; the only place that knows admission.k8s.io/v1.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

import orjson

from webhook.options import ANNOTATION
from webhook.path import Path, dotted, shown
from webhook.pod import Pod, parse_pod
from webhook.quantity import json_type
from webhook.report import refusal, rejection, shortfall, warnings
from webhook.review import Decision, Finding, review
from webhook.settings import Settings
from webhook.shape import Malformed, check_depth

API_VERSION: Final = "admission.k8s.io/v1"
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT")


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


def parse(body: bytes) -> Request:
    """The request in a review; BadReview, with the path, for anything else."""
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
    _check_kind(request)
    if operation in ("DELETE", "CONNECT"):
        return Request(uid, operation, None, {}, is_resize=False)
    try:
        pod = parse_pod(request.get("object"), ("request", "object"))
    except Malformed as error:
        raise BadReview(error.path, error.problem) from error
    is_resize = request.get("subResource") == "resize"
    return Request(uid, operation, pod, _annotations(request.get("oldObject")), is_resize)


def _check_kind(request: dict[str, Any]) -> None:
    """A review of anything but a pod means that the registration is wrong, which only a loud answer brings to light."""
    kind = request.get("kind")
    if not isinstance(kind, dict):
        raise BadReview(("request", "kind"), f"an object is expected, not {json_type(kind)}")
    for field, expected in (("group", ""), ("version", "v1"), ("kind", "Pod")):
        value = kind.get(field)
        if value != expected and not (field == "group" and value is None):
            raise BadReview(("request", "kind", field), f"'{expected}' is expected, not {_show(value)}")
    if request.get("subResource") not in (None, "", "resize"):
        raise BadReview(("request", "subResource"), f"a review of pods is expected, not of {_show(request['subResource'])}")


def _annotations(old: object) -> dict[str, Any]:
    metadata = old.get("metadata") if isinstance(old, dict) else None
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations if isinstance(annotations, dict) else {}


def mutate(request: Request, settings: Settings) -> bytes:
    """The review's answer with the patch, or with every reason why there can't be one. Only a CREATE is ever patched:
    the spec of a pod that exists is immutable."""
    if request.pod is None or request.operation != "CREATE":
        return _answer(request)
    decision = review(request.pod, settings)
    if decision.allowed:
        return _answer(request, decision, warnings=warnings(decision))
    return _refusal(request, [rejection(finding) for finding in decision.rejections], warnings(decision))


def validate(request: Request, settings: Settings) -> bytes:
    """The review's answer: refused, with every reason, while any rule still has something to say."""
    if request.pod is None:
        return _answer(request)
    if request.operation == "UPDATE" and not request.is_resize:
        if not request.pod.is_annotated or request.old_annotations.get(ANNOTATION) == "true":
            return _answer(request)
        return _refusal(request, [rejection(_TURNED_ON)], [])
    decision = review(request.pod, settings)
    if decision.is_compliant:
        return _answer(request)
    reasons = [rejection(finding) for finding in decision.rejections]
    return _refusal(request, reasons + [shortfall(change) for change in decision.changes], [])


_TURNED_ON: Final = Finding(
    "opt_in",
    None,
    ("metadata", "annotations", ANNOTATION),
    "turned on too late",
    "the spec of a pod that exists can't be changed; delete it and create it with the annotation",
)


def _answer(request: Request, decision: Decision | None = None, *, warnings: list[str] | None = None) -> bytes:
    response: dict[str, Any] = {"uid": request.uid, "allowed": True}
    if decision is not None and decision.changes:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps(decision.patch)).decode()
    return _review(response, warnings or [])


def _refusal(request: Request, reasons: list[str], warnings: list[str]) -> bytes:
    """Code 422 and reason Invalid make kubectl print the lines as they are, behind the webhook's name."""
    status = {"status": "Failure", "code": 422, "reason": "Invalid", "message": refusal(reasons)}
    return _review({"uid": request.uid, "allowed": False, "status": status}, warnings)


def _review(response: dict[str, Any], warnings: list[str]) -> bytes:
    if warnings:
        response["warnings"] = warnings
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _show(value: object) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else json_type(value)
