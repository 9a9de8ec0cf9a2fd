"""A cluster that starts with the webhook last of all recovers by itself, and nobody else has to wait for that."""

import math
from collections.abc import Callable

import pytest

from tests.cluster.coldstart import CASES, RECOVERED, broken, is_ready, judged
from tests.cluster.play import Figures
from tests.cluster.stream import Made
from tests.minimal import tweaked


def test_a_cluster_that_was_killed_recovers_unaided(scenario: Callable[..., Figures]) -> None:
    figures = scenario("coldstart")
    assert figures["broken"] == []
    assert [each["case"] for each in figures["cases"]] == list(CASES)
    for each in figures["cases"]:
        assert (each["plain_refused"], each["let_through"], each["refused_later"]) == (0, 0, 0)
        assert min(each["plain"], each["refused"]) > 20
        assert all(said.keys() == {"201"} and said["201"] >= 5 for said in each["own"].values())
        assert sorted(each["own"]) == ["dpdk-webhook", "kube-system"]


CASE: Figures = {
    "case": "restarted",
    "own": {"kube-system": {"201": 9}},
    "promised_seconds": RECOVERED["restarted"],
    "whole_seconds": 4.0,
    "stored": 40,
    "plain": 60,
    "plain_refused": 0,
    "let_through": 0,
    "refused": 90,
    "refused_later": 0,
    "recovered_seconds": 3.0,
    "problems": {},
}


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("refused", 0, "no annotated pod was refused: there was always a replica"),
        ("plain", 0, "no pod was created"),
        ("plain_refused", 2, "2 plain pods were refused: {}"),
        ("let_through", 3, "3 annotated pods were let through without us"),
        (
            "own.kube-system",
            {"201": 8, "500": 1},
            "pods that don't need us were refused: {'kube-system': {'201': 8, '500': 1}}",
        ),
        ("recovered_seconds", math.inf, "no annotated pod for inf s after a node was there"),
        ("whole_seconds", math.inf, "the replicas never came back"),
        ("refused_later", 4, "4 creates failed when all replicas were ready: {}"),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentence: str) -> None:
    assert broken(tweaked({"cases": [CASE]}, {f"cases.0.{place}": value})) == [f"restarted: {sentence}"]


def test_a_kept_promise_is_not_and_a_run_without_a_case_keeps_none() -> None:
    assert (broken({"cases": [CASE]}), broken({"cases": []})) == ([], ["nothing was played"])


def test_creates_are_told_apart_by_when_they_were_sent() -> None:
    creates = [
        Made(annotated=True, stored=False, due=1, seconds=0.1, problem="500 refused"),
        Made(annotated=True, stored=False, due=2, seconds=0.1, problem="no hugepages"),
        Made(annotated=True, stored=True, due=7, seconds=0.5, problem="", version=9),
        Made(annotated=True, stored=False, due=9, seconds=0.1, problem="500 late"),
        Made(annotated=False, stored=False, due=9, seconds=0.1, problem="000 gone"),
    ]
    assert judged(creates, started=5, whole=8) == {
        "annotated": 4,
        "plain": 1,
        "stored": 1,
        "plain_refused": 1,
        "let_through": 1,
        "refused": 2,
        "refused_later": 1,
        "recovered_seconds": 2.5,
        "problems": {"500 late": 1, "000 gone": 1},
    }


def test_a_pod_that_is_about_to_go_counts_for_none() -> None:
    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    assert is_ready({"metadata": {}, "status": status})
    assert not is_ready({"metadata": {"deletionTimestamp": "now"}, "status": status})
    assert not is_ready({"metadata": {}, "status": {}})
