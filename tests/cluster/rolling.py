"""`python -m tests.cluster.rolling`: replicas are restarted, and some are killed, while pods are created all the time.

The API server finds the replicas as it does in a cluster: by the Service of deploy/overlays/self and its endpoints. Exit status
1 when an orderly restart cost a single create, or a kill more than it must.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.cluster.cluster import Cluster
from tests.cluster.counters import MUTATE, VALIDATE, Counted
from tests.cluster.creators import Create, Creators, Tally, pod
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import ROUTING, Replica, Replicas

AROUND = 2.0  # seconds of load before, between and after
IN_FLIGHT = ("EOF", "connection reset by peer", "broken pipe", "closed idle connection", "use of closed network connection")
REFUSED = ("connection refused",)


def run(options: argparse.Namespace) -> Figures:
    """A cluster with its replicas; everything that happens to them."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING]) as cluster,
        Replicas(cluster, Path(directory), options.replicas, settings={"drain_seconds": options.drain}) as replicas,
        cluster.namespace() as namespace,
    ):
        return {
            "replicas": options.replicas,
            "drain_seconds": options.drain,
            "endpoints_lag_seconds": options.lag,
            "unmatched": unmatched(cluster, namespace),
            "rolled": roll(cluster, replicas, namespace, options),
            "killed": kill(cluster, replicas, namespace, options),
        }


def unmatched(cluster: Cluster, namespace: str) -> Figures:
    """Plain pods, created, labelled and deleted; and the calls that they cost."""
    before = Counted.of(cluster.metrics())
    path = f"/api/v1/namespaces/{namespace}/pods"
    pods = 20
    for number in range(pods):
        made = cluster.api("POST", path, pod(number, annotated=False))
        one = f"{path}/{made.body['metadata']['name']}"
        labels = {"metadata": {"labels": {"a": "b"}}}
        assert cluster.api("PATCH", one, labels, content_type="application/merge-patch+json").status == httpx.codes.OK
        assert cluster.api("DELETE", f"{one}?gracePeriodSeconds=0").status == httpx.codes.OK
    return {"pods": pods, "calls": (Counted.of(cluster.metrics()).calls - before.calls).total()}


def roll(cluster: Cluster, replicas: Replicas, namespace: str, options: argparse.Namespace) -> Figures:
    """Every replica anew, again and again, as a Deployment does it with maxUnavailable 0 and maxSurge 1.

    The next one starts while the last one drains.
    """
    before = Counted.of(cluster.metrics())
    leaving: list[Replica] = []
    codes: Counter[int] = Counter()
    began = time.monotonic()
    with Creators(cluster, namespace, rate=options.rate) as creators:
        time.sleep(AROUND)
        for number in range(options.restarts * options.replicas):
            if number % options.replicas == 0:
                failed = sum(create.problem != "" for create in creators.creates)
                say(f"{number} restarts, {len(creators.creates)} creates, {failed} failed")
            replicas.start()
            oldest = next(replica for replica in replicas.running if replica.ready)
            replicas.terminate(oldest, lag=options.lag)
            leaving.append(oldest)
            for replica in [each for each in leaving if not each.process.running]:
                leaving.remove(replica)
                codes[replicas.wait(replica, seconds=0)] += 1
        for replica in leaving:
            codes[replicas.wait(replica, seconds=30)] += 1
        time.sleep(AROUND)
    took = time.monotonic() - began
    return {
        "restarts": codes.total(),
        "exit_codes": {str(code): number for code, number in codes.items()},
        "seconds": took,
        "creates_per_second": len(creators.creates) / took,
        "creates": Tally.of(creators.creates).record(),
        "api_server": Counted.of(cluster.metrics()).since(before),
    }


def kill(cluster: Cluster, replicas: Replicas, namespace: str, options: argparse.Namespace) -> Figures:
    """One after another gets SIGKILL; `lag` seconds later its endpoint is forgotten, and then another one starts."""
    before = Counted.of(cluster.metrics())
    deaths: list[tuple[int, float, float]] = []
    with Creators(cluster, namespace, rate=options.rate) as creators:
        for _ in range(options.kills):
            time.sleep(AROUND)
            victim = replicas.running[0]
            connections, killed = victim.connections(), time.monotonic()
            replicas.kill(victim, lag=options.lag)
            deaths.append((connections, killed, time.monotonic()))
            replicas.start()
        time.sleep(AROUND)
    nexts = [killed for _, killed, _ in deaths[1:]] + [float("inf")]
    return {
        "deaths": [
            _cost([create for create in creators.creates if death[1] <= create.ended < following], *death)
            for death, following in zip(deaths, nexts, strict=False)
        ],
        "creates": Tally.of(creators.creates).record(),
        "api_server": Counted.of(cluster.metrics()).since(before),
    }


def _cost(creates: Sequence[Create], connections: int, killed: float, forgotten: float) -> Figures:
    """What one death cost, of the creates that ended after it; seconds count from it."""
    failed = [create for create in creates if create.problem]

    def told(*reasons: str) -> int:
        return sum(any(reason in create.problem for reason in reasons) for create in failed)

    return {
        "connections_held": connections,
        "forgotten_after_seconds": forgotten - killed,
        "failed_in_flight": told(*IN_FLIGHT),
        "refused_until_forgotten": told(*REFUSED),
        "failed_otherwise": len(failed) - told(*IN_FLIGHT, *REFUSED),
        "failed_later": sum(create.due > forgotten for create in failed),
        "last_failure_after_seconds": max((create.ended - killed for create in failed), default=0.0),
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    rolled = figures["rolled"]
    creates, seen = rolled["creates"], rolled["api_server"]
    problems = [
        (figures["unmatched"]["calls"] != 0, "pods without the annotation cost calls"),
        (creates["failed"] != 0, f"{creates['failed']} creates failed in {rolled['restarts']} restarts"),
        (rolled["exit_codes"].keys() != {"0"}, f"a replica did not end with 0: {rolled['exit_codes']}"),
        (seen["rejections"] != 0, f"the API server counts {seen['rejections']} rejections"),
        (seen["failed_open"] != 0, f"the API server counts {seen['failed_open']} requests that it let through"),
    ]
    for name in (MUTATE, VALIDATE):
        told = f"{name} was called {seen['calls'].get(name)} for {creates['annotated']} annotated creates"
        problems.append((seen["calls"].get(name) != {"200": creates["annotated"]}, told))
    for death in figures["killed"]["deaths"]:
        more = death["failed_in_flight"] > death["connections_held"]
        problems.append((more, f"more failed with a killed replica than it had connections: {death}"))
        problems.append((death["failed_otherwise"] != 0, f"a killed replica cost other creates as well: {death}"))
        problems.append((death["failed_later"] != 0, f"creates failed after the endpoint was forgotten: {death}"))
    return [sentence for is_broken, sentence in problems if is_broken]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.rolling", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--restarts", type=int, default=50, help="of each replica (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="with SIGKILL, afterwards (default: %(default)s)")
    parser.add_argument("--replicas", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=120, help="creates a second, 5 of 6 annotated (default: %(default)s)")
    parser.add_argument("--drain", type=float, default=5, help="drain_seconds (default: %(default)s)")
    lag = "seconds from the end of a replica to the moment when its endpoint says so (default: %(default)s)"
    parser.add_argument("--lag", type=float, default=1, help=lag)
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
