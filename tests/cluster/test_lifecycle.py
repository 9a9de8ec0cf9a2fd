"""Installing, upgrading and uninstalling blocks no plain pod, lets no annotated one pass us by, and leaves nothing over."""

from collections.abc import Callable

import pytest

from tests.cluster.installers import REPLICAS, TAG
from tests.cluster.lifecycle import BLOCKED, ENDS, INSTALLED, PROMISED, Round, Span, belongs, broken, judged, totals, turn
from tests.cluster.play import Figures
from tests.cluster.stream import Made
from tests.minimal import tweaked

REFUSED, LACKING = "500 no endpoints", "spec.containers[0]: no hugepages"
POLICY = "422 ValidatingAdmissionPolicy 'dpdk-webhook' denied request"


def test_a_life_from_install_to_uninstall_harms_nobody(scenario: Callable[..., Figures]) -> None:
    played = ("--by", "helm", "kustomize", "--ends", "rotating", "down", "--drift", "3")
    figures = scenario("lifecycle", "--rounds", "2", *played)
    assert figures["broken"] == []
    assert [(each["by"], each["end"]) for each in figures["rounds"]] == [("helm", "rotating"), ("kustomize", "down")]
    for each in figures["rounds"]:
        assert (each["left_over"], each["lost"]) == ([], [])
        assert each["looked_through"] > 100
        assert each["drift"]["objects"] > 10
        assert each["drift"]["applied"] >= 3
        spans = each["creates"]["spans"]
        assert all(spans[name]["unmutated"] == spans[name]["refused"] == 0 for name in INSTALLED)
        assert all(spans[name]["plain"] > 0 for name in (*INSTALLED, "install", "absent"))
        assert spans["absent"]["unmutated"] > 0


def test_each_tool_meets_each_end() -> None:
    for by in (["a"], ["a", "b"], ["a", "b", "c"]):
        met = {turn(number, by, ENDS) for number in range(20)}
        assert met == {(tool, end) for tool in by for end in ENDS}


SPAN: Figures = {"annotated": 40, "plain": 20, "stored": 15, "refused": 0, "unmutated": 0}
ROUND: Figures = {
    "by": "helm",
    "end": "quiet",
    "install": {"ready": REPLICAS[0], "image": "0.1.0"},
    "upgrade": {"ready": REPLICAS[1], "image": TAG},
    "rollback": {"ready": REPLICAS[0], "image": "0.1.0"},
    "drift": {"changed": {"installed again": []}, "diffs": {"diff": ""}},
    "left_over": [],
    "lost": [],
    "creates": {
        "spans": {name: {**SPAN} for name in (*INSTALLED, "install", "uninstall", "absent")},
        "plain_refused": 0,
        "unmutated_while_installed": 0,
        "failed_while_installed": 0,
        "refused_when_uninstalled": 0,
        "refused_while_down": 0,
        "blocked_in_install_seconds": 1.5,
        "problems": {},
    },
}
SEEN: Figures = {"plain_refused": 0, "rounds": [ROUND]}


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("creates.spans.upgrade.stored", 0, "no pod was stored in upgrade"),
        ("creates.plain_refused", 2, "2 plain pods were refused"),
        ("creates.unmutated_while_installed", 3, "3 annotated pods passed us by while we were installed: {}"),
        ("creates.failed_while_installed", 4, "4 annotated creates failed while we were installed: {}"),
        ("creates.refused_when_uninstalled", 5, "5 annotated pods were refused when nothing was installed: {}"),
        ("creates.blocked_in_install_seconds", BLOCKED + 1, "annotated pods were refused for 31.0 s of an install"),
        ("end", "down", "no replica was killed"),
        ("end", "down", "nothing was refused without a replica"),
        ("end", "rotating", "no rotation was in progress"),
        ("left_over", ["secrets dpdk-webhook/dpdk-webhook-tls"], "left over: secrets dpdk-webhook/dpdk-webhook-tls"),
        ("lost", ["nodes node"], "taken away: nodes node"),
        ("install.ready", 1, "ready after the install: {'ready': 1, 'image': '0.1.0'}"),
        ("upgrade.ready", 2, "ready after the upgrade: {'ready': 2, 'image': '0.2.0'}"),
        ("rollback.image", TAG, "ready after the rollback: {'ready': 2, 'image': '0.2.0'}"),
        ("drift.changed.installed again", ["Service dpdk-webhook"], "changed when installed again: Service dpdk-webhook"),
        ("drift.diffs.diff", "+ a: b", "kubectl diff: + a: b"),
    ],
)
def test_each_broken_promise_is_named(place: str, value: object, sentence: str) -> None:
    assert f"1, helm: {sentence}" in broken(tweaked(SEEN, {f"rounds.0.{place}": value}))


def test_a_kept_promise_is_not() -> None:
    assert broken(SEEN) == []


def test_a_run_without_a_round_keeps_no_promise() -> None:
    assert broken({"plain_refused": 1, "rounds": []}) == ["nothing was played", "1 plain pods were refused"]


SPANS = [
    Span("absent", 0, 10),
    Span("install", 10, 20),
    Span("installed", 20, 30),
    Span("down", 30, 40),
    Span("uninstall", 40, 50),
    Span("absent", 50, 60),
]
PLAYED = Round("helm", "down", SPANS, added=12, deleted=42, deleted_version=1000, unregistered=43)


def made(due: float, problem: str, *, annotated: bool = True, version: int = 0, seconds: float = 0.1) -> Made:
    return Made(annotated, bool(version), due, seconds, problem, version)


@pytest.mark.parametrize(
    ("due", "ended", "span"),
    [
        (-1, 0, "absent"),
        (5, 6, "absent"),
        (9, 11, "install"),
        (19, 21, "install"),
        (25, 26, "installed"),
        (29, 31, "down"),
        (39, 41, "uninstall"),
        (49, 51, "uninstall"),
        (60.5, 61, None),
    ],
)
def test_a_create_on_a_border_belongs_to_where_more_may_happen(due: float, ended: float, span: str | None) -> None:
    assert belongs(made(due, "", seconds=ended - due), SPANS) == span


@pytest.mark.parametrize(
    ("create", "figure"),
    [
        (made(25, REFUSED, annotated=False), "plain_refused"),
        (made(55, REFUSED, annotated=False), "plain_refused"),
        (made(25, LACKING), "unmutated_while_installed"),
        (made(35, LACKING), "unmutated_while_installed"),  # failurePolicy Ignore does this
        (made(13, LACKING), "unmutated_while_installed"),
        (made(41, LACKING), "unmutated_while_installed"),
        (made(42.2, LACKING, version=999), "unmutated_while_installed"),
        (made(25, REFUSED), "failed_while_installed"),
        (made(5, REFUSED), "refused_when_uninstalled"),
        (made(44, REFUSED), "refused_when_uninstalled"),
        (made(55, REFUSED), "refused_when_uninstalled"),
        (made(46, POLICY), "refused_when_uninstalled"),
        (made(35, REFUSED), "refused_while_down"),
    ],
)
def test_what_must_not_happen_is_counted(create: Made, figure: str) -> None:
    counted = judged([create], PLAYED)
    figures = ("plain_refused", "unmutated_while_installed", "failed_while_installed")
    further = ("refused_when_uninstalled", "refused_while_down")
    assert {name: counted[name] for name in (*figures, *further) if counted[name]} == {figure: 1}


@pytest.mark.parametrize(
    "create",
    [
        made(5, LACKING),  # nobody is there yet
        made(12.1, LACKING),  # the API server need not have heard of us
        made(13, REFUSED),  # no replica is ready
        made(41, LACKING, version=1001),
        made(42.2, LACKING),
        made(44, POLICY),
        made(41, REFUSED),
        made(55, LACKING),
        made(25, ""),
    ],
)
def test_what_may_happen_is_not(create: Made) -> None:
    counted = judged([create], PLAYED)
    assert not any(counted[name] for name in counted if name not in ("spans", "blocked_in_install_seconds", "problems"))


def test_an_install_blocks_from_the_configuration_to_the_last_refusal() -> None:
    counted = judged([made(13, REFUSED), made(17, REFUSED), made(18, "")], PLAYED)
    assert counted["blocked_in_install_seconds"] == 5


def test_all_rounds_are_counted_together() -> None:
    seconds = {f"{name}_seconds": 2.0 for name in ("install", "upgrade", "rollback", "uninstall", "gone_after")}
    longer = tweaked(
        ROUND | seconds, {"install_seconds": 5.0, "left_over": ["a", "b"], "by": "helm3", "creates.plain_refused": 4}
    )
    counted = totals([ROUND | seconds, longer])
    assert (counted["rounds"], counted["by"], counted["ends"]) == (2, {"helm": 1, "helm3": 1}, {"quiet": 2})
    assert counted["creates"]["upgrade"] == {name: 2 * number for name, number in SPAN.items()}
    assert counted["seconds"]["install_seconds"] == {"median": 3.5, "longest": 5.0}
    assert counted["left_over"] == 2
    assert [counted[name] for name in PROMISED] == [4, 0, 0, 0]
