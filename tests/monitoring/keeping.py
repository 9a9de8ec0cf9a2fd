"""A server in mode `self`, the API server that it asks, and what an administrator does to both and reads in the runbooks."""

import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx

from certs.cluster import Clock, connect
from certs.keeper import DEMAND, SERVING
from certs.rotate import CA_CRT
from scripts import throwaway
from scripts.throwaway import Certificates
from tests.cluster.cluster import Cluster
from tests.cluster.driven import drive
from tests.cluster.kept import NAMES, account_kubeconfig
from tests.cluster.replicas import NAMESPACE
from tests.cluster.tied import until
from tests.cluster.webhook import inherited, variables
from tests.serving import Server

RUNBOOKS: Final = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
CLUSTER_ROLE: Final = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{NAMES.configuration}"
MUTATING: Final = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAMES.configuration}"
SECONDS: Final = 30.0  # to wait for anything at all


@dataclass(frozen=True)
class Issued(Certificates):
    """Those of the Secret."""

    @property
    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        context.check_hostname = False  # they are for the Service's name, and the tests come to a port of 127.0.0.1
        return context


class Keeping:
    """An installation with one replica, and what may befall it."""

    def __init__(self, cluster: Cluster, server: Server, wall: Path) -> None:
        self.server = server
        self._cluster = cluster
        self._wall = wall
        self._administrator = connect(NAMES, Clock(), kubeconfig=str(cluster.kubeconfig))

    def wait_for_phase(self, phase: str) -> None:
        self.server.counts_to(f'dpdk_webhook_rotation_phase{{phase="{phase}"}}', 1, SECONDS)

    def lose(self, replica: str) -> None:
        """A replica of this name has vanished without a word, and then the CA is to be replaced."""
        until = datetime.now(UTC) + timedelta(days=10)
        said = {"metadata": {"annotations": {SERVING + replica: f"0123456789abcdef {until:%Y-%m-%dT%H:%M:%SZ}"}}}
        self._administrator.merge("Lease", said)
        self._administrator.merge("Secret", {"metadata": {"annotations": {DEMAND: "ca"}}})

    def forbid_to_patch(self) -> None:
        """The webhook loses the right to write the configurations."""
        [rule] = self._cluster.api("GET", CLUSTER_ROLE).body["rules"]
        rule["verbs"].remove("patch")
        self._change(CLUSTER_ROLE, {"rules": [rule]}, "application/merge-patch+json")
        until(lambda: "no" in self.rights(), seconds=SECONDS, waiting_for="the right to be gone")

    def empty_the_ca_bundle(self) -> None:
        path = "/webhooks/0/clientConfig/caBundle"
        self._change(MUTATING, [{"op": "remove", "path": path}], "application/json-patch+json")
        self.server.counts_to("dpdk_webhook_ca_bundle_matches", 0, SECONDS)

    def put_the_clock_wrong(self, seconds: float) -> None:
        drive(self._wall, seconds)

    def rights(self) -> list[str]:
        """What the commands in the runbook answer about the rights, a line each."""
        return self.run("DpdkWebhookCertificateErrors", "can-i").split()

    def run(self, alert: str, having: str, **names: str) -> str:
        """What the one block of commands in a runbook that has this in it prints; `names` stand for words in capitals there."""
        [commands] = [block for block in blocks(alert) if having in block]
        for name, value in names.items():
            commands = commands.replace(name, value)
        path = f"{self._cluster.programs}{os.pathsep}{os.environ['PATH']}"
        environment = inherited() | {"PATH": path, "KUBECONFIG": str(self._cluster.kubeconfig), "KUBERC": "off"}
        environment["KUBECACHEDIR"] = str(self._cluster.directory / "kubectl")
        return subprocess.run(["sh", "-c", commands], env=environment, capture_output=True, text=True, check=False).stdout

    def _change(self, path: str, patch: object, content_type: str) -> None:
        answer = self._cluster.api("PATCH", path, patch, content_type=content_type)
        if answer.status != httpx.codes.OK:
            raise RuntimeError(f"{path}: {answer.body}")


def blocks(alert: str) -> list[str]:
    """The commands in an alert's runbook, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", (RUNBOOKS / f"{alert}.md").read_text(), re.DOTALL | re.MULTILINE)


@contextmanager
def keeping(directory: Path) -> Iterator[Keeping]:
    """One that is ready, with the rights of deploy/overlays/self; nothing in its log may be a traceback."""
    with Cluster() as cluster:
        cluster.register_service(b"")
        account, clock, wall, log = (directory / name for name in ("kubeconfig", "clock", "wall", "server.log"))
        account_kubeconfig(cluster, account)
        for each in (clock, wall):
            drive(each, 0)
        port, health_port = throwaway.free_ports(2)
        settings = {
            "certificates": "self",
            "namespace": NAMESPACE,
            "kubeconfig": account,
            "replica": "replica-0",
            "host": "127.0.0.1",
            "tls_port": port,
            "health_port": health_port,
        }
        command = ["tests.cluster.driven", str(clock), f"wall:{wall}"]
        ready = f"http://127.0.0.1:{health_port}/readyz"
        files = Issued(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
        with (
            log.open("wb") as file,
            throwaway.running(command, inherited() | variables(settings), ready, ssl.create_default_context(), file) as process,
        ):
            kept = Keeping(cluster, Server(process, files, port, health_port, log), wall)
            files.ca.write_text(cluster.kubectl(*_read_secret(CA_CRT)).stdout)
            yield kept
        assert "Traceback" not in log.read_text()


def _read_secret(key: str) -> tuple[str, ...]:
    template = f'{{{{index .data "{key}" | base64decode}}}}'
    return ("get", "secret", NAMES.secret, "--namespace", NAMESPACE, "--output", f"go-template={template}")
