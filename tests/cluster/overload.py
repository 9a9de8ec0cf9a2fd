"""`python -m tests.cluster.overload`: four times as many creators as one replica can serve, and people with large manifests.

First as it comes, where the API server is the bottleneck; then the replica is given so little of the CPU that reviews pile up
in it and it sheds them: the API server calls again, and its users notice nothing but the wait. Exit status 1 when they do.
"""

import argparse
import os
import signal
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import httpx
import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.counters import Counted, samples
from tests.cluster.creators import Creators, Tally, pod
from tests.cluster.play import Figures, play
from tests.cluster.replicas import NAMESPACE, ROUTING, SERVICE, Replica, Replicas

STEPS = (1, 2, 4, 8, 16)  # creators at once
SATURATED = 0.95  # of the most creates a second that any number of creators got
TIMES = 4
PEOPLE = 4
PODS = 200  # in the manifest that each of them sends again and again
RUN, STOP = 0.005, 0.02  # seconds, in turn, when the CPU is scarce
SHED_AFTER = 0.1  # seconds; in what is left of the CPU, a line of reviews takes as long
SUCCEED, GROWTH = 0.99, 0.20
LONG = 30  # seconds; what a shorter load adds to the memory is still its warming up


def run(options: argparse.Namespace) -> Figures:
    """A cluster with one replica, first with all of the CPU, then with little."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING]) as cluster,
        Replicas(cluster, Path(directory), 1) as replicas,
        cluster.namespace() as namespace,
    ):
        (replica,) = replicas.running
        ample = load(cluster, replicas, replica, namespace, options)
        shedding = replicas.start({"shed_after": SHED_AFTER})
        replicas.terminate(replica, lag=1)
        replicas.wait(replica, seconds=30)
        with scarce(shedding):
            return {"ample": ample, "scarce": load(cluster, replicas, shedding, namespace, options)}


def load(cluster: Cluster, replicas: Replicas, replica: Replica, namespace: str, options: argparse.Namespace) -> Figures:
    """Find how many creators saturate the chain, then let four times as many go on for the seconds that were asked for."""
    rates = {number: _rate(cluster, namespace, number, options.step) for number in STEPS}
    at_once = TIMES * min(number for number, rate in rates.items() if rate >= SATURATED * max(rates.values()))
    with People(replica, replicas.ca) as people, Creators(cluster, namespace, at_once=at_once) as creators:
        time.sleep(options.warm)
        before, calls = Counted.of(cluster.metrics()), _answers(replicas, replica)
        began = time.monotonic()
        memory = [replica.memory()]
        while time.monotonic() < began + options.seconds:
            time.sleep(0.25)
            memory.append(replica.memory())
    creates = [create for create in creators.creates if create.due >= began]
    return {
        "creates_per_second_by_creators": rates,
        "creators": at_once,
        "seconds": options.seconds,
        "creates_per_second": len(creates) / options.seconds,
        "creates": Tally.of(creates).record(),
        "webhook_answers": dict(_answers(replicas, replica) - calls),
        "api_server": Counted.of(cluster.metrics()).since(before),
        "dry_runs": dict(people.answers),
        "memory_mib": {
            which: {"warm": memory[0][which], "peak": max(each[which] for each in memory), "end": memory[-1][which]}
            for which in memory[0]
        },
    }


def _rate(cluster: Cluster, namespace: str, at_once: int, seconds: float) -> float:
    with Creators(cluster, namespace, at_once=at_once) as creators:
        time.sleep(seconds)
    return len(creators.creates) / seconds


def _answers(replicas: Replicas, replica: Replica) -> Counter[str]:
    """What the replica counts itself: its answers on the two routes that pods wait for, by code."""
    counts: Counter[str] = Counter()
    for labels, count in samples(replicas.scrape(replica), "controller_runtime_webhook_requests_total"):
        if labels["webhook"] in ("/mutate", "/validate"):
            counts[f"{labels['webhook']} {labels['code']}"] += int(count)
    return counts


@contextmanager
def scarce(replica: Replica) -> Iterator[None]:
    """Let it run only a fifth of the time, as under a CPU limit that it has used up."""
    end = threading.Event()

    def starve() -> None:
        while not end.wait(RUN):
            os.kill(replica.process.pid, signal.SIGSTOP)
            end.wait(STOP)
            os.kill(replica.process.pid, signal.SIGCONT)

    thread = threading.Thread(target=starve)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


class People:
    """`with People(replica, ca):` four of them post a large manifest to /dry-run, again and again, until the block ends."""

    def __init__(self, replica: Replica, ca: Path) -> None:
        self._url = f"{replica.url}/dry-run"
        self._context = ssl.create_default_context(cafile=ca)
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(PEOPLE)]
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        manifest = yaml.safe_dump_all(pod(number, annotated=True) for number in range(PODS))
        name = {"sni_hostname": f"{SERVICE}.{NAMESPACE}.svc"}
        with httpx.Client(verify=self._context, trust_env=False, timeout=60) as http:
            while not self._end.is_set():
                try:
                    reply = http.post(self._url, content=manifest, extensions=name)
                    self.answers[str(reply.status_code)] += 1
                except httpx.TransportError as error:
                    self.answers[type(error).__name__] += 1


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = []
    for name in ("ample", "scarce"):
        seen = figures[name]
        total, failed = seen["creates"]["annotated"], seen["creates"]["failed"]
        memory = seen["memory_mib"]["server"]
        growth = memory["peak"] / memory["warm"] - 1
        problems.append((failed > total * (1 - SUCCEED), f"{name}: {failed} of {total} creates failed"))
        problems.append((seen["seconds"] >= LONG and growth >= GROWTH, f"{name}: the server's memory grew by {growth:.0%}"))
    shed = sum(count for answer, count in figures["scarce"]["webhook_answers"].items() if answer.endswith(" 503"))
    problems.append((shed == 0, "scarce: nothing was shed, so that this shows nothing"))
    return [sentence for is_broken, sentence in problems if is_broken]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.overload", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each of the two loads (default: %(default)s)")
    parser.add_argument("--step", type=float, default=3, help="seconds for each number of creators (default: %(default)s)")
    parser.add_argument("--warm", type=float, default=5, help="seconds of load before memory counts (default: %(default)s)")
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
