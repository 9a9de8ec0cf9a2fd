"""`python -m tests.cluster.lifecycle`: install, upgrade, rollback, uninstall, again and again, while pods are created.

With the real helm, the major version before, or kubectl with kustomize; kube-scheduler, the controllers and replicas under a
small kubelet. The last thing before an uninstall is, in turn:

    quiet     nothing
    rotating  a rotation of the CA begins
    down      every replica is killed, and none starts again

Exit status 1 when a plain pod was refused, an annotated one was stored as it was or failed in an upgrade, or when anything is
left over.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import lcm
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from certs.cluster import CONFIGURATIONS, Clock, connect
from certs.keeper import DEMAND, SETTLED
from certs.rotate import OLD_CA_CRT
from tests.cluster.away import mount
from tests.cluster.cluster import Cluster
from tests.cluster.configured import MUTATING, POLICIES, Configured
from tests.cluster.drift import drift
from tests.cluster.installers import BY, PATIENCE, REPLICAS, TAG, Installer, are_built, parser
from tests.cluster.kept import NAMES
from tests.cluster.kubelet import Kubelet
from tests.cluster.leftover import everything, left_over, lost
from tests.cluster.play import NOT_PLAYED, Figures, play, say
from tests.cluster.replicas import ROUTING
from tests.cluster.stream import Made, Stream
from tests.cluster.tied import until

ENDS = ("quiet", "rotating", "down")
LEARNS = 0.5  # seconds in which an API server has learnt that a configuration came or went
POLICY_LEARNS = 2.0  # the same of a policy: it looks for what has changed only each second
BLOCKED = 30.0  # seconds from the first configuration to the last refusal, in an install
AROUND = 1.0  # seconds of load between two steps
GONE = 40.0  # seconds after an uninstall in which replicas drain, and whatever belongs to them is collected
DOWN = 3.0  # seconds without a replica

# A create belongs to where it began, unless it ended where more may happen to it.
LOOSE = ("uninstall", "down", "install")
INSTALLED = ("installed", "upgrade", "rollback")
PROMISED = ("plain_refused", "unmutated_while_installed", "failed_while_installed", "refused_when_uninstalled")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a round; monotonic seconds."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Round:
    """What is known of one round beside the creates; times are monotonic, the version is one of all that etcd has stored."""

    by: str
    end: str
    spans: list[Span] = field(default_factory=list)
    added: float = 0.0  # the mutating configuration
    deleted: float = 0.0
    deleted_version: int = 0
    unregistered: float = 0.0  # none is left
    facts: Figures = field(default_factory=dict)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.spans.append(Span(name, began, time.monotonic()))

    def took(self) -> Figures:
        return {
            f"{span.name}_seconds": span.ended - span.began for span in self.spans if span.name not in ("absent", "installed")
        }


def run(options: argparse.Namespace) -> Figures:
    """One cluster for all rounds: each begins with nothing there."""
    mount()
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as temporary,
        Cluster(flags=[ROUTING], whole=True) as cluster,
        Kubelet(cluster, Path(temporary)) as kubelet,
        Configured(cluster) as configured,
        cluster.namespace() as namespace,
    ):
        installers = [BY[by](cluster, Path(temporary), options.deploy) for by in options.by]
        wait_for_node(cluster, kubelet)
        life = Life(cluster, kubelet, configured, namespace)
        rounds: list[Figures] = []
        with Stream(cluster, namespace, rate=options.rate) as stream:
            for number in range(options.rounds):
                by, end = turn(number, options.by, options.ends)
                drifting = options.drift if number < len(options.by) else 0.0
                played = life.play(Round(by, end), installers[number % len(options.by)], drifting)
                rounds.append({"by": by, "end": end, **played.took(), **played.facts, "creates": judged(stream.made(), played)})
                say(f"{number + 1}: {rounds[-1]}")
        return {
            "date": f"{datetime.now(UTC):%F}",
            "cores": len(os.sched_getaffinity(0)),
            "rate": options.rate,
            "plain_refused": plain_refused(stream.made()),
            "totals": totals(rounds),
            "rounds": rounds,
        }


def turn(number: int, by: Sequence[str], ends: Sequence[str]) -> tuple[str, str]:
    """Which tool and which end it is for: each of both in turn, and in time each tool meets each end."""
    again = number // lcm(len(by), len(ends))
    return by[number % len(by)], ends[(number + again) % len(ends)]


class Life:
    """What is done in a round."""

    def __init__(self, cluster: Cluster, kubelet: Kubelet, configured: Configured, namespace: str) -> None:
        self._cluster, self._kubelet, self._configured, self._namespace = cluster, kubelet, configured, namespace
        self._keeper = connect(NAMES, Clock(), kubeconfig=str(cluster.kubeconfig))

    def play(self, played: Round, installer: Installer, drifting: float) -> Round:
        installer.prepare()
        before = self._everything()
        with played.span("absent"):
            time.sleep(AROUND)
        called = time.monotonic()
        for step in ("install", "upgrade", "rollback"):
            with played.span(step):
                getattr(installer, step)()
            played.facts[step] = installer.deployed()
            with played.span("installed"):
                time.sleep(AROUND)
        if drifting:
            with played.span("installed"):
                played.facts["drift"] = drift(installer, drifting)
        self._end(played)
        with played.span("uninstall"):
            installer.uninstall()
        with played.span("absent"):
            self._wait_gone(played, before)
            time.sleep(AROUND)
        self._kubelet.held.clear()
        return self._noted(played, called)

    def _end(self, played: Round) -> None:
        """What happens just before the uninstall."""
        if played.end == "rotating":
            with played.span("installed"):
                self._keeper.merge("Secret", {"metadata": {"annotations": {DEMAND: "ca"}}})
                until(self._is_rotating, seconds=PATIENCE, waiting_for="a CA beside the old one")
                played.facts["rotating"] = self._is_rotating()
        elif played.end == "down":
            with played.span("down"):
                self._kubelet.held.set()
                played.facts["killed"] = self._kubelet.crash()
                time.sleep(DOWN)

    def _is_rotating(self) -> bool:
        secret = self._keeper.read("Secret") or {}
        return OLD_CA_CRT in (secret.get("data") or {}) or SETTLED in (secret["metadata"].get("annotations") or {})

    def _wait_gone(self, played: Round, before: frozenset[Any]) -> None:
        """What is left over, once that gets no less; and after how many seconds."""
        began, left = time.monotonic(), ["?"]

        def is_gone() -> bool:
            left[:] = left_over(before, self._everything())
            return not left

        with suppress(TimeoutError):  # it is told as what is left
            until(is_gone, seconds=GONE, waiting_for="nothing to be left")
        played.facts |= {
            "gone_after_seconds": time.monotonic() - began,
            "left_over": left,
            "lost": lost(before, self._everything()),
            "looked_through": len(before),
        }

    def _everything(self) -> frozenset[Any]:
        return everything(self._cluster, without={self._namespace})

    def _noted(self, played: Round, called: float) -> Round:
        added, deleted = (self._configured.since(called, what) for what in ("ADDED", "DELETED"))
        if not deleted.keys() >= set(CONFIGURATIONS) or added.keys() != deleted.keys():
            raise RuntimeError(f"not all came and went: {self._configured.events}")
        played.added, played.deleted = added[MUTATING].heard, deleted[MUTATING].heard
        played.deleted_version = deleted[MUTATING].version
        played.unregistered = max(event.heard for event in deleted.values())
        played.facts["policy"] = POLICIES[0] in added
        return played


def wait_for_node(cluster: Cluster, kubelet: Kubelet) -> None:
    """Return when pods can be placed on it."""

    def is_ready() -> bool:
        node = cluster.api("GET", f"/api/v1/nodes/{kubelet.name}")
        lease = cluster.api("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{kubelet.name}")
        return node.status == lease.status == httpx.codes.OK and not node.body["spec"].get("taints")

    until(is_ready, seconds=PATIENCE, waiting_for="a node")


def judged(creates: Sequence[Made], played: Round) -> Figures:
    """What became of those of one round: counted, and whether anything happened when it must not."""
    spans: dict[str, list[Made]] = {}
    for create in creates:
        span = belongs(create, played.spans)
        if span is not None:
            spans.setdefault(span, []).append(create)
    first = played.added + LEARNS
    installing, leaving = spans.get("install", []), spans.get("uninstall", [])
    steady = [create for name in INSTALLED for create in spans.get(name, [])]
    present = [*steady, *spans.get("down", [])]
    unmutated = [
        *(create for create in present if create.unmutated),
        *(create for create in installing if create.unmutated and create.due > first),
        *(create for create in leaving if create.unmutated and too_early(create, played)),
    ]
    nowhere = [*leaving, *spans.get("absent", [])]
    refused_after = [create for create in nowhere if create.refused and too_late(create, played)]
    failed = [create for create in steady if create.problem]
    refusals = [create.due for create in installing if create.refused]
    return {
        "spans": {name: counted(of) for name, of in spans.items()},
        "plain_refused": plain_refused(list(_within(creates, played))),
        "unmutated_while_installed": len(unmutated),
        "failed_while_installed": sum(create.refused and create.annotated for create in failed),
        "refused_when_uninstalled": sum(create.annotated for create in refused_after),
        "refused_while_down": sum(create.refused and create.annotated for create in spans.get("down", [])),
        "blocked_in_install_seconds": max(refusals, default=played.added) - played.added,
        "problems": dict(Counter(create.problem for create in [*failed, *unmutated, *refused_after])),
    }


def too_early(create: Made, played: Round) -> bool:
    """Whether the mutating configuration was still there when a pod passed it by: of what is stored etcd knows the order."""
    if create.version:
        return create.version < played.deleted_version
    return create.ended < played.deleted - LEARNS


def too_late(create: Made, played: Round) -> bool:
    """Whether a pod was refused when whoever refused it was not there yet, or was no more, and the API server knew that."""
    learns = POLICY_LEARNS if POLICIES[0] in create.problem else LEARNS
    return create.ended < played.added or create.due > played.unregistered + learns


def belongs(create: Made, spans: Sequence[Span]) -> str | None:
    """The name of the part of the round in which it is judged; None: it is of no part."""
    touched = [span.name for span in spans if create.due <= span.ended and create.ended >= span.began]
    if not touched:
        return None
    return next((name for name in LOOSE if name in touched), touched[0])


def _within(creates: Sequence[Made], played: Round) -> Iterator[Made]:
    return (create for create in creates if played.spans[0].began <= create.due <= played.spans[-1].ended)


def counted(creates: Sequence[Made]) -> Figures:
    annotated = [create for create in creates if create.annotated]
    return {
        "annotated": len(annotated),
        "plain": len(creates) - len(annotated),
        "stored": sum(create.stored for create in creates),
        "refused": sum(create.refused for create in annotated),
        "unmutated": sum(create.unmutated for create in annotated),
    }


def plain_refused(creates: Sequence[Made]) -> int:
    return sum(create.refused and not create.annotated for create in creates)


def totals(rounds: Sequence[Figures]) -> Figures:
    """Of all rounds together: how many creates, and how long each step took."""
    counts: dict[str, Counter[str]] = {}
    for each in rounds:
        for name, numbers in each["creates"]["spans"].items():
            counts.setdefault(name, Counter()).update(numbers)
    steps = ("install_seconds", "upgrade_seconds", "rollback_seconds", "uninstall_seconds", "gone_after_seconds")
    took = {name: [each[name] for each in rounds] for name in steps}
    took["blocked_in_install_seconds"] = [each["creates"]["blocked_in_install_seconds"] for each in rounds]
    return {
        "rounds": len(rounds),
        "by": dict(Counter(each["by"] for each in rounds)),
        "ends": dict(Counter(each["end"] for each in rounds)),
        "creates": {name: dict(numbers) for name, numbers in counts.items()},
        "seconds": {name: {"median": median(seconds), "longest": max(seconds)} for name, seconds in took.items()},
        "left_over": sum(len(each["left_over"]) for each in rounds),
        **{name: sum(each["creates"][name] for each in rounds) for name in PROMISED},
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = [] if figures["rounds"] else ["nothing was played"]
    if figures["plain_refused"]:
        problems.append(f"{figures['plain_refused']} plain pods were refused")
    for number, each in enumerate(figures["rounds"], 1):
        told = [*_of_pods(each), *_of_objects(each)]
        problems += [f"{number}, {each['by']}: {sentence}" for is_broken, sentence in told if is_broken]
    return problems


def _of_pods(each: Figures) -> list[tuple[bool, str]]:
    creates = each["creates"]
    problems: Mapping[str, int] = creates["problems"]
    unmutated, failed = creates["unmutated_while_installed"], creates["failed_while_installed"]
    refused, blocked = creates["refused_when_uninstalled"], creates["blocked_in_install_seconds"]
    empty = [name for name in ("absent", *INSTALLED) if not creates["spans"].get(name, {}).get("stored")]
    return [
        (bool(empty), f"no pod was stored in {', '.join(empty)}"),
        (creates["plain_refused"] != 0, f"{creates['plain_refused']} plain pods were refused"),
        (unmutated != 0, f"{unmutated} annotated pods passed us by while we were installed: {problems}"),
        (failed != 0, f"{failed} annotated creates failed while we were installed: {problems}"),
        (refused != 0, f"{refused} annotated pods were refused when nothing was installed: {problems}"),
        (blocked > BLOCKED, f"annotated pods were refused for {blocked:.1f} s of an install"),
        (each["end"] == "down" and not creates["refused_while_down"], "nothing was refused without a replica"),
    ]


def _of_objects(each: Figures) -> list[tuple[bool, str]]:
    few, many = REPLICAS
    drifted: Figures = each.get("drift", {"changed": {}, "diffs": {}})
    problems = [
        (bool(each["left_over"]), f"left over: {', '.join(each['left_over'])}"),
        (bool(each["lost"]), f"taken away: {', '.join(each['lost'])}"),
        (each["install"]["ready"] < few, f"ready after the install: {each['install']}"),
        (each["upgrade"] != {"ready": many, "image": TAG}, f"ready after the upgrade: {each['upgrade']}"),
        (each["rollback"] != each["install"], f"ready after the rollback: {each['rollback']}"),
        (each["end"] == "rotating" and not each.get("rotating"), "no rotation was in progress"),
        (each["end"] == "down" and not each.get("killed"), "no replica was killed"),
    ]
    problems += [(bool(names), f"changed when {how}: {', '.join(names)}") for how, names in drifted["changed"].items()]
    problems += [(bool(text), f"kubectl {how}: {text}") for how, text in drifted["diffs"].items()]
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    ways = "by which tools, in turn (default: each)"
    options = parser("tests.cluster.lifecycle", __doc__, BY, nargs="+", default=list(BY), metavar="TOOL", help=ways)
    options.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    options.add_argument("--ends", nargs="+", choices=ENDS, default=ENDS, metavar="END", help="what comes before an uninstall")
    drifting = "seconds in which everything is applied each second, in the first round of each tool (default: %(default)s)"
    options.add_argument("--drift", type=float, default=5, help=drifting)
    return play(options, arguments, run, broken) if are_built() else NOT_PLAYED


if __name__ == "__main__":
    sys.exit(main())
