"""`python -m tests.cluster.coldstart`: everything is killed at once, but for what etcd has stored, and started again.

    restarted  the nodes come back some seconds after the API server, and with them the replicas, last of all
    lost       they don't: another node comes, and the controllers have to find that out and make new pods

Pods are created from the moment when the API server is ready, and annotated ones in kube-system and in the webhook's own
namespace while no replica runs. Exit status 1 when a plain pod or one of those was refused, when another annotated one was let
through, or when nobody recovers without help.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.cluster.away import mount
from tests.cluster.cluster import Cluster
from tests.cluster.installers import BY, NAMESPACE, PATIENCE, REPLICAS, Installer, are_built, parser
from tests.cluster.kubelet import Kubelet
from tests.cluster.lifecycle import wait_for_node
from tests.cluster.play import NOT_PLAYED, Figures, play, say
from tests.cluster.replicas import ROUTING
from tests.cluster.stream import NOBODY, Made, Stream
from tests.cluster.tied import until

CASES = ("restarted", "lost")
NODES = 2
OFF = 2.0  # seconds in which nothing runs
ALONE = 5.0  # seconds from the API server's start to that of the first node
AFTER = 3.0  # seconds of load when all is as before
# Seconds from a node's start to the first annotated pod: of a lost one's pods, others must be made first.
RECOVERED = {"restarted": 15.0, "lost": 45.0}
# A node that doesn't answer is lost after 8 s (cluster.py), and its pods are after 3 more, instead of 40 and 300.
EVICTED = ("--default-not-ready-toleration-seconds=3", "--default-unreachable-toleration-seconds=3")
OWN = ("kube-system", NAMESPACE)


def run(options: argparse.Namespace) -> Figures:
    """One cluster for both cases."""
    mount()
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as temporary,
        Cluster(flags=[ROUTING, *EVICTED], whole=True) as cluster,
        cluster.namespace() as namespace,
        Nodes(cluster, Path(temporary)) as nodes,
    ):
        installer = BY[options.by](cluster, Path(temporary), options.deploy)
        installer.prepare()
        installer.install()
        cases = []
        for case in options.only or CASES:
            cases.append({"case": case, **Start(cluster, nodes, installer, namespace, options.rate).play(case)})
            say(str(cases[-1]))
        return {"by": options.by, "nodes": NODES, "cases": cases}


class Nodes:
    """`with Nodes(cluster, directory):` has some nodes, each with a kubelet."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self._cluster, self._directory = cluster, directory
        self._number = 0
        self.running: list[Kubelet] = []

    def __enter__(self) -> "Nodes":
        self.start([self._next() for _ in range(NODES)])
        for kubelet in self.running:
            wait_for_node(self._cluster, kubelet)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> list[str]:
        """All of them, with what runs on them; return their names."""
        names = [kubelet.name for kubelet in self.running]
        while self.running:
            self.running.pop().kill()
        return names

    def start(self, names: Sequence[str]) -> None:
        for name in names:
            self.running.append(Kubelet(self._cluster, self._directory, name).__enter__())

    def start_another(self) -> None:
        self.start([self._next()])

    def _next(self) -> str:
        self._number += 1
        return f"node-{self._number}"


class Start:
    """One case: from the moment when all is killed."""

    def __init__(self, cluster: Cluster, nodes: Nodes, installer: Installer, namespace: str, rate: float) -> None:
        self._cluster, self._nodes, self._installer = cluster, nodes, installer
        self._namespace, self._rate = namespace, rate

    def play(self, case: str) -> Figures:
        self._cluster.halt()
        names = self._nodes.kill()
        time.sleep(OFF)
        resumed = time.monotonic()
        self._cluster.resume()
        ready = time.monotonic()
        with Stream(self._cluster, self._namespace, rate=self._rate) as stream:
            own = self._create_own(ALONE)
            started = time.monotonic()
            if case == "restarted":
                self._nodes.start(names)
            else:
                self._nodes.start_another()
            whole = self._wait_whole()
            time.sleep(AFTER)
        return {
            "api_server_seconds": ready - resumed,
            "alone_seconds": started - ready,
            "own": own,
            "promised_seconds": RECOVERED[case],
            "whole_seconds": whole - started,
            **judged(stream.made(), started, whole),
        }

    def _create_own(self, seconds: float) -> dict[str, dict[str, int]]:
        """Annotated pods where they are nobody's business, for so long; by namespace: how often the API server said what."""
        said: dict[str, Counter[str]] = {namespace: Counter() for namespace in OWN}
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for namespace, answers in said.items():
                path = f"/api/v1/namespaces/{namespace}/pods"
                made = self._cluster.api("POST", path, own_pod())
                answers[str(made.status)] += 1
                if made.status == httpx.codes.CREATED:
                    self._cluster.api("DELETE", f"{path}/{made.body['metadata']['name']}?gracePeriodSeconds=0")
            time.sleep(0.2)
        return {namespace: dict(answers) for namespace, answers in said.items()}

    def _wait_whole(self) -> float:
        """Return when as many replicas are ready as are wanted, on nodes that are there; infinite: they never were."""

        def is_whole() -> bool:
            pods = self._cluster.api("GET", f"/api/v1/namespaces/{NAMESPACE}/pods").body["items"]
            # at first the API server takes those for ready that were so when all was killed
            ready = {name for kubelet in self._nodes.running for name in kubelet.ready()}
            return sum(is_ready(pod) and pod["metadata"]["name"] in ready for pod in pods) == REPLICAS[0]

        try:
            until(is_whole, seconds=PATIENCE, waiting_for="the replicas")
        except TimeoutError:
            return math.inf
        return time.monotonic()


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def own_pod() -> dict[str, Any]:
    """Annotated, and wrong in whatever an annotated pod can be; but it passes Pod Security restricted."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "metadata": {"generateName": "own-", "annotations": {"dpdk": "true"}},
        "spec": {
            "schedulerName": NOBODY,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "own", "image": "own", "securityContext": security}],
        },
    }


def judged(creates: Sequence[Made], started: float, whole: float) -> Figures:
    """What became of the creates. `started` is when the first node was, and `whole` when all replicas were (monotonic)."""
    annotated = [create for create in creates if create.annotated]
    good = [create.ended for create in annotated if not create.problem]
    failed = [create for create in annotated if create.refused]
    later = [create for create in failed if create.due > whole]
    plain = [create for create in creates if not create.annotated]
    return {
        "annotated": len(annotated),
        "plain": len(plain),
        "stored": sum(create.stored for create in creates),
        "plain_refused": sum(create.refused for create in plain),
        "let_through": sum(create.unmutated for create in annotated),
        "refused": len(failed),
        "refused_later": len(later),
        "recovered_seconds": min(good, default=math.inf) - started,
        "problems": dict(Counter(create.problem for create in [*plain, *later] if create.problem)),
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = [] if figures["cases"] else ["nothing was played"]
    for each in figures["cases"]:
        own = {place: said for place, said in each["own"].items() if said.keys() != {"201"}}
        refused, recovered = each["refused_later"], each["recovered_seconds"]
        told = (
            (each["refused"] == 0, "no annotated pod was refused: there was always a replica"),
            (each["stored"] == 0 or each["plain"] == 0, "no pod was created"),
            (each["plain_refused"] != 0, f"{each['plain_refused']} plain pods were refused: {each['problems']}"),
            (each["let_through"] != 0, f"{each['let_through']} annotated pods were let through without us"),
            (bool(own), f"pods that don't need us were refused: {own}"),
            (recovered > each["promised_seconds"], f"no annotated pod for {recovered:.1f} s after a node was there"),
            (each["whole_seconds"] == math.inf, "the replicas never came back"),
            (refused != 0, f"{refused} creates failed when all replicas were ready: {each['problems']}"),
        )
        problems += [f"{each['case']}: {sentence}" for is_broken, sentence in told if is_broken]
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    by = "who installs (default: %(default)s)"
    options = parser("tests.cluster.coldstart", __doc__, BY, default="kustomize", help=by)
    options.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help="these, in this order (default: both)")
    return play(options, arguments, run, broken) if are_built() else NOT_PLAYED


if __name__ == "__main__":
    sys.exit(main())
