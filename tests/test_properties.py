"""What holds for every pod, over random ones."""

import copy
from typing import Any

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle import unexpected_changes, violations
from tests.strategies import annotated_pods, plain_pods, pods
from webhook.pod import parse_pod
from webhook.review import Decision, review
from webhook.rules import RULES
from webhook.settings import Settings

SETTINGS = Settings()


def decide(pod: dict[str, Any]) -> Decision:
    return review(parse_pod(pod), SETTINGS)


@given(pods())
def test_the_patch_applied_to_the_input_gives_the_pod(pod: dict[str, Any]) -> None:
    decision = decide(pod)
    assert jsonpatch.JsonPatch(decision.patch).apply(pod) == decision.pod


@given(pods())
def test_the_input_is_never_written_to(pod: dict[str, Any]) -> None:
    before = copy.deepcopy(pod)
    decide(pod)
    assert pod == before


@given(annotated_pods())
def test_a_second_pass_is_silent(pod: dict[str, Any]) -> None:
    first = decide(pod)
    if first.allowed:
        second = decide(dict(first.pod))
        assert second.patch == []
        assert second.rejections == ()


@given(annotated_pods(), st.permutations(RULES))
def test_rules_in_any_order_give_the_same_pod_and_the_same_refusals(pod: dict[str, Any], order: Any) -> None:
    usual, shuffled = decide(pod), review(parse_pod(pod), SETTINGS, order)
    assert shuffled.pod == usual.pod
    assert set(shuffled.rejections) == set(usual.rejections)


@given(annotated_pods())
def test_an_allowed_pod_keeps_the_promise(pod: dict[str, Any]) -> None:
    decision = decide(pod)
    if decision.allowed:
        assert violations(dict(decision.pod), before=pod) == []


@given(annotated_pods())
def test_nothing_else_is_changed(pod: dict[str, Any]) -> None:
    decision = decide(pod)
    if decision.allowed:
        assert unexpected_changes(pod, dict(decision.pod)) == []


@given(plain_pods())
def test_a_pod_that_does_not_ask_is_untouched(pod: dict[str, Any]) -> None:
    decision = decide(pod)
    assert decision.allowed
    assert decision.patch == []
    assert decision.pod == pod


@given(pods())
def test_only_add_replace_and_remove_are_emitted(pod: dict[str, Any]) -> None:
    assert {operation["op"] for operation in decide(pod).patch} <= {"add", "replace", "remove"}
