"""opt_in: only a pod that says dpdk: "true" is promised anything."""

from tests.minimal import ANNOTATIONS, APP, REMOVE, Case, each, is_warned, stays

BARE = {f"{APP}.resources": REMOVE}  # a pod that the other rules would change or refuse

NOOP = [
    Case("row 1: no annotations", {**BARE, "metadata": REMOVE}),
    Case("row 1: no annotation of ours", {**BARE, ANNOTATIONS: {"team": "net"}}),
    Case("row 1: false", {**BARE, ANNOTATIONS: {"dpdk": "false"}}),
    Case("row 1: empty", {**BARE, ANNOTATIONS: {"dpdk": ""}}),
    Case("row 1: null", {**BARE, ANNOTATIONS: {"dpdk": None}}),
    Case("row 1: an option alone is no opt-in", {**BARE, ANNOTATIONS: {"dpdk/huge-dir": "x y"}}),
    Case("row 3: a static pod's mirror that did not opt in", {**BARE, ANNOTATIONS: {"kubernetes.io/config.mirror": "abc"}}),
    Case("opted in and compliant", {}),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)
    assert case.decide().warnings == ()


def near_miss(value: str, seen: str | None = None) -> Case:
    sentence = f"""opt_in: not opted in: the value is '{seen or value}'; only "true" turns it on"""
    return Case(f"row 1: {value!a}", {**BARE, ANNOTATIONS: {"dpdk": value}}, [sentence])


WARNS = [
    near_miss("True"),
    near_miss("TRUE"),
    near_miss("true "),
    near_miss("yes"),
    near_miss("On"),
    near_miss("1"),
    near_miss("enabled"),
    near_miss("true\n", "true\\n"),
    near_miss(" " * 30 + "true", " " * 19 + "…"),
    Case(
        "row 3: a static pod's mirror",
        {**BARE, ANNOTATIONS: {"dpdk": "true", "kubernetes.io/config.mirror": "abc"}},
        ["opt_in: static pod left alone: the kubelet runs its own file, not this object; write the fields there"],
    ),
]


@each(WARNS)
def test_warns(case: Case) -> None:
    is_warned(case)
    stays(case)
    assert not case.decide().is_promised
