"""Whatever somebody breaks with his own hands, the replicas say so and mend it; and it costs no create that it need not."""

from collections.abc import Callable

import pytest

from tests.cluster.damage import PARTS, broken
from tests.cluster.damages import DAMAGES
from tests.cluster.play import Figures
from tests.minimal import tweaked

PLAYED = (
    "all-bundles-of-another-ca",
    "bundle-garbage",
    "configuration-made-anew",
    "secret-deleted",
    "key-of-another",
    "all-of-another",
    "secret-of-another-type",
    "lease-deleted",
    "clock-ahead-of-all",
    "swap",
    "foreign",
)


def test_damage_is_told_and_mended_and_costs_no_create_that_it_need_not(scenario: Callable[..., Figures]) -> None:
    figures = scenario("damage", "--only", *PLAYED)
    assert figures["broken"] == []
    parts = figures["parts"]
    assert tuple(parts) == PLAYED
    assert min(part["creates"] for part in parts.values()) > 0
    assert {name for name, part in parts.items() if part["failed"]} <= {
        name for name in PLAYED if name in DAMAGES and DAMAGES[name].costs
    }
    # otherwise nothing was damaged
    assert parts["all-bundles-of-another-ca"]["told"]["rotation_steps_total trusting"] > 0
    assert parts["secret-deleted"]["told"]["rotation_steps_total restoring"] == 1
    assert parts["foreign"]["handshakes"] > 30


def test_what_is_promised_of_the_secret_the_lease_and_the_clock_is_that_no_create_fails() -> None:
    costs = {name for name, damage in DAMAGES.items() if damage.costs}
    assert all("bundle" in name or "configuration" in name for name in costs)
    assert PARTS.keys() - DAMAGES.keys() == {
        "clock-ahead-of-one",
        "clock-ahead-of-all",
        "clock-behind-of-one",
        "clock-behind-of-all",
        "swap",
        "mismatch",
        "foreign",
    }


SEEN: Figures = {
    "parts": {
        "bundle": {
            "costs": True,
            "creates": 60,
            "told_seconds": 0.1,
            "healed_seconds": 9.9,
            "failed": 3,
            "last_failure_seconds": 0.5,
        },
        "clock": {"costs": False, "creates": 60, "told_seconds": 4.9, "written": 0, "steps_done": 0, "harmed": 0, "failed": 0},
        "foreign": {
            "costs": False,
            "creates": 60,
            "handshakes": 900,
            "refused_handshakes": 0,
            "told": ["invalid"],
            "failed": 0,
        },
        "swap": {
            "costs": False,
            "creates": 60,
            "served_seconds": 0.9,
            "lost_connections": 0,
            "refused_handshakes": 0,
            "failed": 0,
        },
    },
}


@pytest.mark.parametrize(
    ("place", "value", "sentences"),
    [
        ("bundle.failed", 4, []),
        ("bundle.told_seconds", 5.1, ["bundle: told_seconds is 5.1, promised are 5"]),
        ("bundle.told_seconds", None, ["bundle: told_seconds is None, promised are 5"]),
        ("bundle.healed_seconds", 10.1, ["bundle: healed_seconds is 10.1, promised are 10"]),
        ("bundle.last_failure_seconds", 11, ["bundle: last_failure_seconds is 11, promised are 10"]),
        ("clock.written", 1, ["clock: written is 1"]),
        ("clock.steps_done", 1, ["clock: steps_done is 1"]),
        ("clock.harmed", 1, ["clock: harmed is 1"]),
        ("clock.failed", 1, ["clock: failed is 1"]),
        ("clock.calls", 1, ["clock: calls is 1"]),
        ("clock.unexplained", 1, ["clock: unexplained is 1"]),
        ("clock.invented", 1, ["clock: invented is 1"]),
        ("swap.served_seconds", 1.1, ["swap: served_seconds is 1.1, promised are 1"]),
        ("swap.lost_connections", 1, ["swap: lost_connections is 1"]),
        ("swap.refused_handshakes", 1, ["swap: refused_handshakes is 1"]),
        ("foreign.told", [], ["foreign: no metric said that the Secret can't be used"]),
        ("swap.mended_too_early", 1, ["swap: mended_too_early is 1"]),
        ("swap.creates", 0, ["swap: no pod was created"]),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {f"parts.{place}": value})) == sentences
