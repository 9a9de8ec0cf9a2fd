"""What holds for every pod at every site, checked all at once on one review of it."""

import base64
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

import jsonpatch
import orjson

from scripts.review import admission_review
from tests.oracle import unexpected_changes, violations
from tests.oracle.changes import differences
from tests.oracle.pod import is_promised
from tests.strategies import Case
from webhook import admission
from webhook.envelope import glance
from webhook.memo import Memo
from webhook.pod import parse_pod
from webhook.report import changes, warnings
from webhook.review import Decision, review
from webhook.settings import Settings

_ALWAYS: Final = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}


class PropertyError(AssertionError):
    """A case for which a property does not hold; `name` says which, the message how."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


class Reviewed:
    """A case and what became of it, looked at by every property."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.written = orjson.dumps(case.pod)
        self.decision = self.decide(case.pod)

    def decide(self, pod: Any) -> Decision:
        """The decision on another pod at the same site."""
        return review(parse_pod(pod), self.case.settings)

    @cached_property
    def after(self) -> dict[str, Any]:
        """The pod as it would be."""
        return dict(self.decision.pod)

    def answered(self, pod: Any, operation: str, decide: Callable[[admission.Request, Settings], admission.Answer]) -> Any:
        """The response of /mutate or /validate, from bytes to bytes."""
        asked = admission_review(pod)
        asked["request"] |= {"operation": operation, "oldObject": None if operation == "CREATE" else self.case.pod}
        request = admission.parse(orjson.dumps(asked))
        answer = orjson.loads(decide(request, self.case.settings).review(request.asked.uid))
        response = answer.pop("response")
        return response if (answer, response.pop("uid")) == (_ALWAYS, asked["request"]["uid"]) else None


def the_input_is_never_written_to(seen: Reviewed) -> str | None:
    return None if orjson.dumps(seen.case.pod) == seen.written else "it was"


def the_patch_applied_to_the_input_gives_the_pod(seen: Reviewed) -> str | None:
    given = jsonpatch.JsonPatch(seen.decision.patch).apply(seen.case.pod)
    return None if given == seen.decision.pod else f"it gives {given}"


def only_add_replace_and_remove_are_emitted(seen: Reviewed) -> str | None:
    others = {operation["op"] for operation in seen.decision.patch} - {"add", "replace", "remove"}
    return f"{sorted(others)}" if others else None


def a_second_pass_is_silent(seen: Reviewed) -> str | None:
    if not seen.decision.allowed:
        return None
    second = seen.decide(seen.after)
    return None if second.is_compliant else f"{second.patch}, {second.rejections}"


def rules_in_any_order_give_the_same_pod_and_refusals(seen: Reviewed) -> str | None:
    shuffled = review(parse_pod(seen.case.pod), seen.case.settings, seen.case.order)
    problems = list(differences(seen.after, dict(shuffled.pod), ""))
    problems += [str(finding) for finding in set(shuffled.rejections) ^ set(seen.decision.rejections)]
    return "; ".join(problems) or None


def an_admitted_pod_keeps_the_promise(seen: Reviewed) -> str | None:
    if not seen.decision.allowed or not is_promised(seen.case.pod):
        return None
    return "; ".join(violations(seen.after, settings=seen.case.site, before=seen.case.pod)) or None


def nothing_else_is_changed(seen: Reviewed) -> str | None:
    if not seen.decision.allowed:
        return None
    return "; ".join(unexpected_changes(seen.case.pod, seen.after, settings=seen.case.site)) or None


def a_pod_that_does_not_ask_is_untouched(seen: Reviewed) -> str | None:
    decision = seen.decision
    if is_promised(seen.case.pod) or (decision.is_compliant and decision.pod == seen.case.pod):
        return None
    return f"{decision.patch}, {decision.rejections}"


def mutate_answers_what_was_decided(seen: Reviewed) -> str | None:
    decision, operation = seen.decision, seen.case.operation
    response = seen.answered(seen.case.pod, operation, admission.mutate)
    expected: dict[str, Any] = {"allowed": operation != "CREATE" or decision.allowed}
    if operation == "CREATE":
        if decision.allowed and decision.changes:
            patch = base64.b64encode(orjson.dumps(decision.patch)).decode()
            expected |= {"patchType": "JSONPatch", "patch": patch}
        if decision.warnings:
            expected["warnings"] = warnings(decision)
        findings = (*decision.rejections, *decision.warnings)
        rules = [change.rule for change in decision.changes if decision.allowed] + [finding.rule for finding in findings]
        if rules:
            expected["auditAnnotations"] = {"rules": ",".join(dict.fromkeys(rules))}
        if decision.allowed and decision.changes:
            expected["auditAnnotations"]["changes"] = changes(decision.patch)
    status = response.pop("status", {"code": 0}) if response else {}
    refused = 0 if expected["allowed"] else 422
    return None if response == expected and status["code"] == refused else f"{response} instead of {expected}, with {status}"


def a_remembered_decision_is_the_one_that_a_whole_reading_gives(seen: Reviewed) -> str | None:
    """Twice, for two replicas: they differ in the name of the token's volume, and an author may have called his own so."""
    memos = {decide: Memo(decide, seen.case.settings) for decide in (admission.mutate, admission.validate)}
    for token in (b"bcdfg", b"x7k2p"):
        for name in (b"huge", b"scratch"):
            pod = orjson.loads(seen.written.replace(b'"%b"' % name, b'"kube-api-access-%b"' % token))
            body = orjson.dumps(admission_review(pod))
            envelope = glance(body)
            if envelope is None:
                continue
            for decide, memo in memos.items():
                request = admission.parse(body)
                whole = decide(request, seen.case.settings)
                found, _ = memo.answer(envelope)
                if found is None and _has_fractions(pod):
                    continue  # quantities as the API server never writes them
                if (envelope.asked, found) != (request.asked, whole):
                    return f"{envelope.asked}, {found} instead of {request.asked}, {whole}"
    return None


def _has_fractions(value: object) -> bool:
    """Or whole numbers beyond 64 bits."""
    if isinstance(value, dict | list):
        return any(map(_has_fractions, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float)


def validate_admits_what_is_right_and_nothing_else(seen: Reviewed) -> str | None:
    decision, operation = seen.decision, seen.case.operation
    # an UPDATE of a pod whose annotation did not change alters nothing that was promised
    right = {seen.written: operation != "CREATE" or decision.is_compliant}
    if decision.allowed:
        right[orjson.dumps(seen.after)] = True
    for pod, allowed in right.items():
        response = seen.answered(orjson.loads(pod), operation, admission.validate)
        if response is None or response["allowed"] is not allowed or "patch" in response:
            return f"{response} for {pod.decode()}"
    return None


PROPERTIES: Final[tuple[Callable[[Reviewed], str | None], ...]] = (
    the_input_is_never_written_to,
    the_patch_applied_to_the_input_gives_the_pod,
    only_add_replace_and_remove_are_emitted,
    a_pod_that_does_not_ask_is_untouched,
    a_second_pass_is_silent,
    an_admitted_pod_keeps_the_promise,
    nothing_else_is_changed,
    rules_in_any_order_give_the_same_pod_and_refusals,
    mutate_answers_what_was_decided,
    a_remembered_decision_is_the_one_that_a_whole_reading_gives,
    validate_admits_what_is_right_and_nothing_else,
)


def check(case: Case) -> None:
    """PropertyError for the first property that does not hold; an exception of ours breaks the one that met it."""
    name = "a review never crashes"
    try:
        seen = Reviewed(case)
        for holds in PROPERTIES:
            name = holds.__name__.replace("_", " ")
            problem = holds(seen)
            if problem is not None:
                raise PropertyError(name, problem)
    except PropertyError:
        raise
    except Exception as error:  # whatever it is, it is what is looked for
        raise PropertyError(name, f"{type(error).__name__}: {error}") from error
