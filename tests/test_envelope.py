"""What the fast lane reads of a review, and what it leaves to a whole reading."""

import copy
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from scripts.review import admission_review
from webhook.admission import BadReview, parse
from webhook.envelope import LARGEST, STAND_IN, TOKEN, glance
from webhook.shape import DEPTH

POD: dict[str, Any] = {
    "metadata": {"name": "fwd", "namespace": "edge", "annotations": {"dpdk": "true"}},
    "spec": {"containers": [{"name": "app"}]},
}


def _body(tweak: Callable[[dict[str, Any]], Any] = lambda review: None) -> bytes:
    review = admission_review(copy.deepcopy(POD))
    review["request"] |= {"namespace": "edge", "dryRun": True, "userInfo": {"username": "jane", "groups": ["a"]}}
    tweak(review)
    return orjson.dumps(review)


def _metadata(review: dict[str, Any]) -> Any:
    return review["request"]["object"]["metadata"]


def test_the_envelope_is_what_a_whole_reading_says() -> None:
    body = _body()
    envelope = glance(body)
    assert envelope is not None
    assert envelope.asked == parse(body).asked
    assert (envelope.asked.name, envelope.asked.user, envelope.asked.dry_run) == ("fwd", "jane", True)
    assert (envelope.annotations, envelope.spec, envelope.token) == ({"dpdk": "true"}, orjson.dumps(POD["spec"]), b"")


@pytest.mark.parametrize(
    "tweak",
    [
        pytest.param(lambda r: r.update(kind="Review"), id="another kind of document"),
        pytest.param(lambda r: r.update(apiVersion="admission.k8s.io/v1beta1"), id="another version of it"),
        pytest.param(lambda r: r["request"].update(operation="UPDATE"), id="an update"),
        pytest.param(lambda r: r["request"].update(operation="DELETE", object=None), id="nothing left"),
        pytest.param(lambda r: r["request"].update(subResource="resize"), id="a subresource"),
        pytest.param(lambda r: r["request"].update(uid=""), id="no uid"),
        pytest.param(lambda r: r["request"].update(uid=7), id="a uid that is a number"),
        pytest.param(lambda r: r["request"]["kind"].update(kind="Deployment"), id="a workload"),
        pytest.param(lambda r: r["request"]["kind"].update(group="apps"), id="another group"),
        pytest.param(lambda r: r["request"]["object"].update(kind="Deployment"), id="an object of another kind"),
        pytest.param(lambda r: r["request"]["object"].pop("spec"), id="no spec"),
        pytest.param(
            lambda r: r["request"]["object"]["metadata"].update(annotations={"dpdk": True}), id="a mistyped annotation"
        ),
        pytest.param(lambda r: r["request"]["object"]["metadata"].update(name=1), id="a mistyped name"),
        pytest.param(lambda r: r["request"]["object"]["spec"].update(x="x" * LARGEST), id="a large spec"),
    ],
)
def test_what_is_out_of_the_ordinary_is_read_as_a_whole(tweak: Callable[[dict[str, Any]], Any]) -> None:
    assert glance(_body(tweak)) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 100_000, b'{"kind":"AdmissionReview"}', _body()[:-1], _body() + b"x"])
def test_what_is_no_review_is_read_as_a_whole(body: bytes) -> None:
    assert glance(body) is None


def test_bytes_that_are_no_utf_8_are_seen_where_nobody_reads_them() -> None:
    body = _body(lambda r: _metadata(r).update(labels={"a": "é"}))
    assert glance(body) is not None
    assert glance(body.replace("é".encode(), b"\xff\xff")) is None


def _with_volumes(*names: str) -> bytes:
    return _body(lambda r: r["request"]["object"]["spec"].update(volumes=[{"name": name} for name in names]))


def test_a_stand_in_takes_the_place_of_the_token_volumes_name() -> None:
    envelope = glance(_with_volumes("config", "kube-api-access-x7k2p", "kube-api-access-x7k2p"))
    assert envelope is not None
    assert envelope.token == b"kube-api-access-x7k2p"
    assert (envelope.spec.count(STAND_IN), envelope.spec.count(TOKEN)) == (2, 2)
    assert orjson.loads(envelope.original)["volumes"][2] == {"name": "kube-api-access-x7k2p"}


@pytest.mark.parametrize(
    "names",
    [
        ("config",),
        ("kube-api-access-x7k2p", "kube-api-access-bcdfg"),
        ("kube-api-access-x7k2p", "kube-api-access-00000"),
        ("kube-api-access-",),
        ("kube-api-access-x7k",),
        ("kube-api-access-x7\\k",),
    ],
)
def test_nothing_stands_in_where_it_could_be_taken_for_another_name(names: tuple[str, ...]) -> None:
    body = _with_volumes(*names)
    envelope = glance(body)
    assert envelope is not None
    assert envelope.token == b""
    assert envelope.spec == envelope.original == orjson.dumps(orjson.loads(body)["request"]["object"]["spec"])


def _nested(depth: int, opening: bytes, inside: bytes, closing: bytes) -> bytes:
    """Where nobody reads: in the metadata, which is four deep itself; beside what managed fields look like."""
    body = _body(lambda r: _metadata(r).update(labels="HERE", more=[{} for _ in range(200)]))
    return body.replace(b'"HERE"', opening * depth + inside + closing * depth)


NESTS = pytest.mark.parametrize(
    ("opening", "inside", "closing"),
    [(b"[", b"", b"]"), (b'{"a":', b"1", b"}"), (b"[{},", b"[]", b"]"), (b'{"a":[', b"1", b"]}")],
)


@NESTS
@pytest.mark.parametrize("depth", [DEPTH - 2, DEPTH, 500, 2_000])
def test_what_is_nested_too_deep_where_nobody_reads_is_left_to_a_whole_reading(
    depth: int, opening: bytes, inside: bytes, closing: bytes
) -> None:
    body = _nested(depth, opening, inside, closing)
    with pytest.raises(BadReview, match=r"nested deeper than 64 levels|depth limit exceeded"):
        parse(body)
    assert glance(body) is None


@NESTS
@pytest.mark.parametrize("depth", [1, DEPTH // 3])
def test_what_is_not_is_none_of_its_business(depth: int, opening: bytes, inside: bytes, closing: bytes) -> None:
    assert glance(_nested(depth, opening, inside, closing)) is not None


def test_brackets_in_strings_cost_no_more_than_the_fast_lane() -> None:
    envelope = glance(_body(lambda r: _metadata(r)["annotations"].update(x="{" * (DEPTH // 2))))
    assert envelope is not None
    assert glance(_body(lambda r: _metadata(r)["annotations"].update(x="{" * DEPTH))) is None
