"""Where cert-manager issues the certificate nothing fails after the first pod, whatever is renewed; what stays is known."""

from collections.abc import Callable

import pytest

from tests.cluster.certmanager import key, serials
from tests.cluster.installers import REPLICAS
from tests.cluster.issuers import SERVED, broken, judged
from tests.cluster.lifecycle import Span
from tests.cluster.pki import Authority
from tests.cluster.play import Figures
from tests.cluster.stream import Made
from tests.minimal import tweaked


def test_cert_manager_issues_and_renews_while_pods_are_created(scenario: Callable[..., Figures]) -> None:
    figures = scenario("issuers", "--by", "named")
    assert figures["broken"] == []
    (played,) = figures["rounds"]
    assert played["said"] == ["ok\n"] * REPLICAS[0]
    assert 0 < played["seconds"]["waiting"] < played["seconds"]["issued"] < played["seconds"]["ready"]
    assert max(played["leaf"]["seconds"], played["ca"]["seconds"]) < SERVED
    creates = played["creates"]
    assert creates["refused_before"] > 0
    assert min(creates["good"]["leaf"], creates["good"]["ca"], creates["plain"]) > 20
    assert (played["left_over"], sum(creates["failed"].values())) == ([], 0)


ROUND: Figures = {
    "by": "helm",
    "waits": ['secrets "dpdk-webhook-serving" not found'],
    "leaf": {"seconds": 9.5, "served": True, "trusted": True},
    "ca": {"seconds": 9.5, "served": True, "trusted": True, "renewed": True, "key_kept": True, "injected": True},
    "conditioned": True,
    "left_over": ["secrets a/ca"],
    "stays": ["secrets a/ca"],
    "creates": {
        "plain": 40,
        "stored": 20,
        "failed": {"installed": 0, "leaf": 0},
        "good": {"installed": 12, "leaf": 60, "ca": 60},
        "unmutated": 0,
        "plain_refused": 0,
        "problems": {},
    },
}


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("creates.good.leaf", 0, "no annotated create succeeded in leaf"),
        ("creates.plain", 0, "no plain pod was created, or none was stored"),
        ("creates.plain_refused", 2, "2 plain pods were refused: {}"),
        ("creates.unmutated", 3, "3 annotated pods passed us by: {}"),
        ("creates.failed.leaf", 4, "annotated creates failed after the first that succeeded: {'leaf': 4}, {}"),
        ("waits", ["node not ready"], "no pod waited for the Secret: ['node not ready']"),
        ("conditioned", False, "the injector took the match conditions out"),
        ("leaf.served", False, "the renewed certificate is not served after 10 s"),
        ("leaf.trusted", False, "the CA of the Secret is not in the caBundle"),
        ("ca.renewed", False, "the CA was not renewed"),
        ("ca.key_kept", False, "the renewed CA has another key"),
        ("ca.served", False, "the renewed CA's certificate is not served after 10 s"),
        ("ca.injected", False, "the renewed CA is not in the caBundle"),
        ("left_over", ["secrets a/b", "secrets a/ca"], "left over: secrets a/b"),
        ("left_over", [], "not left over, as the docs say: secrets a/ca"),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentence: str) -> None:
    assert broken(tweaked({"rounds": [ROUND]}, {f"rounds.0.{place}": value})) == [f"helm: {sentence}"]


def test_a_kept_promise_is_not_and_a_run_without_a_round_keeps_none() -> None:
    assert (broken({"rounds": [ROUND]}), broken({"rounds": []})) == ([], ["nothing was played"])


def made(due: float, problem: str = "", *, annotated: bool = True) -> Made:
    return Made(annotated=annotated, stored=True, due=due, seconds=0.1, problem=problem)


def test_creates_are_judged_by_when_they_were_sent() -> None:
    creates = [
        made(1, "lacks hugepages"),  # before the install
        made(11, "lacks hugepages"),  # the API server has not learnt yet
        made(13, "lacks hugepages"),
        made(14, "500 no endpoints"),
        made(15),
        made(21, "500 bad certificate"),
        made(22, "500 plain", annotated=False),
        made(31, "500 leaving"),
    ]
    spans = [Span("install", 10, 20), Span("leaf", 20, 30), Span("uninstall", 30, 40)]
    assert judged(creates, spans, called=10, added=11) == {
        "annotated": 6,
        "plain": 1,
        "stored": 7,
        "first_good_seconds": 5.1,
        "refused_before": 1,
        "failed": {"install": 0, "leaf": 1, "uninstall": 0},
        "good": {"install": 1, "leaf": 0, "uninstall": 0},
        "unmutated": 1,
        "plain_refused": 1,
        "problems": {"500 bad certificate": 1, "lacks hugepages": 1, "500 plain": 1},
    }


def test_of_a_ca_the_key_is_compared_and_of_a_bundle_each_certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    one, other = (Authority(tmp_path_factory.mktemp("ca")).certificate.read_bytes() for _ in range(2))
    assert key(one) == key(one) != key(other)
    assert serials(one + other) == [*serials(one), *serials(other)]
    assert serials(b"") == []
