"""Nobody who creates pods notices that the CA and the certificate are replaced, however late his API server hears of it."""

from collections.abc import Callable

import pytest

from certs.rotate import OLD_CA_CRT
from tests.cluster.counters import MUTATE, VALIDATE
from tests.cluster.creators import Create
from tests.cluster.play import Figures
from tests.cluster.rotation import CROSS, FIRST, ITS_OWN, SECOND, broken, due
from tests.minimal import REMOVE, tweaked


def test_three_rotations_cost_no_create_at_either_api_server(scenario: Callable[..., Figures]) -> None:
    figures = scenario("rotation", "--rotations", "3", "--lag", "1")
    assert figures["broken"] == []
    rotated = figures["rotated"]
    assert (rotated["cas"], rotated["leaves_alone"]) == (3, 1)
    assert min(figures["creates"][name]["annotated"] for name in (FIRST, SECOND)) > 100
    assert figures["creates"][FIRST]["stored"] > 10


def test_only_annotated_creates_that_were_due_in_the_time_are_counted() -> None:
    times = [(True, 0.9), (True, 1.0), (False, 1.5), (True, 1.9), (True, 2.0)]
    creates = [Create(annotated, stored=False, due=time, seconds=5, problem="") for annotated, time in times]
    assert due(creates, 1, 2) == 2


def counted() -> Figures:
    return {"calls": {MUTATE: {"200": 700}, VALIDATE: {"200": 700}}, "rejections": {}, "failed_open": 0}


SEEN: Figures = {
    "rotated": {"cas": 4, "leaves_alone": 1, "different_cas": 5, "different_leaves": 6},
    "annotated_per_second": 110.0,
    "creates": {FIRST: {"annotated": 700, "failed": 0}, SECOND: {"annotated": 700, "failed": 0}},
    "longest_gap_seconds": {FIRST: 0.1, SECOND: 0.2},
    "api_servers": {FIRST: counted(), SECOND: counted()},
    "newcomers": {
        "trusted": {FIRST: {ITS_OWN: 9}, SECOND: {ITS_OWN: 9, CROSS: 1}},
        "failed": {},
        "connections_of_api_servers": 16,
    },
    "failed_handshakes": {"reset": 3},
    "memory_mib": [{"server": 110.0, "children": 0.0}],
    "end": {
        "secret": ["ca.crt", "ca.key", "tls.crt", "tls.key"],
        "entries": {FIRST: 5, SECOND: 5},
        "entries_with_the_ca_alone": {FIRST: 5, SECOND: 5},
    },
}


@pytest.mark.parametrize(
    ("place", "value", "sentences"),
    [
        ("failed_handshakes.reset", 4, []),
        ("annotated_per_second", 100.0, []),
        ("annotated_per_second", 99.9, ["99.9 annotated creates a second, not 100"]),
        ("rotated.different_cas", 4, ["4 different CAs, not 5"]),
        ("rotated.different_leaves", 5, ["5 different leaves, not 6"]),
        (
            "newcomers.failed",
            {"second: no CA": 1},
            ["newcomers were not let in, or did not trust whom they met: {'second: no CA': 1}"],
        ),
        ("newcomers.connections_of_api_servers", 15, ["the API servers connected only 15 times in 4 rotations"]),
        (
            f"newcomers.trusted.second.{CROSS}",
            REMOVE,
            ["nobody who trusted as the second API server did needed the cross-signed certificate"],
        ),
        ("memory_mib.1", {"server": 110.1, "children": 0.0}, ["replica 2 takes 110.1 MiB, more than 110"]),
        ("end.secret.4", OLD_CA_CRT, ["the Secret holds old-ca.crt in the end"]),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentences: list[str]) -> None:
    assert broken(tweaked(SEEN, {place: value})) == sentences


@pytest.mark.parametrize("server", [FIRST, SECOND])
@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("creates.{}.failed", 2, "2 creates failed at the {} API server"),
        (
            "api_servers.{}.rejections",
            {"calling_webhook_error": 1},
            "the {} API server counts rejections: {{'calling_webhook_error': 1}}",
        ),
        ("api_servers.{}.failed_open", 1, "the {} API server counts 1 requests that it let through"),
        ("longest_gap_seconds.{}", 5.1, "no annotated pod was created at the {} API server for 5.10 s"),
        ("end.entries_with_the_ca_alone.{}", 4, "4 of 5 entries hold the CA alone in the end, by the {} API server"),
    ],
)
def test_what_each_api_server_saw_counts(server: str, place: str, value: object, sentence: str) -> None:
    assert broken(tweaked(SEEN, {place.format(server): value})) == [sentence.format(server)]


@pytest.mark.parametrize("server", [FIRST, SECOND])
def test_each_annotated_create_costs_a_call_of_either_webhook(server: str) -> None:
    assert broken(tweaked(SEEN, {f"creates.{server}.annotated": 701})) == [
        f"the {server} API server called {name} {{'200': 700}} times for 701 annotated creates" for name in (MUTATE, VALIDATE)
    ]


def test_where_nothing_is_registered_any_more_nobody_trusts_the_ca() -> None:
    none = {"end.entries.first": 0, "end.entries_with_the_ca_alone.first": 0}
    assert broken(tweaked(SEEN, none)) == ["0 of 0 entries hold the CA alone in the end, by the first API server"]


@pytest.mark.parametrize("reason", ["unknown_ca", "bad_certificate", "certificate_expired"])
def test_a_handshake_that_failed_for_want_of_trust_is_named(reason: str) -> None:
    sentence = f"the replicas count 1 failed handshakes: {reason}"
    assert broken(tweaked(SEEN, {f"failed_handshakes.{reason}": 1})) == [sentence]
