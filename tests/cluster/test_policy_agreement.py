"""The final check beside the oracle, over the golden cases and random pods; docs/policy.json says what came of it."""

import json

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.policy import (
    ALONE,
    FIGURES,
    Judged,
    Results,
    figures,
    guarded,
    left,
    measured,
    reason,
    refused_for_nothing,
    rendered,
)
from tests.oracle import violations
from tests.strategies import Seeded
from tests.strategies_pods import annotated_pod
from webhook.pod import parse_pod
from webhook.review import review
from webhook.settings import Settings
from webhook.shape import Malformed

PODS = 400


@pytest.fixture(scope="module")
def results(alone: Cluster) -> tuple[Results, Results]:
    return measured(alone)


def test_what_keeps_the_promise_is_never_refused(results: tuple[Results, Results]) -> None:
    sent, came_out = results
    assert refused_for_nothing(sent) == []
    judged = [each for each in came_out.values() if isinstance(each, Judged)]
    assert [each for each in judged if each.judgement != "both accept"] == []
    assert len(judged) > 300


def test_of_what_breaks_it_only_what_is_documented_passes(results: tuple[Results, Results]) -> None:
    passed = [each.broken for each in results[0].values() if isinstance(each, Judged) and each.judgement == "policy accepts"]
    assert {code for broken in passed for code in left(broken)} == {"C5", "C4 over"}


def test_the_figures_are_those_of_the_documentation(alone: Cluster, results: tuple[Results, Results]) -> None:
    written = json.loads(FIGURES.read_text())
    measured_with = tuple(map(int, written.pop("kubernetes").removeprefix("v").split(".")[:2]))
    del written["date"]
    found = figures(*results)
    if alone.version != measured_with:  # older ones drop fields before they ask anybody
        for each in (written, found):
            for folder in ("admission", "host_users", "pod_resources", "windows"):
                del each["rules"][folder]
    assert found == written


def test_every_rule_has_cases_that_the_policy_refuses_or_none_that_the_oracle_does(results: tuple[Results, Results]) -> None:
    """A policy that refused nothing would agree with half of them as well."""
    rules = figures(*results)["rules"]
    refuses = {folder for folder, counts in rules.items() if counts.get("both refuse")}
    assert refuses == rules.keys() - {"exec_probes", "opt_in"}


def test_random_pods_are_refused_for_a_reason_and_what_we_make_of_them_never(alone: Cluster) -> None:
    judged = 0
    with guarded(alone, rendered(), "random") as guard:
        for number in range(PODS):
            pod = annotated_pod(Seeded(f"policy {number}"))
            try:
                decision = review(parse_pod(pod), Settings())
            except Malformed:
                continue
            for each in [pod, *([decision.pod] if decision.allowed else [])]:
                stored = guard.stored(dict(each))
                if isinstance(stored, str):
                    continue
                judged += 1
                broken, told = violations(stored), reason(guard.create(dict(each)))
                if told is None:
                    assert set(left(broken)) <= {"C5", "C4 over"}, each
                else:
                    assert broken != [], (told, each)
                    assert each is not decision.pod, (told, each)
                    assert "error" not in told, (told, each)
    assert judged > PODS / 4, f"{ALONE}: nearly all"
