"""AdmissionReview bytes in, AdmissionReview bytes out; the only place that knows admission.k8s.io/v1.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import orjson
from msgspec import Struct

from webhook.options import ANNOTATION
from webhook.path import Path, dotted, shown
from webhook.pod import Pod, parse_pod
from webhook.quantity import json_type
from webhook.report import advice, changes, refusal, rejection, shortfall, warnings
from webhook.review import Decision, Finding, review
from webhook.settings import Settings
from webhook.shape import Malformed, check_depth
from webhook.verdict import Asked, Counts, Outcome, Verdict
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


class Request(Struct, frozen=True):
    """What is asked about: `request` of the review, checked. `pod` is None for DELETE."""

    asked: Asked
    pod: Pod | None
    old_annotations: dict[str, Any]
    is_resize: bool  # pods/resize: the one way in which the resources of a pod that exists can change


class WorkloadRequest(Struct, frozen=True):
    """A workload that is asked about; no subject for DELETE."""

    asked: Asked
    subjects: tuple[Subject, ...]


class Answer(Struct, frozen=True):
    """The answer to a review, but for its uid."""

    verdict: Verdict
    response: bytes  # JSON of `response` behind the uid: `"allowed":true,…}`
    patch: bytes = b""  # JSON; the response has it in base64

    def review(self, uid: str) -> bytes:
        """The AdmissionReview."""
        return b"".join((_HEAD, orjson.dumps(uid), b",", self.response, b"}"))


Decide: TypeAlias = Callable[["Request", Settings], Answer]

_HEAD: Final = b'{"apiVersion":"%b","kind":"AdmissionReview","response":{"uid":' % API_VERSION.encode()


def parse(body: bytes) -> Request:
    """The request in a review of a pod; BadReview, with the path, for anything else."""
    request, asked = _request(body)
    _check_kind(request, {"Pod": "v1"})
    if request.get("subResource") not in (None, "", "resize", "status"):
        raise BadReview(("request", "subResource"), f"a review of pods is expected, not of {_show(request['subResource'])}")
    if asked.operation in ("DELETE", "CONNECT"):
        return Request(asked, None, {}, is_resize=False)
    try:
        pod = parse_pod(request.get("object"), _OBJECT)
    except Malformed as error:
        raise BadReview(error.path, error.problem) from error
    is_resize = request.get("subResource") == "resize"
    return Request(asked, pod, _annotations(request.get("oldObject")), is_resize)


def parse_workload(body: bytes) -> WorkloadRequest:
    """The request in a review of a workload; BadReview, with the path, for anything else."""
    request, asked = _request(body)
    _check_kind(request, WORKLOADS)
    if asked.operation in ("DELETE", "CONNECT"):
        return WorkloadRequest(asked, ())
    try:
        found = subjects(request.get("object"), _OBJECT)
    except Malformed as error:
        raise BadReview(error.path, error.problem) from error
    return WorkloadRequest(asked, tuple(found))


def _request(body: bytes) -> tuple[dict[str, Any], Asked]:
    """(request, what of it is logged)"""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadReview((), f"not JSON: {error}") from error
    try:
        check_depth(document, has_aliases=False)
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
    return request, _asked(request, uid, operation)


def _asked(request: dict[str, Any], uid: str, operation: str) -> Asked:
    """Nobody relies on these: what isn't a string is as good as absent."""
    given, user = request.get("object"), request.get("userInfo")
    metadata = given.get("metadata") if isinstance(given, dict) else None
    named = metadata if isinstance(metadata, dict) else {}
    names = (named.get("name"), named.get("generateName"), request.get("name"))
    return Asked(
        uid,
        operation,
        _text(request.get("namespace")),
        next((text for text in map(_text, names) if text), ""),
        request.get("dryRun") is True,
        _text(user.get("username")) if isinstance(user, dict) else "",
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


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


def mutate(request: Request, settings: Settings) -> Answer:
    """The review's answer with the patch, or with every reason why there can't be one. Only a CREATE is ever patched:
    the spec of a pod that exists is immutable."""
    if request.pod is None or request.asked.operation != "CREATE":
        return _IGNORED
    decision = review(request.pod, settings)
    if decision.allowed:
        return _allowed(decision)
    rejected = _counts(finding.rule for finding in decision.rejections)
    verdict = Verdict("refused", rejections=rejected, warnings=_counts(finding.rule for finding in decision.warnings))
    return _refused(verdict, [rejection(finding) for finding in decision.rejections], warnings(decision))


def validate(request: Request, settings: Settings) -> Answer:
    """The review's answer: refused, with every reason, while any rule still has something to say."""
    if request.pod is None:
        return _IGNORED
    operation = request.asked.operation
    if operation == "UPDATE" and not request.is_resize:
        if not request.pod.is_annotated or request.old_annotations.get(ANNOTATION) == "true":
            return _IGNORED
        return _refused(Verdict("refused", rejections=((_TURNED_ON.rule, 1),)), [rejection(_TURNED_ON)], [])
    decision = review(request.pod, settings)
    if decision.is_compliant:
        return _answer(Verdict("unchanged") if decision.is_promised else Verdict("ignored"), {"allowed": True})
    reasons = [rejection(finding) for finding in decision.rejections] + [shortfall(change) for change in decision.changes]
    # a pod that is created was set right or refused by /mutate: its author reads of fields here that somebody else wrote
    said = [*(finding.rule for finding in decision.rejections), *(change.rule for change in decision.changes)]
    rejected = _counts(said)
    head = _CHANGED_SINCE if operation == "CREATE" else _AS_IT_IS
    return _refused(Verdict("refused", rejections=rejected), reasons, [], head)


def warn(request: WorkloadRequest, settings: Settings) -> Answer:
    """The review's answer: allowed, always. Whoever applies a workload is told here what becomes of its pods; when they are
    refused, only the events of its ReplicaSet, or of its Job, say so."""
    found = request.subjects if settings.warn_workloads else ()
    decisions = [subject.decide(settings) for subject in found]
    lines = [line for subject, decision in zip(found, decisions, strict=True) for line in advice(subject, decision)]
    said = _counts(finding.rule for decision in decisions for finding in (*decision.rejections, *decision.warnings))
    is_promised = any(decision.is_promised for decision in decisions)
    return _answer(Verdict("unchanged" if is_promised else "ignored", warnings=said), {"allowed": True}, lines)


_R = TypeVar("_R", Request, WorkloadRequest)


def whole(
    body: bytes, parse: Callable[[bytes], _R], decide: Callable[[_R, Settings], Answer], settings: Settings
) -> tuple[Asked, Answer]:
    """A review read to its last field: who asked, and the answer. It stands here, where a worker process finds it without
    loading the web framework."""
    request = parse(body)
    return request.asked, decide(request, settings)


_TURNED_ON: Final = Finding(
    "opt_in",
    None,
    ("metadata", "annotations", ANNOTATION),
    "turned on too late",
    "the spec of a pod that exists can't be changed; delete it and create it with the annotation",
)


def _allowed(decision: Decision) -> Answer:
    said = _counts([finding.rule for finding in decision.warnings])
    if not decision.changes:
        outcome: Outcome = "unchanged" if decision.is_promised else "ignored"
        return _answer(Verdict(outcome, warnings=said), {"allowed": True}, warnings(decision))
    verdict = Verdict("changed", len(decision.changes), _counts([change.rule for change in decision.changes]), (), said)
    operations = decision.patch
    patch = memoryview(orjson.dumps(operations)).tobytes()  # orjson's own bytes keep its whole buffer, and this is kept
    response = {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
    return _answer(verdict, response, warnings(decision), patch, {"changes": changes(operations)})


def _refused(verdict: Verdict, reasons: list[str], warnings: list[str], head: str = _AS_IT_IS) -> Answer:
    """Code 422 and reason Invalid make kubectl print the lines as they are, behind the webhook's name."""
    status = {"status": "Failure", "code": 422, "reason": "Invalid", "message": refusal(reasons, head)}
    return _answer(verdict, {"allowed": False, "status": status}, warnings)


def _answer(
    verdict: Verdict,
    response: dict[str, Any],
    warnings: list[str] | None = None,
    patch: bytes = b"",
    audit: dict[str, str] | None = None,
) -> Answer:
    if warnings:
        response["warnings"] = warnings
    rules = verdict.rules
    if rules:
        response["auditAnnotations"] = {"rules": ",".join(rules)} | (audit or {})
    return Answer(verdict, orjson.dumps(response)[1:], patch)


_IGNORED: Final = _answer(Verdict("ignored"), {"allowed": True})


def _counts(rules: Iterable[str]) -> Counts:
    counts: dict[str, int] = {}
    for rule in rules:
        counts[rule] = counts.get(rule, 0) + 1
    return tuple(counts.items())


def _show(value: object) -> str:
    return f"'{shown(value)}'" if isinstance(value, str) else json_type(value)
