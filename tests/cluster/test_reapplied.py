"""Whoever applies the manifests again and again takes nothing out of them, and keeps no rotation from its end."""

from collections.abc import Callable

import pytest

from tests.cluster.creators import Create
from tests.cluster.play import Figures
from tests.cluster.reapplied import APPLIED, HEALED, STEPS, broken, judged
from tests.minimal import tweaked


def test_a_ca_rotates_while_a_gitops_tool_applies_the_manifests_every_second(scenario: Callable[..., Figures]) -> None:
    figures = scenario("reapplied", "--only", "server-side", "client-side")
    assert figures["broken"] == []
    assert [each["way"] for each in figures["ways"]] == ["server-side", "client-side"]
    for each in figures["ways"]:
        assert (each["failed"], each["problems"]) == (0, {})
        assert each["applied"] >= APPLIED
        assert each["steps"] == STEPS
        assert set(each["generations"].values()) == {2}


WAY: Figures = {
    "way": "server-side",
    "applied": APPLIED,
    "stored": 30,
    "failed": 0,
    "failed_later": 0,
    "problems": {},
    "stable": True,
    "generations": {"MutatingWebhookConfiguration": 2, "ValidatingWebhookConfiguration": 2},
    "writes": {"Secret": 5, "MutatingWebhookConfiguration": 2, "ValidatingWebhookConfiguration": 2},
    "steps": STEPS,
    "gaps_seconds": {"number": 0, "longest": 0.0},
}
SEEN: Figures = {"ways": [WAY, {**WAY, "way": "replaced"}]}


@pytest.mark.parametrize(
    ("place", "value", "sentences"),
    [
        ("0.applied", APPLIED, []),
        ("0.applied", 1, ["server-side: applied only 1 times"]),
        ("0.stored", 0, ["server-side: no pod was created"]),
        ("0.failed", 3, ["server-side: 3 creates failed: {}"]),
        ("1.failed", 3, []),
        ("1.failed_later", 3, ["replaced: 3 creates failed when the tool had ended: {}"]),
        ("0.stable", False, ["server-side: there isn't one CA, trusted by every entry, in the end"]),
        ("0.generations", {}, ["server-side: the configurations changed otherwise than by us: {}"]),
        ("0.steps", {}, ["server-side: a rotation took other steps: {}"]),
        ("1.steps", {}, []),
        ("0.writes.MutatingWebhookConfiguration", 9, ["server-side: 9 writes of MutatingWebhookConfiguration"]),
        ("0.writes.Secret", 9, []),
        ("1.gaps_seconds.longest", HEALED + 1, ["replaced: a caBundle was empty for 6.0 s"]),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {f"ways.{place}": value})) == sentences


def test_a_run_without_a_way_keeps_no_promise() -> None:
    assert broken({"ways": []}) == ["nothing was played"]


def test_what_fails_when_the_tool_has_ended_is_counted_apart() -> None:
    creates = [Create(annotated=True, stored=True, due=due, seconds=0.1, problem="500 x509") for due in (1.0, 3.0)]
    assert judged(creates, ended=2.0) == {
        "stored": 2,
        "creates": 2,
        "failed": 2,
        "failed_later": 1,
        "problems": {"500 x509": 2},
    }
