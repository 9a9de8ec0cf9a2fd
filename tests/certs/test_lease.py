"""Who holds the Lease, as one replica sees it while time passes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from certs import lease
from certs.cluster import Object
from certs.lease import DURATION, RENEW, Election
from tests.certs.timing import Time

NOW = datetime(2026, 11, 23, 12, 30, 15, 250000, UTC)
TIME = "2026-11-23T12:30:15.250000Z"
TICK = 0.1  # seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    measured = Time()
    monkeypatch.setattr(lease, "time", measured)
    return measured


def held(holder: str | None, **more: Any) -> Object:
    return {"spec": {"holderIdentity": holder, **more}}


def renewal(**more: Any) -> Object:
    return {"holderIdentity": "me", "leaseDurationSeconds": DURATION, "renewTime": TIME, **more}


def taken(transitions: int) -> Object:
    return renewal(acquireTime=TIME, leaseTransitions=transitions)


def wins(election: Election, time: Time) -> Object:
    """It takes a free Lease; the Lease as it is then."""
    bid = election.bid(held(None), NOW)
    assert bid is not None
    election.won()
    return {"spec": bid}


@pytest.mark.parametrize(
    "free",
    [None, {}, {"spec": None}, {"spec": {}}, held(None), held("")],
    ids=["none", "an empty one", "no spec", "an empty spec", "nobody", "given up"],
)
def test_a_free_lease_is_taken_at_once(time: Time, free: Object | None) -> None:
    election = Election("me")
    assert election.bid(free, NOW) == taken(1)
    assert not election.holds(), "before it is written"
    election.won()
    assert election.holds()


def test_how_often_it_changed_hands_is_counted(time: Time) -> None:
    assert Election("me").bid(held("", leaseTransitions=7), NOW) == taken(8)


def test_one_that_does_not_change_for_its_duration_is_taken(time: Time) -> None:
    election = Election("me")
    abandoned = held("other", renewTime="2026-11-23T12:00:00Z")
    assert election.bid(abandoned, NOW) is None
    time.now += DURATION - TICK
    assert election.bid(abandoned, NOW) is None
    time.now += TICK
    assert election.bid(abandoned, NOW) == taken(1)


def test_one_that_is_renewed_is_never_taken(time: Time) -> None:
    election = Election("me")
    for number in range(100):
        assert election.bid(held("other", renewTime=f"{number}"), NOW) is None
        time.now += DURATION - TICK


def test_any_change_of_it_is_a_sign_of_life(time: Time) -> None:
    election = Election("me")
    changes: list[dict[str, Any]] = [{}, {"leaseTransitions": 3}, {"leaseDurationSeconds": 15}]
    for holder, more in [("other", change) for change in changes] + [("another", changes[-1])]:
        assert election.bid(held(holder, renewTime="always this", **more), NOW) is None
        time.now += DURATION - TICK


@pytest.mark.parametrize("renewed", ["2099-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "junk", None])
def test_what_the_clocks_of_others_say_is_not_believed(time: Time, renewed: str | None) -> None:
    election = Election("me")
    abandoned = held("other", renewTime=renewed, leaseDurationSeconds=10**9)
    assert election.bid(abandoned, NOW) is None, "it may have been renewed a moment ago"
    time.now += DURATION
    assert election.bid(abandoned, NOW) == taken(1)


def test_a_replica_that_has_just_started_waits_for_the_holder_as_long_as_any(time: Time) -> None:
    time.now += 1000
    election = Election("me")
    assert election.bid(held("other"), NOW) is None


def test_the_holder_renews_after_a_while_and_no_sooner(time: Time) -> None:
    election = Election("me")
    mine = wins(election, time)
    time.now += RENEW - TICK
    assert election.bid(mine, NOW) is None
    assert election.holds()
    time.now += TICK
    assert election.bid(mine, NOW) == renewal()


def test_who_cannot_renew_holds_it_no_longer_than_others_wait(time: Time) -> None:
    election = Election("me")
    mine = wins(election, time)
    time.now += DURATION - TICK
    assert election.bid(mine, NOW) == renewal()
    assert election.holds()
    time.now += TICK
    assert not election.holds()


def test_what_somebody_else_holds_is_lost_at_once(time: Time) -> None:
    election = Election("me")
    wins(election, time)
    assert election.bid(held("other"), NOW) is None
    assert not election.holds()


def test_one_that_was_given_up_is_not_held(time: Time) -> None:
    election = Election("me")
    wins(election, time)
    election.lost()
    assert not election.holds()


def test_one_that_an_administrator_hands_over_is_taken_at_once(time: Time) -> None:
    election = Election("me")
    assert election.bid(held("other"), NOW) is None
    assert election.bid(held("me", renewTime=None), NOW) == renewal()


def test_of_two_that_bid_for_one_that_was_abandoned_the_second_goes_on_waiting(time: Time) -> None:
    first, second = Election("me"), Election("you")
    for election in (first, second):
        assert election.bid(held("gone"), NOW) is None
    time.now += DURATION
    bid = first.bid(held("gone"), NOW)
    assert bid is not None
    assert second.bid(held("gone"), NOW) is not None, "which the API server refuses, as the Lease has changed"
    first.won()
    assert second.bid({"spec": bid}, NOW) is None
    assert (first.holds(), second.holds()) == (True, False)
