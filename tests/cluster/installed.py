"""`python -m tests.cluster.installed`: replicas start where there are no certificates yet, or none that are good any more.

    fresh      no Secret and no Lease, and three replicas at the same moment
    order:102  the new CA is in the Secret and trusted by nobody, since all were killed then: they come back in this order
    expired    the CA and the leaf, in the Secret and in every caBundle, ended yesterday
    ending     the CA has some seconds left: it ends while it is replaced

Pods are created all the time. Exit status 1 when one was let through without us, or refused once we were there.
"""

import argparse
import base64
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from certs.cluster import CONFIGURATIONS, Watched
from certs.issue import issue_ca, issue_leaf
from certs.pem import certificates, fingerprint
from certs.rotate import CA_CRT, CA_NAME, OLD_CA_CRT, Material
from tests.cluster.cluster import Cluster
from tests.cluster.creators import Create, Creators, pod
from tests.cluster.kept import NAMES
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import ROUTING
from tests.cluster.tended import DAY, LEARNS, PATIENCE, Tended
from tests.cluster.tied import until

REPLICAS = 3
ORDERS = tuple("order:" + "".join(map(str, order)) for order in permutations(range(REPLICAS)))
CASES = ("fresh", *ORDERS, "expired", "ending")
READY = 10.0  # seconds until a replica is, once its process is up
AFTER = 2.0  # seconds of load when all are ready
LEFT = timedelta(seconds=15)  # of the CA that ends


def run(options: argparse.Namespace) -> Figures:
    """One cluster for all cases: each begins with nobody there."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING]) as cluster,
        Tended(cluster, Path(directory), 0) as replicas,
        cluster.namespace() as namespace,
    ):
        cases = []
        for case in options.only or CASES:
            for _ in range(options.times if case == "fresh" else 1):
                cases.append({"case": case, **Start(cluster, replicas, namespace, options.rate).play(case)})
                say(str(cases[-1]))
        return {"rate": options.rate, "cases": cases}


class Start:
    """One case, in the same cluster as those before, which leaves nothing of them."""

    def __init__(self, cluster: Cluster, replicas: Tended, namespace: str, rate: float) -> None:
        self._cluster, self._replicas, self._namespace, self._rate = cluster, replicas, namespace, rate
        replicas.kill_all()
        replicas.drive(-DAY - replicas.ahead)
        for kind in CONFIGURATIONS:
            replicas.remove(kind)
        cluster.register_service(b"")
        until(self._is_refused, seconds=PATIENCE, waiting_for="annotated pods to be refused")

    def play(self, case: str) -> Figures:
        kind, _, order = case.partition(":")
        if kind == "order":
            return self._ordered([int(number) for number in order])
        for each in ("Secret", "Lease"):
            self._replicas.remove(each)
        return {"fresh": self._fresh, "expired": self._expired, "ending": self._ending}[kind]()

    def _fresh(self) -> Figures:
        found: set[str] = set()
        watched = Watched(self._replicas.administrator, "Secret", lambda: found.add(_ca(watched)))
        watched.start()
        figures = self._started()
        return figures | {"cas": len(found - {""})}

    def _expired(self) -> Figures:
        self._replicas.plant(_material(self._now() - timedelta(days=31), timedelta(days=30)))
        return self._started()

    def _started(self) -> Figures:
        """All replicas at the same moment, until they are ready and for a while after that."""
        with self._creators() as creators:
            time.sleep(LEARNS)
            began = time.monotonic()
            called = [self._replicas.launch(number) for number in range(REPLICAS)]
            healed = self._replicas.serve(called)
            ready = time.monotonic()
            time.sleep(AFTER)
        return {"all_ready_after_seconds": ready - began, "ready_once_up_seconds": healed, **self._judged(creators.creates)}

    def _ordered(self, order: Sequence[int]) -> Figures:
        """Number 0 begins a rotation, and has the Lease when all of them die."""
        replicas = self._replicas
        called = [replicas.launch(number) for number in range(REPLICAS)]
        replicas.serve(called)
        replicas.finish(called)
        replicas.kill(called[0], lag=0)
        called[0] = replicas.launch(0, None, "did:issuing:Write")
        replicas.serve(called)
        replicas.lead(0)
        replicas.demand_ca()
        until(lambda: not called[0].process.running, seconds=PATIENCE, waiting_for="the next CA")
        replicas.kill_all()
        half_way = replicas.next_phase()
        with self._creators() as creators:
            time.sleep(LEARNS)
            began, healed, called = time.monotonic(), 0.0, []
            for number in order:
                called.append(replicas.launch(number))
                healed = max(healed, replicas.serve(called[-1:]))
            ready = time.monotonic()
            replicas.finish(called)
            stable = time.monotonic() - began
            time.sleep(AFTER)
        return {
            "half_way": half_way,
            "all_ready_after_seconds": ready - began,
            "ready_once_up_seconds": healed,
            "stable_after_seconds": stable,
            **self._judged(creators.creates),
        }

    def _ending(self) -> Figures:
        replicas = self._replicas
        replicas.drive(-replicas.ahead)
        now = self._now()
        end = (now + LEFT).replace(microsecond=0)
        replicas.plant(_material(now, LEFT))
        began = time.monotonic()
        called = [replicas.launch(number) for number in range(REPLICAS)]
        healed = replicas.serve(called)
        ready = time.monotonic()
        time.sleep(LEARNS)
        with self._creators() as creators:
            left = (end - self._now()).total_seconds()
            until(lambda: self._now() > end, seconds=PATIENCE, waiting_for="the end of the old CA")
            seen = replicas.seen()
            time.sleep(AFTER)
            replicas.finish(called)
            time.sleep(LEARNS)
        old = certificates((seen.data or {}).get(OLD_CA_CRT, b""))
        return {
            "all_ready_after_seconds": ready - began,
            "ready_once_up_seconds": healed,
            "left_seconds": left,
            "rotating_when_it_ended": left > 0 and [ca.not_valid_after_utc for ca in old] == [end],
            **self._judged(creators.creates, since=0.0),
        }

    def _creators(self) -> Creators:
        return Creators(self._cluster, self._namespace, rate=self._rate)

    def _now(self) -> datetime:
        """By the clock of the replicas."""
        self._replicas.administrator.read("Secret")
        return self._replicas.administrator.clock.now() + timedelta(seconds=self._replicas.ahead)

    def _is_refused(self) -> bool:
        path = f"/api/v1/namespaces/{self._namespace}/pods?dryRun=All"
        return self._cluster.api("POST", path, pod(0, annotated=True)).status >= httpx.codes.BAD_REQUEST

    def _judged(self, creates: Sequence[Create], since: float | None = None) -> Figures:
        return judged(creates, since) | {"one_ca": self._replicas.is_stable()}


def judged(creates: Sequence[Create], since: float | None = None) -> Figures:
    """What became of them, and of those after the first annotated one that succeeded, or `since` then (monotonic)."""
    good = [create.ended for create in creates if create.annotated and not create.problem]
    first = min(good, default=float("inf")) if since is None else since
    failed = [create for create in creates if create.problem]
    late = [create for create in failed if create.annotated and create.due > first]
    return {
        "annotated": sum(create.annotated for create in creates),
        "plain": sum(not create.annotated for create in creates),
        "succeeded": len(good),
        "refused": sum(create.annotated for create in failed),
        "plain_failed": sum(not create.annotated for create in failed),
        "failed_later": len(late),
        # of a create that was answered with no status, the pod is there and not as it should be
        "let_through": sum(not create.problem[:3].isdigit() for create in failed),
        "problems": dict(Counter(create.problem for create in late)),
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = [] if figures["cases"] else ["nothing was played"]
    for each in figures["cases"]:
        told: Sequence[tuple[bool, str]] = (
            (each["succeeded"] == 0, "no annotated pod was ever created"),
            (each["plain_failed"] != 0, f"{each['plain_failed']} plain pods were refused"),
            (each["let_through"] != 0, f"{each['let_through']} annotated pods were let through without us"),
            (each["failed_later"] != 0, f"{each['failed_later']} creates failed after the first success: {each['problems']}"),
            (each["ready_once_up_seconds"] > READY, f"ready only after {each['ready_once_up_seconds']:.1f} s"),
            (not each["one_ca"], "there isn't one CA, trusted by every entry, in the end"),
            (each.get("cas", 1) != 1, f"{each.get('cas')} CAs were in the Secret"),
            (each.get("half_way", "trusting") != "trusting", f"it was not left half-way, but before {each.get('half_way')}"),
            (not each.get("rotating_when_it_ended", True), "the CA didn't end while it was replaced"),
        )
        problems += [f"{each['case']}: {sentence}" for is_broken, sentence in told if is_broken]
    return problems


def _ca(watched: Watched) -> str:
    """The fingerprint of the CA in the Secret as it is watched; "" when there is none."""
    encoded = ((watched.found or {}).get("data") or {}).get(CA_CRT, "")
    return fingerprint(base64.b64decode(encoded))


def _material(now: datetime, valid: timedelta) -> Material:
    """A CA and a leaf of that time, which live equally long."""
    ca = issue_ca(name=CA_NAME, now=now, valid=valid)
    return Material(ca, issue_leaf(ca, names=[NAMES.dns], now=now, valid=valid))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.installed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help="these, in this order (default: every one)")
    parser.add_argument("--times", type=int, default=10, help="that fresh is played (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=60, help="creates a second, 5 of 6 annotated (default: %(default)s)")
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
