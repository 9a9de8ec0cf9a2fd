"""Nobody who creates pods notices that the webhook is restarted; whoever is on a replica that is killed does."""

from collections.abc import Callable

import pytest

from tests.cluster.counters import MUTATE, VALIDATE
from tests.cluster.creators import pod
from tests.cluster.play import Figures
from tests.cluster.rolling import broken
from tests.minimal import tweaked
from tests.oracle import violations


def test_rolling_restarts_cost_no_create_and_a_kill_what_was_in_flight(scenario: Callable[..., Figures]) -> None:
    figures = scenario("rolling", "--restarts", "2", "--kills", "2", "--drain", "2")
    assert figures["broken"] == []
    assert figures["unmatched"] == {"pods": 20, "calls": 0}
    rolled = figures["rolled"]
    assert rolled["exit_codes"] == {"0": 6}
    creates = rolled["creates"]
    assert (creates["failed"], creates["problems"]) == (0, {})
    assert min(creates["plain"], creates["stored"]) > 100
    assert creates["annotated"] >= 90 * rolled["seconds"]  # 100 are due; the last ones wait for others on a busy machine
    every = {"200": creates["annotated"]}
    assert rolled["api_server"] == {"calls": {MUTATE: every, VALIDATE: every}, "rejections": 0, "failed_open": 0}
    assert len(figures["killed"]["deaths"]) == 2


def test_the_pods_that_are_created_need_what_the_webhook_does() -> None:
    for number in range(4):
        assert violations(pod(number, annotated=True)) != []


SEEN: Figures = {
    "unmatched": {"pods": 20, "calls": 0},
    "rolled": {
        "restarts": 6,
        "exit_codes": {"0": 6},
        "creates": {"annotated": 700, "failed": 0},
        "api_server": {"calls": {MUTATE: {"200": 700}, VALIDATE: {"200": 700}}, "rejections": 0, "failed_open": 0},
    },
    "killed": {
        "deaths": [{"connections_held": 3, "failed_in_flight": 3, "failed_otherwise": 0, "failed_later": 0}],
    },
}


@pytest.mark.parametrize(
    ("place", "value", "sentences"),
    [
        ("unmatched.calls", 0, []),
        ("unmatched.calls", 1, ["pods without the annotation cost calls"]),
        ("rolled.creates.failed", 2, ["2 creates failed in 6 restarts"]),
        ("rolled.exit_codes", {"0": 5, "-9": 1}, ["a replica did not end with 0: {'0': 5, '-9': 1}"]),
        ("rolled.api_server.rejections", 1, ["the API server counts 1 rejections"]),
        ("rolled.api_server.failed_open", 1, ["the API server counts 1 requests that it let through"]),
        (
            "rolled.creates.annotated",
            701,
            [f"{name} was called {{'200': 700}} for 701 annotated creates" for name in (MUTATE, VALIDATE)],
        ),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {place: value})) == sentences


@pytest.mark.parametrize("figure", ["failed_in_flight", "failed_otherwise", "failed_later"])
def test_a_death_that_costs_more_than_it_must_is_named(figure: str) -> None:
    [sentence] = broken(tweaked(SEEN, {f"killed.deaths.0.{figure}": 4}))
    assert f"'{figure}': 4" in sentence
