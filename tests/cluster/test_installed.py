"""Replicas that find no certificates, or none that are good any more, agree on one CA; until then nothing gets past them."""

import math
from collections.abc import Callable

import pytest

from tests.cluster.creators import Create
from tests.cluster.installed import READY, broken, judged
from tests.cluster.play import Figures
from tests.minimal import tweaked


def test_replicas_that_start_at_the_same_moment_agree_on_one_ca_and_heal_what_has_expired(
    scenario: Callable[..., Figures],
) -> None:
    figures = scenario("installed", "--only", "fresh", "expired", "--times", "3")
    assert figures["broken"] == []
    assert [each["case"] for each in figures["cases"]] == ["fresh", "fresh", "fresh", "expired"]
    for each in figures["cases"]:
        assert each["one_ca"]
        assert min(each["refused"], each["succeeded"], each["plain"]) > 0
        assert (each["failed_later"], each["plain_failed"], each["let_through"]) == (0, 0, 0)
    assert [each["cas"] for each in figures["cases"][:3]] == [1, 1, 1]


SEEN: Figures = {
    "cases": [
        {
            "case": "fresh",
            "ready_once_up_seconds": 2.0,
            "succeeded": 100,
            "plain_failed": 0,
            "let_through": 0,
            "failed_later": 0,
            "problems": {},
            "one_ca": True,
        }
    ]
}


@pytest.mark.parametrize(
    ("figure", "value", "sentences"),
    [
        ("succeeded", 1, []),
        ("succeeded", 0, ["fresh: no annotated pod was ever created"]),
        ("plain_failed", 3, ["fresh: 3 plain pods were refused"]),
        ("let_through", 3, ["fresh: 3 annotated pods were let through without us"]),
        ("failed_later", 3, ["fresh: 3 creates failed after the first success: {}"]),
        ("ready_once_up_seconds", READY + 1, ["fresh: ready only after 11.0 s"]),
        ("one_ca", False, ["fresh: there isn't one CA, trusted by every entry, in the end"]),
        ("cas", 1, []),
        ("cas", 2, ["fresh: 2 CAs were in the Secret"]),
        ("half_way", "trusting", []),
        ("half_way", "stable", ["fresh: it was not left half-way, but before stable"]),
        ("rotating_when_it_ended", True, []),
        ("rotating_when_it_ended", False, ["fresh: the CA didn't end while it was replaced"]),
    ],
)
def test_each_broken_promise_is_named(figure: str, value: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {f"cases.0.{figure}": value})) == sentences


def test_a_run_without_a_case_keeps_no_promise() -> None:
    assert broken({"cases": []}) == ["nothing was played"]


def test_creates_are_judged_by_what_there_was_when_they_were_sent() -> None:
    creates = [
        Create(annotated=True, stored=False, due=1.0, seconds=0.1, problem="500 no endpoints available"),
        Create(annotated=True, stored=False, due=2.0, seconds=0.5, problem=""),
        Create(annotated=True, stored=False, due=2.2, seconds=0.5, problem="500 sent before the first one succeeded"),
        Create(annotated=True, stored=False, due=3.0, seconds=0.1, problem="500 x509"),
        Create(annotated=True, stored=True, due=3.1, seconds=0.1, problem="app: no whole CPUs"),
        Create(annotated=False, stored=False, due=3.2, seconds=0.1, problem="500 refused"),
    ]
    assert judged(creates) == {
        "annotated": 5,
        "plain": 1,
        "succeeded": 1,
        "refused": 4,
        "plain_failed": 1,
        "failed_later": 2,
        "let_through": 1,
        "problems": {"500 x509": 1, "app: no whole CPUs": 1},
    }
    assert judged(creates, since=-math.inf)["failed_later"] == 4
