"""Decisions that are remembered are those that would be made again."""

import copy
import tracemalloc
from typing import Any

import orjson
import pytest

from scripts.review import admission_review
from webhook.admission import Answer, Decide, mutate, parse, validate
from webhook.envelope import Envelope, glance
from webhook.memo import Memo
from webhook.settings import Settings

SETTINGS = Settings()
POD: dict[str, Any] = {
    "metadata": {
        "generateName": "fwd-7d9c5b8f4-",
        "labels": {"app": "fwd"},
        "annotations": {"dpdk": "true", "dpdk/hugepages-2Mi": "64Mi", "team": "edge"},
    },
    "spec": {
        "volumes": [{"name": "kube-api-access-x7k2p", "projected": {}}],
        "containers": [
            {
                "name": "app",
                "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}},
                "volumeMounts": [{"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets"}],
            }
        ],
    },
}


def _envelope(**tweaks: Any) -> Envelope:
    pod = copy.deepcopy(POD)
    pod["metadata"]["annotations"] |= tweaks.pop("annotations", {})
    pod["metadata"] |= tweaks.pop("metadata", {})
    body = orjson.dumps(admission_review(pod))
    for old, new in tweaks.pop("replace", ()):
        body = body.replace(old, new)
    envelope = glance(body)
    assert envelope is not None
    return envelope


def _answer(memo: Memo, envelope: Envelope) -> tuple[Answer, str]:
    answer, result = memo.answer(envelope)
    assert answer is not None
    return answer, result


def test_a_replica_is_remembered_whatever_its_name_and_its_token_volume_are() -> None:
    memo = Memo(mutate, SETTINGS)
    first, result = _answer(memo, _envelope())
    assert result == "miss"
    assert first == mutate(parse(orjson.dumps(admission_review(POD))), SETTINGS)
    replica = _envelope(
        metadata={"name": "fwd-1", "labels": {"app": "fwd", "n": "1"}},
        annotations={"team": "core"},
        replace=[(b"x7k2p", b"bcdfg")],
    )
    assert _answer(memo, replica) == (first, "hit")
    assert len(memo) == 1


@pytest.mark.parametrize(
    "tweaks",
    [
        {"annotations": {"dpdk/hugepages-2Mi": "66Mi"}},
        {"annotations": {"dpdk": "True"}},
        {"annotations": {"kubernetes.io/config.mirror": "x"}},
        {"annotations": {"kubectl.kubernetes.io/default-container": "app"}},
        {"annotations": {"kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu limit for container app"}},
        {"replace": [(b'"1500m"', b'"1501m"')]},
    ],
)
def test_whatever_a_rule_reads_makes_another_decision(tweaks: dict[str, Any]) -> None:
    memo = Memo(mutate, SETTINGS)
    memo.answer(_envelope())
    assert _answer(memo, _envelope(**tweaks))[1] == "miss"
    assert len(memo) == 2


def test_each_route_and_site_has_its_own() -> None:
    envelope = _envelope()
    assert _answer(Memo(mutate, SETTINGS), envelope)[0].verdict.outcome == "changed"
    assert _answer(Memo(validate, SETTINGS), envelope)[0].verdict.outcome == "refused"
    assert _answer(Memo(mutate, Settings(max_cpu=1)), envelope)[0].verdict.outcome == "refused"


@pytest.mark.parametrize(
    "tweaks",
    [
        pytest.param({"replace": [(b'"/var/run/secrets"', b'"/dev/hugepages"')]}, id="in a reason"),
        pytest.param(
            {
                "annotations": {"dpdk/hugepages-2Mi": "64Mi", "dpdk/huge-dir": "/mnt/huge"},
                "replace": [(b'"projected":{}', b'"emptyDir":{"medium":"HugePages-2Mi","sizeLimit":"1Gi"}')],
            },
            id="cut short in a warning",
        ),
        pytest.param(
            {
                "replace": [
                    (b'"projected":{}', b'"emptyDir":{"medium":"HugePages-2Mi"}'),
                    (b',"volumeMounts":[{"name":"kube-api-access-x7k2p","mountPath":"/var/run/secrets"}]', b""),
                ]
            },
            id="in the patch",
        ),
    ],
)
def test_an_answer_that_names_the_token_volume_is_made_anew_each_time(tweaks: dict[str, Any]) -> None:
    memo = Memo(mutate, SETTINGS)
    for ending in (b"x7k2p", b"bcdfg"):
        envelope = _envelope(**tweaks | {"replace": [*tweaks["replace"], (b"x7k2p", ending)]})
        answer, result = _answer(memo, envelope)
        assert result == "miss"
        assert b"kube-api-access-" + ending[:2] in answer.response + answer.patch
        assert b"00000" not in answer.response + answer.patch
    assert len(memo) == 0


def test_the_one_that_was_not_asked_for_the_longest_goes_first() -> None:
    pods = [_envelope(replace=[(b'"1500m"', b'"%dm"' % number)]) for number in range(100)]
    memo = Memo(mutate, SETTINGS, room=100_000)
    kept = 0
    while memo.answer(pods[kept])[1] == "miss":
        kept += 1
    assert 16 < kept < 25, "a decision of so small a pod takes 4 to 6 KiB"
    assert len(memo) == kept
    assert memo.answer(pods[1])[1] == "hit"
    assert memo.answer(pods[0])[1] == "evicted"  # and now 2 has gone
    assert [memo.answer(pods[number])[1] for number in (1, 3, 0)] == ["hit", "hit", "hit"]
    assert memo.answer(pods[2])[1] == "evicted"


@pytest.mark.parametrize(("padded", "reviews"), [("annotation", 400), ("spec", 400), ("answer", 60)])
def test_what_is_remembered_is_bounded_in_bytes_wherever_they_are(padded: str, reviews: int) -> None:
    memo = Memo(mutate, SETTINGS)
    tracemalloc.start()
    try:
        for number in range(reviews):
            memo.answer(_padded(padded, number))
        assert len(memo) < reviews
        assert tracemalloc.get_traced_memory()[0] < 6 * 1024 * 1024
    finally:
        tracemalloc.stop()


def _padded(where: str, number: int) -> Envelope:
    pod = copy.deepcopy(POD)
    padding = f"{number:05}" * 2_500
    if where == "annotation":
        pod["metadata"]["annotations"]["dpdk/containers"] = padding
    elif where == "spec":
        pod["spec"]["containers"][0]["image"] = padding
    else:
        pod["spec"]["containers"] += [{"name": f"{number}-{other}"} for other in range(300)]
        pod["metadata"]["annotations"]["dpdk/containers"] = "app"
    envelope = glance(orjson.dumps(admission_review(pod)))
    assert envelope is not None
    return envelope


def test_an_answer_that_is_longer_than_any_is_not_remembered_and_pushes_out_none() -> None:
    memo = Memo(mutate, SETTINGS, room=100_000)
    memo.answer(_envelope())
    assert memo.answer(_padded("answer", 1))[1] == "miss"
    assert memo.answer(_padded("answer", 1))[1] == "miss"
    assert memo.answer(_envelope())[1] == "hit"


@pytest.mark.parametrize("decide", [mutate, validate])
@pytest.mark.parametrize("settings", [SETTINGS, Settings(huge_dir="/kube-api-access-00000")])
@pytest.mark.parametrize(
    "tweaks",
    [
        pytest.param({"annotations": {"dpdk/containers": "kube-api-access-00000"}}, id="a container"),
        pytest.param({"annotations": {"dpdk/huge-dir": "/kube-api-access-00000"}}, id="a path"),
        pytest.param({}, id="nothing"),
    ],
)
def test_what_names_the_stand_in_itself_means_no_name_that_it_stands_for(
    decide: Decide, settings: Settings, tweaks: dict[str, Any]
) -> None:
    memo = Memo(decide, settings)
    names = [(b'"name":"app"', b'"name":"kube-api-access-x7k2p"'), (b'"/var/run/secrets"', b'"/kube-api-access-x7k2p"')]
    for ending in (b"x7k2p", b"00000"):
        tweaks["replace"] = [*names, (b"x7k2p", ending)]
        envelope = _envelope(**copy.deepcopy(tweaks))
        whole = envelope.original
        pod = {"metadata": {"annotations": envelope.annotations}, "spec": orjson.loads(whole)}
        assert _answer(memo, envelope)[0] == decide(parse(orjson.dumps(admission_review(pod))), settings)


@pytest.mark.parametrize(
    "spec",
    [
        b"{}",
        b'{"containers":[]}',
        b'{"containers":[{"name":1}]}',
        b'{"containers":[{"name":"app","securityContext":{"runAsUser":18446744073709551616}}]}',
        b'{"containers":[{"name":"app","resources":{"limits":{"cpu":1.5}}}]}',
        b'{"containers":[{"name":"app"}],"x":' + b"[" * 62 + b"]" * 62 + b"}",
    ],
)
def test_a_spec_that_may_not_be_right_is_left_to_a_whole_reading(spec: bytes) -> None:
    memo = Memo(mutate, SETTINGS)
    body = orjson.dumps(admission_review({"metadata": {"annotations": {"dpdk": "true"}}, "spec": "HERE"}))
    envelope = glance(body.replace(b'"HERE"', spec))
    assert envelope is not None
    assert memo.answer(envelope)[0] is None
    assert len(memo) == 0
