"""What holds for every pod, over random ones; and that each property can fail."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given

from tests.properties import PROPERTIES, check
from tests.soak.search import search, shrunk, told
from tests.strategies import Case, annotated_pods, cases
from webhook import admission
from webhook.edits import UNSET, Append, Edit, Reject, Set
from webhook.pod import Pod, parse_pod
from webhook.review import review
from webhook.rules import RULES, Rule
from webhook.settings import Settings


@given(cases())
def test_every_property_holds(case: Case) -> None:
    check(case)


def test_every_property_holds_on_the_first_cases_of_the_soak() -> None:
    failure = search(0, range(3_000))
    assert failure is None, told(failure, shrunk(failure))


@given(annotated_pods(calm=True))
def test_a_pod_that_holds_nothing_to_reject_is_admitted(pod: dict[str, Any]) -> None:
    assert review(parse_pod(pod), Settings()).rejections == ()


# --- each property finds the bug that it is there for


def _rules(*rules: Rule) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr("webhook.review.review.__defaults__", (rules,))


def _with(propose: Callable[[Pod, Settings], Iterator[Edit]]) -> Callable[[pytest.MonkeyPatch], None]:
    return _rules(*RULES, Rule("planted", propose, ""))


def _scribble(pod: Pod, settings: Settings) -> Iterator[Edit]:
    vars(pod)["raw"]["metadata"]["seen"] = True
    yield from ()


def _once_more(pod: Pod, settings: Settings) -> Iterator[Edit]:
    yield Append(("spec", "volumes"), {"name": f"v{len(pod.volumes)}"}, "planted")


def _elsewhere(pod: Pod, settings: Settings) -> Iterator[Edit]:
    if pod.spec.get("priority", UNSET) is UNSET:
        yield Set(("spec", "priority"), 1, "planted")


def _too_early(pod: Pod, settings: Settings) -> Iterator[Edit]:
    if not all(container.limits.get("cpu") for container in pod.containers):
        yield Reject(("spec",), "planted", "in the usual order every container has its CPUs by now, or is refused")


def _crash(pod: Pod, settings: Settings) -> Iterator[Any]:
    yield 1 / 0


PLANTED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a review never crashes": _with(_crash),
    "the input is never written to": _with(_scribble),
    "the patch applied to the input gives the pod": lambda patch: patch.setattr(
        "webhook.review.Decision.patch", property(lambda decision: [])
    ),
    "only add replace and remove are emitted": lambda patch: patch.setattr(
        "webhook.review.Decision.patch",
        property(
            lambda decision: [
                {"op": "test", "path": "/kind", "value": "Pod"},
                *(c.operation.as_json() for c in decision.changes),
            ]
        ),
    ),
    "a pod that does not ask is untouched": lambda patch: patch.setattr("webhook.pod.Pod.is_annotated", True),
    "a second pass is silent": _with(_once_more),
    "an admitted pod keeps the promise": _rules(*(rule for rule in RULES if rule.id != "ipc_lock")),
    "nothing else is changed": _with(_elsewhere),
    "rules in any order give the same pod and refusals": _with(_too_early),
    "mutate answers what was decided": lambda patch: patch.setattr(admission, "mutate", admission.validate),
    "a remembered decision is the one that a whole reading gives": lambda patch: patch.setattr(
        "webhook.memo.Memo.answer", lambda memo, envelope: (memo._answer(envelope.spec, ()), "miss")
    ),
    "validate admits what is right and nothing else": lambda patch: patch.setattr(admission, "validate", admission.mutate),
}


def test_every_property_has_its_bug() -> None:
    assert list(PLANTED)[1:] == [holds.__name__.replace("_", " ") for holds in PROPERTIES]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_breaks_its_property(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert search(1, range(200)) is None
    PLANTED[name](monkeypatch)
    failure = search(1, range(200))
    assert failure is not None
    assert failure.property == name
