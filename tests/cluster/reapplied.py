"""`python -m tests.cluster.reapplied`: while the CA rotates, overlays/self is applied every second, in which no caBundle is.

    server-side  kubectl apply --server-side --force-conflicts, as Argo CD and Flux do
    client-side  kubectl apply
    replaced     each configuration is put as a whole, as kubectl replace does: this empties every caBundle

Pods are created all the time. Exit status 1 when one failed, or when somebody wrote more than there was to write. Nobody can be
called with an empty caBundle, nor can a CA be dropped while the new one is lost every second: of the last way it is seen how
soon each is mended, and that the rotation ends when the tool does.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import yaml

from certs.cluster import CONFIGURATIONS, Kind, Watched
from certs.rotate import PHASES
from tests.cluster.background import Background
from tests.cluster.cluster import OVERLAY, Cluster
from tests.cluster.creators import Create, Creators
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import ROUTING
from tests.cluster.tended import LEARNS, PATIENCE, Tended
from tests.cluster.tied import until

WAYS = ("server-side", "client-side", "replaced")
EVERY = 1.0  # seconds
APPLIED = 5  # times in a rotation, at least
REPLICAS = 3
HEALED = 5.0  # seconds after which a caBundle that was emptied is whole
# What a rotation does to each configuration: it trusts the new CA, and then nothing else.
OWN_WRITES = 2
STEPS = {"issuing": 1, "trusting": 1, "settling": 1, "dropping": 2, "stable": 1}
WATCHED: tuple[Kind, ...] = ("Secret", *CONFIGURATIONS)


def run(options: argparse.Namespace) -> Figures:
    """One cluster for all ways, and a rotation for each."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING]) as cluster,
        Tended(cluster, Path(directory), 0) as replicas,
        cluster.namespace() as namespace,
    ):
        replicas.serve([replicas.launch(number) for number in range(REPLICAS)])
        cluster.wait_until_called(replicas.webhooks)
        replicas.finish()
        ways = []
        for way in options.only or WAYS:
            ways.append({"way": way, **Rotation(cluster, replicas, Path(directory)).play(way, namespace, options.rate)})
            say(str(ways[-1]))
        return {"rate": options.rate, "ways": ways}


class Rotation:
    """One rotation of the CA, with all that is written meanwhile."""

    def __init__(self, cluster: Cluster, replicas: Tended, directory: Path) -> None:
        self._cluster, self._replicas, self._directory = cluster, replicas, directory
        self._documents = _documents(cluster)
        self._gaps: list[float] = []
        self._applied = 0

    def play(self, way: str, namespace: str, rate: float) -> Figures:
        apply = {"server-side": self._server_side, "client-side": self._client_side, "replaced": self._replace}[way]
        apply()  # the first one makes it an owner, or leaves its annotation: this is written, and no news later
        generations, steps = self._generations(), self._steps()
        versions = {kind: Versions(self._replicas, kind) for kind in WATCHED}
        with Creators(self._cluster, namespace, rate=rate) as creators:
            with Repeated(apply) as repeated:
                time.sleep(EVERY)
                self._replicas.demand_ca()
                took = 0.0 if way == "replaced" else self._replicas.finish()
                until(lambda: repeated.times >= APPLIED, seconds=PATIENCE, waiting_for=f"{APPLIED} times")
            ended = time.monotonic() + LEARNS
            took = took or self._replicas.finish()
            time.sleep(2 * LEARNS)
        return {
            "applied": repeated.times,
            "rotated_after_seconds": took,
            "generations": {kind: after - generations[kind] for kind, after in self._generations().items()},
            "writes": {kind: len(seen.found) for kind, seen in versions.items()},
            "steps": dict(self._steps() - steps),
            "gaps_seconds": {"number": len(self._gaps), "longest": max(self._gaps, default=0.0)},
            "stable": self._replicas.is_stable(),
            **judged(creators.creates, ended),
        }

    def _server_side(self) -> None:
        text = yaml.safe_dump_all(self._documents)
        options = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")
        self._cluster.kubectl("apply", *options, "-f", "-", input=text)

    def _client_side(self) -> None:
        self._cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(self._documents))

    def _replace(self) -> None:
        """Both configurations, one after the other; and how long until each can be called again."""
        for document in self._documents:
            if document["kind"] in CONFIGURATIONS:
                self._put(document)

    def _put(self, document: dict[str, Any]) -> None:
        administrator, kind = self._replicas.administrator, document["kind"]

        def was_put() -> bool:
            found = administrator.read(kind) or {}
            metadata = document["metadata"] | {"resourceVersion": found["metadata"]["resourceVersion"]}
            path = f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}s/{metadata['name']}"
            answer = self._cluster.api("PUT", path, document | {"metadata": metadata})
            return answer.status == httpx.codes.OK  # otherwise somebody was faster: with the next version, then

        def is_whole() -> bool:
            return all(administrator.bundles(administrator.read(kind)).values())

        until(was_put, seconds=PATIENCE, waiting_for=f"{kind} to be replaced")
        emptied = time.monotonic()
        while not is_whole():  # in less time than `until` sleeps
            if time.monotonic() - emptied > PATIENCE:
                raise TimeoutError(f"{kind} stays without a caBundle")
        self._gaps.append(time.monotonic() - emptied)

    def _generations(self) -> dict[str, int]:
        return {kind: (self._replicas.administrator.read(kind) or {})["metadata"]["generation"] for kind in CONFIGURATIONS}

    def _steps(self) -> Counter[str]:
        """By phase, as the replicas have logged them."""
        logs = [replica.process.log.read_text() for replica in self._replicas.running]
        return Counter({phase: sum(log.count(f'"certificates: {phase}: ') for log in logs) for phase in PHASES})


class Versions:
    """Every version of an object, but for the one that there was."""

    def __init__(self, replicas: Tended, kind: Kind) -> None:
        self.found: set[str] = set()
        first = (replicas.administrator.read(kind) or {})["metadata"]["resourceVersion"]

        def note() -> None:
            version = (self._watched.found or {})["metadata"]["resourceVersion"]
            self.found |= {version} - {first}

        self._watched = Watched(replicas.administrator, kind, note)
        self._watched.start()


class Repeated(Background):
    """`with Repeated(apply) as repeated:` does it every second, in a thread of its own, until the block ends."""

    def __init__(self, apply: Callable[[], object]) -> None:
        super().__init__()
        self._apply = apply
        self.times = 0

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            self._apply()
            self.times += 1
            due += EVERY


def judged(creates: Sequence[Create], ended: float) -> Figures:
    """What became of the creates, and of those after the tool had `ended` (monotonic)."""
    failed = [create for create in creates if create.problem]
    return {
        "stored": sum(create.stored for create in creates),
        "creates": len(creates),
        "failed": len(failed),
        "failed_later": sum(create.due > ended for create in failed),
        "problems": dict(Counter(create.problem for create in failed)),
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = [] if figures["ways"] else ["nothing was played"]
    for each in figures["ways"]:
        own = dict.fromkeys(CONFIGURATIONS, OWN_WRITES)
        told = [
            (each["applied"] < APPLIED, f"applied only {each['applied']} times"),
            (each["stored"] == 0, "no pod was created"),
            (each["failed_later"] != 0, f"{each['failed_later']} creates failed when the tool had ended: {each['problems']}"),
            (not each["stable"], "there isn't one CA, trusted by every entry, in the end"),
        ]
        if each["way"] == "replaced":
            longest = each["gaps_seconds"]["longest"]
            told.append((longest > HEALED, f"a caBundle was empty for {longest:.1f} s"))
        else:
            told += [
                (each["failed"] != 0, f"{each['failed']} creates failed: {each['problems']}"),
                (each["generations"] != own, f"the configurations changed otherwise than by us: {each['generations']}"),
                (each["steps"] != STEPS, f"a rotation took other steps: {each['steps']}"),
            ]
            for kind in CONFIGURATIONS:
                told.append((each["writes"][kind] != OWN_WRITES, f"{each['writes'][kind]} writes of {kind}"))
        problems += [f"{each['way']}: {sentence}" for is_broken, sentence in told if is_broken]
    return problems


def _documents(cluster: Cluster) -> list[dict[str, Any]]:
    """Everything in deploy/overlays/self, but that the Service has no selector: its endpoints are the test's."""
    documents = list(yaml.safe_load_all(cluster.kubectl("kustomize", OVERLAY).stdout))
    for document in documents:
        if document["kind"] == "Service":
            del document["spec"]["selector"]
    return documents


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.reapplied",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=WAYS, metavar="WAY", help="these, in this order (default: every one)")
    parser.add_argument("--rate", type=float, default=60, help="creates a second, 5 of 6 annotated (default: %(default)s)")
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
