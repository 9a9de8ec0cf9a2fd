"""`python -m tests.cluster.killed`: SIGKILL at each moment of a CA's rotation, while pods are created all the time.

    aside:MOMENT     for a replica that keeps certificates as all do, but gets no calls: whatever fails is the rotation's fault
    late:MOMENT      the same; it comes back when another one has taken the Lease from it
    called:MOMENT    one that is called: only what was in flight on it may fail, or be refused until its endpoint is forgotten
    together:MOMENT  and at once all the others with it: creates fail while nobody is there, and not afterwards
    alone            the only one that serves the new leaf already

MOMENT is did:PHASE:STEP in the replica that has just done this step, or saw:PHASE in one that looks on. Exit status 1 when a
create failed that didn't have to, or when things weren't stable again in time.
"""

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from certs.pem import fingerprint
from certs.rotate import OLD_CA_CRT
from tests.cluster.cluster import ApiServer, Cluster
from tests.cluster.creators import Create, Creators, longest_gap, pod
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import ROUTING, Replica
from tests.cluster.rolling import IN_FLIGHT, REFUSED
from tests.cluster.tended import PATIENCE, Outage, Tended
from tests.cluster.tied import until
from tests.oracle import violations

STEPS = ("issuing:Write", "trusting:Trust", "settling:Settle", "dropping:Write", "dropping:Trust", "stable:Settle")
DID = tuple(f"did:{step}" for step in STEPS)
SAW = tuple(f"saw:{phase}" for phase in ("issuing", "trusting", "spreading", "settling", "dropping", "stable"))
CASES = (
    *(f"aside:{moment}" for moment in DID + SAW),
    *(f"late:{moment}" for moment in DID),
    *(f"called:{moment}" for moment in DID),
    *(f"together:{moment}" for moment in DID),
    "alone",
)
CALLED = 3  # replicas
VICTIM = CALLED  # the number of the one that is killed
STABLE = 30.0  # seconds, with the margin driven, from the moment when the victim's process is up again
LATE = 8.0  # seconds; a Lease is free after 6
TRIES = 5  # rotations in which a phase that lasts some milliseconds is seen once
THERE = 20.0  # seconds from the death of all replicas until those that come then are called, without the lag
FORGOTTEN = 0.5  # seconds after the death of a replica, its endpoint is; it dies in less
NOBODY = ("no endpoints available",)


def run(options: argparse.Namespace) -> Figures:
    """One cluster for all cases: each begins and ends with everything stable."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING], second=options.lag or None) as cluster,
        Tended(cluster, Path(directory), 0) as replicas,
        cluster.namespace() as namespace,
    ):
        servers = [cluster, cluster.second] if options.lag else [cluster]
        replicas.learns += options.lag
        replicas.serve([replicas.launch(number) for number in range(CALLED)])
        cluster.wait_until_called(replicas.webhooks)
        until(
            lambda: all(calls(server, namespace) for server in servers), seconds=PATIENCE, waiting_for="calls of every server"
        )
        cases = []
        for case in options.only or CASES:
            with ExitStack() as stack:
                rate = options.rate / len(servers)
                creators = [stack.enter_context(Creators(server, namespace, rate=rate)) for server in servers]
                played, outage = Played(replicas).play(case)
                time.sleep(replicas.learns)
            creates = [create for each in creators for create in each.creates]
            cases.append({"case": case, **played, **judged(creates, outage)})
            say(str(cases[-1]))
        return {"rate": options.rate, "lag_seconds": options.lag, "cases": cases}


def calls(server: ApiServer, namespace: str) -> bool:
    """Whether this API server has us called for an annotated pod."""
    answer = server.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod(0, annotated=True))
    return answer.status == httpx.codes.CREATED and not violations(answer.body)


class Played:
    """One case: the victim there as it is needed, killed, and back."""

    def __init__(self, replicas: Tended) -> None:
        self._replicas = replicas
        self._called = [replica for replica in replicas.running if replica.ready]
        for replica in [each for each in replicas.running if not each.ready]:
            replicas.kill(replica, lag=0)

    def play(self, case: str) -> tuple[Figures, Outage | None]:
        """Return what became of it, and what creates may have failed for."""
        kind, _, moment = case.partition(":")
        if kind == "alone":
            return self._alone()
        return {"aside": self._aside, "late": self._late, "called": self._as_called, "together": self._together}[kind](moment)

    def _aside(self, moment: str, away: float = 0.0) -> tuple[Figures, None]:
        death = self._die(moment)
        time.sleep(away)
        return {**death, "stable_after_seconds": self._back()}, None

    def _late(self, moment: str) -> tuple[Figures, None]:
        return self._aside(moment, LATE)

    def _as_called(self, moment: str) -> tuple[Figures, Outage]:
        death = self._die(moment, called=True)
        began, forgotten = self._alive, time.monotonic()
        figures = {**death, "stable_after_seconds": self._back()}
        return figures, Outage(began, forgotten + self._replicas.learns, IN_FLIGHT + REFUSED)

    def _together(self, moment: str) -> tuple[Figures, Outage]:
        death = self._die(moment)
        began = self._replicas.kill_all()
        self._called = [self._replicas.launch(number) for number in range(CALLED)]
        victim = self._replicas.launch(VICTIM)
        for replica in [*self._called, victim]:
            self._replicas.wait_up(replica)
        up = time.monotonic()
        self._replicas.serve(self._called)
        ended = time.monotonic() + self._replicas.learns
        self._replicas.wait_ready(victim)
        self._replicas.finish(self._called)
        figures = {
            **death,
            "nobody_there_seconds": ended - began,
            "stable_after_seconds": time.monotonic() - up,
        }
        return figures, Outage(began, ended, IN_FLIGHT + REFUSED + NOBODY)

    def _alone(self) -> tuple[Figures, None]:
        """The others are stopped for a moment: calls wait for them, and none is as patient as that is long."""
        replicas = self._replicas
        victim = self._launch()
        replicas.lead(VICTIM)
        for replica in self._called:
            os.kill(replica.process.pid, signal.SIGSTOP)
        try:
            replicas.demand_ca()
            until(lambda: self._served_by() == [f"replica-{VICTIM}"], seconds=3, waiting_for="the first to serve the new leaf")
            replicas.kill(victim, lag=0)
            served = len(self._served_by())
        finally:
            for replica in self._called:
                os.kill(replica.process.pid, signal.SIGCONT)
        return {"served_by": served, "stable_after_seconds": self._back()}, None

    def _served_by(self) -> list[str]:
        """Who has said that he serves the leaf of the Secret, which is another one since the rotation began."""
        seen = self._replicas.seen()
        leaf = fingerprint((seen.data or {})["tls.crt"])
        return [name for name, ack in seen.acks.items() if ack.leaf == leaf] if OLD_CA_CRT in (seen.data or {}) else []

    def _launch(self, *moment: str) -> Replica:
        victim = self._replicas.launch(VICTIM, None, *moment)
        self._replicas.wait_ready(victim)
        return victim

    def _die(self, moment: str, *, called: bool = False) -> Figures:
        """Rotate the CA, and return when the victim was killed at that moment: how, and what was to be done next then."""
        replicas = self._replicas
        if moment == "saw:stable":  # which it sees when it starts, except in the middle of a rotation
            replicas.demand_ca()
            until(lambda: OLD_CA_CRT in (replicas.seen().data or {}), seconds=STABLE, waiting_for="a rotation")
            victim = replicas.launch(VICTIM, None, moment)
        else:
            victim = self._launch(moment)
            if called:
                replicas.serve([victim])
                time.sleep(replicas.learns)
        for rotation in range(1, TRIES + 1):
            if moment != "saw:stable":
                replicas.lead(VICTIM if moment.startswith("did:") else 0)
                replicas.demand_ca()
            replicas.go_on(lambda: not self._is_alive(victim) or replicas.is_stable(), waiting_for=f"the end at {moment}")
            if self._is_alive(victim):
                time.sleep(FORGOTTEN)  # the last step of all is seen before the one dies who did it
            if not self._is_alive(victim):
                phase = replicas.next_phase()
                if called:
                    time.sleep(FORGOTTEN)
                code = replicas.wait(victim, seconds=0)
                return {"exit_code": code, "rotations": rotation, "next_phase": phase}
        raise TimeoutError(f"nobody was killed at {moment} in {TRIES} rotations")

    def _is_alive(self, victim: Replica) -> bool:
        now = time.monotonic()
        if alive := victim.process.running:
            self._alive = now  # it was still there then
        return alive

    def _back(self) -> float:
        """Start the victim again, without calls; return the seconds until everything was stable, once it was up."""
        victim = self._replicas.launch(VICTIM)
        self._replicas.wait_up(victim)
        began = time.monotonic()
        self._replicas.wait_ready(victim)
        self._replicas.finish(self._called)
        return time.monotonic() - began


def judged(creates: Sequence[Create], outage: Outage | None) -> Figures:
    """What became of the creates."""
    failed = [create for create in creates if create.problem]
    unexcused = [create for create in failed if outage is None or not outage.excuses(create)]
    return {
        "creates": len(creates),
        "stored": sum(create.stored for create in creates),
        "failed": len(failed),
        "unexcused": len(unexcused),
        "problems": dict(Counter(create.problem for create in unexcused)),
        "longest_gap_seconds": longest_gap(creates),  # on whichever server
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = [] if figures["cases"] else ["nothing was played"]
    for each in figures["cases"]:
        case = each["case"]
        if each.get("exit_code", -signal.SIGKILL) != -signal.SIGKILL:
            problems.append(f"{case}: the replica ended by itself, with {each['exit_code']}")
        if each["unexcused"]:
            problems.append(f"{case}: {each['unexcused']} creates failed: {each['problems']}")
        if each["stable_after_seconds"] > STABLE:
            problems.append(f"{case}: stable only {each['stable_after_seconds']:.1f} s after the replica was back")
        if each.get("nobody_there_seconds", 0.0) > THERE + figures["lag_seconds"]:
            problems.append(f"{case}: nobody was there for {each['nobody_there_seconds']:.1f} s")
        if not each["stored"]:
            problems.append(f"{case}: no pod was created")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.killed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help="these, in this order (default: every one)")
    parser.add_argument("--rate", type=float, default=60, help="creates a second, 5 of 6 annotated (default: %(default)s)")
    lag = "seconds; a second API server, which gets half of the creates, learns of everything so late (default: there is none)"
    parser.add_argument("--lag", type=float, default=0, help=lag)
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
