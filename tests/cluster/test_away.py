"""Replicas in mode `self` stay ready while the API server is away, are quiet about it, and go on when it is back."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.away import BACK, CPU, LINES, a_minute, broken
from tests.cluster.play import Figures
from tests.minimal import tweaked


def test_replicas_outlast_an_api_server_that_hangs_and_one_that_is_killed(scenario: Callable[..., Figures]) -> None:
    figures = scenario("away", "--only", "stopped", "killed", "--stopped", "5", "--killed", "2")
    assert figures["broken"] == []
    assert [each["case"] for each in figures["cases"]] == ["stopped", "killed"]
    for each, seconds in zip(figures["cases"], (5, 2), strict=True):
        assert each["away_seconds"] >= seconds
        assert each["looks"] > 10 * seconds
        assert 0 < each["created_seconds"] <= each["held_seconds"] <= each["rotated_seconds"]
    for reasons in figures["cases"][1]["errors"]:
        assert reasons["unreachable"] > 0


SEEN: Figures = {
    "cases": [
        {
            "case": "killed",
            "answered": 0,
            "looks": 100,
            "not_ready": {},
            "cpu": 0.01,
            "lines_a_minute": 2,
            "log": ["it is away"],
            "threads_ended": 0,
            "errors": [{"unreachable": 3, "forbidden": 2}, {"forbidden": 1}],
            "promised_seconds": BACK,
            "held_seconds": 2.0,
            "created_seconds": 2.1,
            "rotated_seconds": 4.0,
        }
    ]
}


@pytest.mark.parametrize(
    ("figure", "value", "sentences"),
    [
        ("looks", 1, []),
        ("answered", 3, ["killed: the API server answered 3 times while it was away"]),
        ("looks", 0, ["killed: nobody looked whether they are ready"]),
        ("not_ready", {"503": 2}, ["killed: a replica was not ready: {'503': 2}"]),
        ("refused", 0, []),
        ("refused", 1, ["killed: a create was refused, although the API server was there"]),
        ("cpu", CPU, []),
        ("cpu", 0.5, ["killed: a replica took 50% of a core"]),
        ("lines_a_minute", LINES, []),
        ("lines_a_minute", LINES + 1, ["killed: a replica wrote 6 lines in a minute: ['it is away']"]),
        ("threads_ended", 1, ["killed: 1 threads ended"]),
        ("errors", [{}, {}], []),
        ("held_seconds", BACK, []),
        ("held_seconds", BACK + 1, ["killed: the Lease is renewed only after 11.0 s"]),
        ("created_seconds", math.inf, ["killed: a pod is created only after inf s"]),
        ("rotated_seconds", BACK + 2, ["killed: the CA is replaced only after 12.0 s"]),
    ],
)
def test_each_broken_promise_is_named(figure: str, value: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {f"cases.0.{figure}": value})) == sentences


@pytest.mark.parametrize(
    ("errors", "sentences"),
    [
        ([{"forbidden": 2}, {"forbidden": 1}], []),
        (
            [{"forbidden": 2}, {"unreachable": 1}],
            ["revoked: a replica did not count that it was forbidden: [{'forbidden': 2}, {'unreachable': 1}]"],
        ),
    ],
)
def test_both_count_that_their_token_is_refused(errors: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {"cases.0.case": "revoked", "cases.0.errors": errors})) == sentences


def test_a_run_without_a_case_keeps_no_promise() -> None:
    assert broken({"cases": []}) == ["nothing was played"]


@pytest.mark.parametrize(
    ("seconds", "most"),
    [([], 0), ([5], 1), ([0, 20, 59, 60], 3), ([0, 61, 62], 2)],
)
def test_lines_are_counted_in_their_busiest_minute(seconds: list[int], most: int) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    times = [f"{began + timedelta(seconds=each):%Y-%m-%dT%H:%M:%S.%fZ}" for each in seconds]
    assert a_minute([json.dumps({"timestamp": each, "level": "error"}) for each in times]) == most
