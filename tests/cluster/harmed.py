"""Replicas in mode `self` whose objects an administrator damages by hand, and how he sees that no damage is left."""

import base64
import hashlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from certs import rotate
from certs.cluster import CONFIGURATIONS, Kind, Object
from certs.issue import Pair, issue_ca, issue_leaf
from certs.keeper import seen
from certs.pem import certificates, pem_of
from certs.rotate import CA_NAME, MARGIN, Material, Settle, Step, Trust, Unusable, Write
from tests.cluster.cluster import Answer, answers_ok
from tests.cluster.counters import samples
from tests.cluster.driven import drive
from tests.cluster.kept import NAMES, Kept
from tests.cluster.replicas import NAMESPACE, TLS_PORT, Replica
from tests.cluster.tied import until

MUTATING, VALIDATING = CONFIGURATIONS
COLLECTIONS: Final[Mapping[Kind, str]] = {
    "Secret": f"/api/v1/namespaces/{NAMESPACE}/secrets",
    "Lease": f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases",
    **{kind: f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}s" for kind in CONFIGURATIONS},
}
_NAMES: Final[Mapping[Kind, str]] = {
    "Secret": NAMES.secret,
    "Lease": NAMES.lease,
    **dict.fromkeys(CONFIGURATIONS, NAMES.configuration),
}
PATHS: Final[Mapping[Kind, str]] = {kind: f"{collection}/{_NAMES[kind]}" for kind, collection in COLLECTIONS.items()}
COUNTERS: Final = ("certificate_errors_total", "rotation_steps_total", "tls_handshake_failures_total")
# the end of a rotation, and connections that somebody has given up
NOTHING_SAID: Final = ("rotation_phase stable", "tls_handshake_failures_total reset", "tls_handshake_failures_total timeout")
SETTLE: Final = 0.5  # real seconds in which an API server that isn't late learns of everything
SECONDS: Final = 20.0  # to wait for anything at all


class Harmed(Kept):
    """As Kept. The machine of each replica has a clock of its own, which `jump` sets."""

    def launch(self, number: int, settings: Mapping[str, Any] | None = None, *arguments: str) -> Replica:
        wall = self._wall(f"replica-{number}")
        drive(wall, 0)
        return super().launch(number, settings, *arguments, f"wall:{wall}")

    def jump(self, replica: Replica, seconds: float) -> None:
        """Let the clock of its machine be wrong by so much."""
        drive(self._wall(replica.process.name), seconds)

    def _wall(self, name: str) -> Path:
        return self._directory / f"{name}.wall"

    def now(self) -> datetime:
        """By the clock that the replicas go by."""
        return self.administrator.clock.now() + timedelta(seconds=self.ahead)

    # --- what the administrator does

    def send(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Answer:
        """Ask the API server for it, and return the answer; RuntimeError when that is neither a success nor a conflict."""
        answer = self._cluster.api(method, path, body, content_type=content_type)
        if not answer.status < httpx.codes.BAD_REQUEST and answer.status != httpx.codes.CONFLICT:
            raise RuntimeError(f"{method} {path}: {answer.body}")
        return answer

    def delete(self, kind: Kind) -> None:
        """Delete it, if it is there."""
        if self._cluster.api("GET", PATHS[kind]).status != httpx.codes.NOT_FOUND:
            self.send("DELETE", PATHS[kind])

    def edit(self, kind: Kind, *operations: Mapping[str, object]) -> None:
        """Change it by JSON Patch."""
        self.send("PATCH", PATHS[kind], operations, "application/json-patch+json")

    def merge(self, kind: Kind, patch: Object) -> None:
        self.send("PATCH", PATHS[kind], patch, "application/merge-patch+json")

    def give(self, data: Mapping[str, bytes | None]) -> None:
        """Write these into the Secret; None takes one out."""
        self.merge("Secret", {"data": {key: value and base64.b64encode(value).decode() for key, value in data.items()}})

    # --- what there is

    def material(self) -> Material:
        """What the Secret holds; Unusable."""
        return Material.read(self.seen().data or {}, name=NAMES.dns, now=self.now())

    def foreign(self) -> Material:
        """What the Secret could hold as well: consistent, but of a CA that nobody trusts."""
        ca = issue_ca(name=CA_NAME, now=self.now())
        return Material(ca, self.leaf(ca))

    def leaf(self, ca: Pair) -> Pair:
        return issue_leaf(ca, names=[NAMES.dns], now=self.now())

    def step(self) -> Step:
        """What is to be done next."""
        return rotate.next_step(self.seen(), name=NAMES.dns, now=self.now())

    def answers(self, replica: Replica, path: str) -> bool:
        """Whether it says yes there: /readyz."""
        return answers_ok(self._http, replica.health_url + path)

    def is_stable(self) -> bool:
        return type(self.step()) is Step

    def is_healed(self) -> bool:
        """Whether Secret, Lease and every caBundle fit, nothing is left to do, and every replica is ready and trusted."""
        objects = self.objects()
        found = seen(self.administrator, objects)
        try:
            held = Material.read(found.data or {}, name=NAMES.dns, now=self.now())
        except Unusable:
            return False
        names = {replica.process.name for replica in self.running}
        return (
            not isinstance(rotate.next_step(found, name=NAMES.dns, now=self.now()), Write | Trust | Settle)
            and all(objects.values())
            and all(name in found.acks and found.acks[name].leaf == held.fingerprint for name in names)
            and (objects["Lease"] or {})["spec"].get("holderIdentity") in names
            and all(self.answers(replica, "/readyz") for replica in self.running)
            and all(shown(replica, pem) for replica in self.running for pem in set(found.bundles.values()))
        )

    def recover(self) -> None:
        """Wait until all is healed, drive the margin, where there is one, and wait for the end of it all."""
        until(self.is_healed, seconds=SECONDS, waiting_for="everything to be healed")
        if not self.is_stable():
            until(lambda: self.seen().settled is not None, seconds=SECONDS, waiting_for="everybody to trust and to serve it")
            time.sleep(SETTLE)
            self.drive(MARGIN.total_seconds() + 1)
            until(self.is_stable, seconds=SECONDS, waiting_for="the end of the rotation")
        until(self.is_healed, seconds=SECONDS, waiting_for="everything to be in order")

    def told(self) -> Counter[str]:
        """What all replicas tell together: counters, in how many the caBundle doesn't match, how many are in which phase."""
        found: Counter[str] = Counter()
        for replica in self.running:
            text = self.scrape(replica)
            for name in COUNTERS:
                for labels, value in samples(text, f"dpdk_webhook_{name}"):
                    found[f"{name} {' '.join(labels.values())}"] += int(value)
            for labels, value in samples(text, "dpdk_webhook_rotation_phase"):
                found[f"rotation_phase {labels['phase']}"] += int(value)
            found["ca_bundle_matches 0"] += sum(not value for _, value in samples(text, "dpdk_webhook_ca_bundle_matches"))
        return found

    def told_since(self, before: Counter[str]) -> dict[str, int]:
        """By how much that has grown: nothing, if all is well and nothing was done."""
        return {name: count for name, count in (self.told() - before).items() if name not in NOTHING_SAID}

    def skews(self) -> list[float]:
        """By how many seconds each replica believes its machine's clock to be wrong."""
        name = "dpdk_webhook_clock_skew_seconds"
        return [value for replica in self.running for _, value in samples(self.scrape(replica), name)]


def connected(replica: Replica, bundle: bytes) -> ssl.SSLSocket:
    """Connect with it, as a client who trusts these CAs (PEM); OSError when he refuses it, ValueError when there is no CA."""
    context = ssl.create_default_context(cadata=pem_of(certificates(bundle)).decode())
    plain = socket.create_connection((replica.address, TLS_PORT), timeout=5)
    return context.wrap_socket(plain, server_hostname=NAMES.dns)


def shown(replica: Replica, bundle: bytes) -> str:
    """The fingerprint of the leaf that it shows to a client who trusts these CAs (PEM); "" when he refuses it."""
    try:
        with connected(replica, bundle) as connection:
            leaf = connection.getpeercert(binary_form=True) or b""
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(leaf).hexdigest()[:16]
