"""Replicas that are started, killed and started again in any order, while the endpoints say what their /readyz does."""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from certs.cluster import CONFIGURATIONS, Kind
from certs.keeper import DEMAND
from certs.rotate import CA_CRT, CA_KEY, MARGIN, TLS_CRT, TLS_KEY, Material, Phase, next_step
from tests.cluster.cluster import answers_ok
from tests.cluster.creators import Create
from tests.cluster.kept import NAMES, Kept
from tests.cluster.replicas import Replica
from tests.cluster.tied import until

PATIENCE = 60.0  # seconds; a promise is always less, and is told of when it is broken
LEARNS = 0.5  # seconds in which an API server that doesn't lag has learnt of a change, for sure
DAY = 24 * 3600.0  # seconds


class Tended(Kept):
    """As Kept, but nobody is started at first, and the test plays the kubelet: whenever it calls `tend`."""

    learns = LEARNS  # more when a server lags

    def __enter__(self) -> Self:
        self.webhooks = self._register()
        return self

    def answers(self, replica: Replica) -> bool:
        """Whether it says of itself that it is ready."""
        return answers_ok(self._http, f"{replica.health_url}/readyz")

    def tend(self, replicas: Sequence[Replica]) -> bool:
        """Let the endpoints say of each of these what it says of itself; whether all of them are ready."""
        for replica in replicas:
            ready = replica.process.running and self.answers(replica)
            if ready is not replica.ready:
                self._say(replica, ready=ready)
        return all(replica.ready for replica in replicas)

    def serve(self, replicas: Sequence[Replica]) -> float:
        """Return when all of these are ready, and called: how many seconds one took for it at most, once its process was up."""
        up: dict[str, float] = {}
        took: dict[str, float] = {}

        def look() -> bool:
            for replica in replicas:
                if replica.address not in up and self._is_up(replica):
                    up[replica.address] = time.monotonic()
            self.tend(replicas)
            for replica in replicas:
                if replica.ready:
                    now = time.monotonic()
                    took.setdefault(replica.address, now - up.get(replica.address, now))
            return len(took) == len(replicas)

        until(look, seconds=PATIENCE, waiting_for=f"{len(replicas)} replicas to be ready")
        return max(took.values())

    def wait_up(self, replica: Replica) -> None:
        """Return when its process has begun to work: what comes before is the machine's."""
        replica.process.wait_ready(lambda: self._is_up(replica), seconds=PATIENCE)

    def _is_up(self, replica: Replica) -> bool:
        return answers_ok(self._http, f"{replica.health_url}/livez")

    def wait_ready(self, replica: Replica) -> None:
        """Return when it is ready, of which the endpoints hear nothing."""
        replica.process.wait_ready(lambda: self.answers(replica), seconds=PATIENCE)

    def lead(self, number: int) -> None:
        """Have the replica of that number hold the Lease: it takes one that bears its name for its own."""
        name = f"replica-{number}"
        self.administrator.merge("Lease", {"spec": {"holderIdentity": name, "renewTime": None}})

        def taken() -> bool:
            spec = (self.administrator.read("Lease") or {})["spec"]
            return spec["holderIdentity"] == name and bool(spec.get("renewTime"))

        until(taken, seconds=PATIENCE, waiting_for=f"{name} to take the Lease")

    def demand_ca(self) -> None:
        self.administrator.merge("Secret", {"metadata": {"annotations": {DEMAND: "ca"}}})

    def is_stable(self) -> bool:
        """Whether there is one CA, trusted by every entry and by nothing else, and nothing left to do."""
        seen = self.seen()
        data = seen.data or {}
        alone = bool(seen.bundles) and all(pem == data.get(CA_CRT) for pem in seen.bundles.values())
        return alone and set(data) == {CA_CRT, CA_KEY, TLS_CRT, TLS_KEY} and not seen.demand and not seen.settled

    def next_phase(self) -> Phase:
        """That of what is to be done next, by whoever does it."""
        now = self.administrator.clock.now() + timedelta(seconds=self.ahead)
        return next_step(self.seen(), name=NAMES.dns, now=now).phase

    def go_on(self, holds: Callable[[], bool], *, waiting_for: str, called: Sequence[Replica] = ()) -> float:
        """Wait until it holds, with a rotation's margin passed as soon as it has begun; return the seconds that took."""
        began, passed = time.monotonic(), None

        def held() -> bool:
            nonlocal passed
            self.tend(called)
            if holds():
                return True
            settled = self.seen().settled
            if settled is not None and settled != passed:
                passed = settled
                # not driven: in this, an API server learns of what was done before
                time.sleep(self.learns)
                self.drive(MARGIN.total_seconds() + 1)
            return False

        until(held, seconds=PATIENCE, waiting_for=waiting_for)
        return time.monotonic() - began

    def finish(self, called: Sequence[Replica] = ()) -> float:
        """Wait until everything is stable, and the replicas that are called are ready; return the seconds that took."""
        return self.go_on(lambda: self.is_stable() and self.tend(called), waiting_for="everything to be stable", called=called)

    def plant(self, material: Material) -> None:
        """Put it into the Secret, which isn't there, and its CA into every caBundle."""
        data = {key: base64.b64encode(value).decode() for key, value in material.data().items()}
        self.administrator.create("Secret", {"type": "Opaque", "data": data})
        for kind in CONFIGURATIONS:
            found = self.administrator.read(kind) or {}
            pems = dict.fromkeys(self.administrator.bundles(found), material.ca.certificate)
            self.administrator.trust(kind, found, pems)

    def remove(self, kind: Kind) -> None:
        """Delete one of our objects."""
        place = ["-n", NAMES.namespace] if kind in ("Secret", "Lease") else []
        name = {"Secret": NAMES.secret, "Lease": NAMES.lease}.get(kind, NAMES.configuration)
        self._cluster.kubectl("delete", kind, name, *place)

    def kill_all(self) -> float:
        """SIGKILL for everybody at once, of which the endpoints learn at once; return when (monotonic)."""
        killed = time.monotonic()
        for replica in self.running:
            replica.process.kill()
        for replica in list(self.running):
            self.forget(replica)
        return killed


@dataclass(frozen=True, slots=True)
class Outage:
    """From when to when (monotonic) somebody who was called was not there, and what creates are told then."""

    began: float
    ended: float
    reasons: Sequence[str]

    def excuses(self, create: Create) -> bool:
        """Whether this create may have failed for it."""
        meanwhile = create.ended >= self.began and create.due <= self.ended
        return meanwhile and any(reason in create.problem for reason in self.reasons)
