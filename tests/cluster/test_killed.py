"""A rotation of the CA survives SIGKILL at each moment, and nobody who creates pods notices."""

import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.cluster.creators import Create
from tests.cluster.killed import CASES, DID, SAW, STABLE, THERE, broken, judged
from tests.cluster.play import Figures
from tests.cluster.tended import Outage
from tests.minimal import tweaked


def test_a_replica_that_is_killed_in_a_rotation_costs_no_create_and_all_of_them_none_once_they_are_back(
    scenario: Callable[..., Figures],
) -> None:
    cases = "aside:did:dropping:Write", "together:did:issuing:Write"
    figures = scenario("killed", "--only", *cases)
    assert figures["broken"] == []
    aside, together = figures["cases"]
    assert [each["case"] for each in figures["cases"]] == list(cases)
    assert [each["exit_code"] for each in figures["cases"]] == [-signal.SIGKILL] * 2
    # where it was left, with nobody to go on
    assert (aside["next_phase"], together["next_phase"]) == ("dropping", "trusting")
    assert (aside["failed"], aside["problems"]) == (0, {})
    assert together["failed"] > 0


def test_every_step_and_every_phase_has_its_case() -> None:
    assert {f"aside:{moment}" for moment in DID + SAW} < set(CASES)
    assert len(set(CASES)) == len(CASES) == 12 + 3 * 6 + 1


SEEN: Figures = {
    "lag_seconds": 2,
    "cases": [
        {
            "case": "aside:did:issuing:Write",
            "exit_code": -signal.SIGKILL,
            "nobody_there_seconds": 5.0,
            "stable_after_seconds": 3.0,
            "stored": 30,
            "unexcused": 0,
            "problems": {},
        },
        {"case": "alone", "stable_after_seconds": 3.0, "stored": 30, "unexcused": 0, "problems": {}},
    ],
}


@pytest.mark.parametrize(
    ("place", "value", "sentences"),
    [
        ("cases.0.exit_code", -signal.SIGKILL, []),
        ("cases.0.exit_code", 1, ["aside:did:issuing:Write: the replica ended by itself, with 1"]),
        ("cases.0.nobody_there_seconds", THERE + 1, []),
        ("cases.0.nobody_there_seconds", THERE + 3, ["aside:did:issuing:Write: nobody was there for 23.0 s"]),
        ("cases.1.unexcused", 2, ["alone: 2 creates failed: {}"]),
        ("cases.1.stable_after_seconds", STABLE + 1, ["alone: stable only 31.0 s after the replica was back"]),
        ("cases.1.stored", 0, ["alone: no pod was created"]),
        ("cases", [], ["nothing was played"]),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {place: value})) == sentences


DIED = Outage(began=10.0, ended=11.0, reasons=("EOF",))
CUT_OFF = Create(annotated=True, stored=True, due=9.5, seconds=1.0, problem="500 failed to call webhook: EOF")


@pytest.mark.parametrize(
    ("create", "excused"),
    [
        (CUT_OFF, True),
        (replace(CUT_OFF, seconds=0.1), False),  # it failed before
        (replace(CUT_OFF, due=11.1), False),  # it came later
        (replace(CUT_OFF, problem="500 tls: failed to verify certificate: x509: …"), False),
    ],
)
def test_only_what_was_in_flight_is_excused_by_a_death(create: Create, excused: bool) -> None:
    assert DIED.excuses(create) is excused
    assert judged([create], DIED)["unexcused"] == int(not excused)
    assert judged([create], None)["unexcused"] == 1
