"""`python -m tests.cluster.onlooking`: replicas whose certificate others keep tell that a caBundle is wrong, and touch nothing.

Their account may `get` and `watch` the configurations and nothing else, and the last one has none. Exit status 1 when they are
late to tell, when anything of others changes, or when the last one asks an API server for anything.
"""

import argparse
import base64
import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from certs.cluster import CONFIGURATIONS
from certs.issue import issue_ca
from certs.rotate import CA_NAME
from tests.cluster.cluster import Answer, Cluster
from tests.cluster.counters import samples
from tests.cluster.damage import broken
from tests.cluster.damages import GARBAGE
from tests.cluster.harmed import PATHS, SECONDS, shown
from tests.cluster.kept import ACCOUNT, account_kubeconfig
from tests.cluster.netns import NETWORK
from tests.cluster.play import Figures, play
from tests.cluster.replicas import NAMESPACE, ROUTING, Replica, Replicas
from tests.cluster.tied import until

MUTATING: Final = PATHS[CONFIGURATIONS[0]]
UNTRUSTED: Final = "the caBundle of mutate.pods.dpdk-webhook does not stand for the served certificate"
ROLES: Final = "/apis/rbac.authorization.k8s.io/v1"


class Onlooking(Replicas):
    """As Replicas, of one, that may look at the configurations. Where `trap` listens, no API server is to be found."""

    def __init__(self, cluster: Cluster, directory: Path, trap: socket.socket) -> None:
        settings = {"kubeconfig": directory / "account.kubeconfig", "namespace": NAMESPACE}
        super().__init__(cluster, directory, 1, settings=settings)
        host, port = trap.getsockname()
        config = json.loads(cluster.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://{host}:{port}"
        (directory / "trap.kubeconfig").write_text(json.dumps(config))
        self._environment |= {
            "KUBECONFIG": str(directory / "trap.kubeconfig"),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": str(port),
        }

    def _register(self) -> list[str]:
        webhooks = super()._register()
        role = f"{ROLES}/clusterroles/{ACCOUNT}"
        self.ask("PATCH", role, [{"op": "replace", "path": "/rules/0/verbs", "value": ["get", "watch"]}])
        self.ask("DELETE", f"{ROLES}/namespaces/{NAMESPACE}/rolebindings/{ACCOUNT}")
        account_kubeconfig(self._cluster, self._directory / "account.kubeconfig")
        return webhooks

    def ask(self, method: str, path: str, operations: object = None) -> Answer:
        """As the administrator; RuntimeError when the API server refuses."""
        answer = self._cluster.api(method, path, operations, content_type="application/json-patch+json")
        if answer.status != httpx.codes.OK:
            raise RuntimeError(f"{method} {path}: {answer.body}")
        return answer

    def restart(self, settings: Mapping[str, Any]) -> Replica:
        """Another one in its place, with these settings."""
        self.kill(self.running[0], lag=0)
        return self.start(settings)

    def readiness(self, replica: Replica) -> tuple[bool, str]:
        """Yes or no, and why."""
        answer = self._http.get(f"{replica.health_url}/readyz")
        return answer.status_code == httpx.codes.OK, answer.text

    def value(self, replica: Replica, name: str, **labels: str) -> float | None:
        """Of a metric of ours; None: it is absent."""
        found = samples(self.scrape(replica), f"dpdk_webhook_{name}")
        return next((value for these, value in found if these == labels), None)


def run(options: argparse.Namespace) -> Figures:
    """One replica after the other: files, cert-manager, and one without a token."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        closing(socket.create_server((str(NETWORK[1]), 0))) as trap,
        Cluster(flags=[ROUTING]) as cluster,
        Onlooking(cluster, Path(directory), trap) as replicas,
    ):
        files = replicas.running[0]
        parts = {
            "files, caBundle": corrupted(replicas, files, options.stay),
            "files, key": mismatched(replicas, files, Path(directory, "tls", "tls.key")),
            "cert-manager, caBundle": corrupted(replicas, replicas.restart({"certificates": "cert-manager"}), options.stay),
            "no token": alone(replicas, replicas.restart({"kubeconfig": ""}), trap, options.stay),
        }
        return {"parts": parts}


def corrupted(replicas: Onlooking, replica: Replica, stay: float) -> Figures:
    """The caBundle of one entry is wrong for so many seconds, and is put right again."""
    path = "/webhooks/0/clientConfig/caBundle"
    right = replicas.ask("GET", MUTATING).body["webhooks"][0]["clientConfig"]["caBundle"]
    wrong = {"op": "replace", "path": path, "value": base64.b64encode(GARBAGE).decode()}
    until(lambda: replicas.value(replica, "ca_bundle_matches") == 1, seconds=SECONDS, waiting_for="the caBundle to be read")

    def tells(matches: bool) -> bool:
        return replicas.value(replica, "ca_bundle_matches") == matches and replicas.readiness(replica)[0] == matches

    began = time.monotonic()
    damaged = replicas.ask("PATCH", MUTATING, [wrong]).body
    with suppress(TimeoutError):
        until(lambda: tells(False), seconds=SECONDS, waiting_for="the replica to tell")
    told = time.monotonic() - began
    time.sleep(stay)
    _, reason = replicas.readiness(replica)
    written = int(replicas.ask("GET", MUTATING).body != damaged)
    began = time.monotonic()
    replicas.ask("PATCH", MUTATING, [wrong | {"value": right}])
    with suppress(TimeoutError):
        until(lambda: tells(True), seconds=SECONDS, waiting_for="the replica to be ready again")
    return {
        "costs": False,
        "told_seconds": told,
        "reason": reason.partition("\n")[0],
        "unexplained": int(UNTRUSTED not in reason),
        "written": written,
        "healed_seconds": time.monotonic() - began,
    }


def mismatched(replicas: Onlooking, replica: Replica, key: Path) -> Figures:
    """Somebody puts a key beside the certificate that is not its own."""
    bundle, right = replicas.ca.read_bytes(), key.read_bytes()
    wrong = issue_ca(name=CA_NAME, now=datetime.now(UTC)).key
    served = shown(replica, bundle)
    handshakes = refused = 0
    key.write_bytes(wrong)
    began = time.monotonic()
    while replicas.value(replica, "certificate_reloads_total", result="mismatch") != 1 and time.monotonic() - began < SECONDS:
        handshakes += 1
        refused += shown(replica, bundle) != served
    told = time.monotonic() - began
    figures = {
        "costs": False,
        "told_seconds": told,
        "handshakes": handshakes,
        "refused_handshakes": refused + (not served),
        "harmed": int(not replicas.readiness(replica)[0]),
        "written": int(key.read_bytes() != wrong),
    }
    key.write_bytes(right)
    return figures


def alone(replicas: Onlooking, replica: Replica, trap: socket.socket, stay: float) -> Figures:
    """Without any token: nobody is asked, and no more is said than is known."""
    time.sleep(stay)
    known = ("ca_bundle_matches", "clock_skew_seconds")
    return {
        "costs": False,
        "harmed": int(not replicas.readiness(replica)[0]),
        "invented": sum(replicas.value(replica, name) is not None for name in known),
        "calls": _waiting(trap),
    }


def _waiting(trap: socket.socket) -> int:
    """How many connections somebody has made with it."""
    trap.setblocking(False)
    number = 0
    with suppress(BlockingIOError):
        while True:
            trap.accept()[0].close()
            number += 1
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.onlooking", description=(__doc__ or "").partition("\n")[0])
    stay = "seconds for which a caBundle stays wrong, and the last one is watched (default: %(default)s)"
    parser.add_argument("--stay", type=float, default=10, help=stay)
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
