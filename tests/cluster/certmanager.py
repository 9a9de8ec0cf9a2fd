"""cert-manager beside a cluster of the tests: its controllers, three ways to install with it, and what comes of that."""

import base64
import os
import signal
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certs.cluster import CONFIGURATIONS
from tests.cluster import installers
from tests.cluster.binaries import cert_manager
from tests.cluster.cluster import Cluster
from tests.cluster.configured import PATH, RESOURCES
from tests.cluster.installers import DEPLOY, NAME, PATIENCE, Helm, Kustomize
from tests.cluster.play import say
from tests.cluster.replicas import HEALTH_PORT, TLS_PORT
from tests.cluster.tied import Tied, until
from tests.deploy.crds import definitions

CERTIFICATES = "/apis/cert-manager.io/v1"
ISSUED = 20.0  # seconds in which cert-manager issues anything
MODE = ("--set", "certificates.mode=cert-manager")


class CertManager:
    """`with CertManager(cluster):` runs its controllers and its CA injector, as administrator."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __enter__(self) -> Self:
        files = [file for file in definitions() if "cert-manager.io" in file.name]
        names = [yaml.safe_load(file.read_text())["metadata"]["name"] for file in files]
        for file in files:
            self._cluster.kubectl("apply", "--server-side", "-f", file)
        self._cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", *names)
        environment = os.environ | {"KUBECONFIG": str(self._cluster.kubeconfig)}
        log = self._cluster.directory / "cert-manager.log"
        self.process = Tied([cert_manager() / "cert-manager"], log=log, environment=environment)
        return self

    def pause(self) -> None:
        """Have it issue nothing for a while."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def __exit__(self, *_: object) -> None:
        if not self.process.running:
            say(self.process.tail())
        self.process.kill()


class Charted(Helm):
    """The chart; cert-manager keeps the Secrets that it has filled."""

    namespace, name = installers.NAMESPACE, NAME
    stays: Sequence[str] = (f"secrets {installers.NAMESPACE}/{NAME}-ca", f"secrets {installers.NAMESPACE}/{NAME}-serving")

    def install(self) -> None:
        self._helm("install", NAME, self._chart, *self._waiting, *MODE)


class Overlaid(Kustomize):
    """The overlay; the namespace goes, and takes all that is in it along."""

    namespace, name = installers.NAMESPACE, NAME
    stays: Sequence[str] = ()

    def __init__(self, cluster: Cluster, directory: Path, deploy: Path = DEPLOY) -> None:
        super().__init__(cluster, directory, deploy)
        self._overlay = deploy / "overlays" / "cert-manager"


class Named(Overlaid):
    """The overlay under other names, as its component shows."""

    namespace, name = "blue", f"blue-{NAME}"

    def __init__(self, cluster: Cluster, directory: Path, deploy: Path = DEPLOY) -> None:
        super().__init__(cluster, directory, deploy)
        top = directory.resolve() / "my"
        named = top / "named"
        named.mkdir(parents=True)
        inner = {
            "resources": [os.path.relpath(self._overlay, named)],
            "namePrefix": "blue-",
            "namespace": self.namespace,
        }
        component = os.path.relpath(deploy / "components" / "cert-manager-names", top)
        (named / "kustomization.yaml").write_text(yaml.safe_dump(inner))
        (top / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["named"], "components": [component]}))
        self._overlay = top

    def _apply(self, place: Path) -> None:
        self.cluster.kubectl("apply", "--server-side", "-k", place)
        wait = ("rollout", "status", f"deployment/{self.name}", f"--namespace={self.namespace}", f"--timeout={PATIENCE}s")
        self.cluster.kubectl(*wait)


BY: Mapping[str, type[Charted | Overlaid]] = {"helm": Charted, "kustomize": Overlaid, "named": Named}


class Site:
    """What there is of one installation, as the API server and the replicas say."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self.name = cluster, namespace, name

    def secret(self, which: str) -> dict[str, bytes]:
        """The files of `serving` or `ca`; none as long as it isn't there, or not filled. No prefix reaches their names."""
        found = self._cluster.api("GET", f"/api/v1/namespaces/{self._namespace}/secrets/{NAME}-{which}")
        data: Mapping[str, str] = found.body.get("data") or {}
        return {file: base64.b64decode(content) for file, content in data.items()}

    def entries(self) -> list[dict[str, Any]]:
        """Those of both configurations."""
        found = [self._cluster.api("GET", f"{PATH}/{RESOURCES[kind]}/{self.name}").body for kind in CONFIGURATIONS]
        return [entry for configuration in found for entry in configuration.get("webhooks", [])]

    def bundles(self) -> list[bytes]:
        """The caBundle of each; empty where there is none."""
        return [base64.b64decode(entry["clientConfig"].get("caBundle", "")) for entry in self.entries()]

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._cluster.api("GET", f"/api/v1/namespaces/{self._namespace}/pods").body["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self) -> list[str]:
        """The addresses of the replicas that are."""
        return [pod["status"]["podIP"] for pod in self.pods() if condition(pod, "Ready")]

    def waits(self) -> list[str]:
        """Why containers aren't there yet."""
        told = [state for pod in self.pods() for state in pod["status"].get("containerStatuses", [])]
        return [state["state"]["waiting"]["message"] for state in told if "waiting" in state["state"]]

    def served(self) -> list[int]:
        """The serial number of what each ready replica serves."""
        pems = [ssl.get_server_certificate((address, TLS_PORT), timeout=5) for address in self.ready()]
        return [serial(pem.encode()) for pem in pems]

    def said(self) -> list[str]:
        """What `/readyz` of each ready replica says."""
        return [httpx.get(f"http://{address}:{HEALTH_PORT}/readyz", trust_env=False).text for address in self.ready()]

    def renew(self, which: str) -> None:
        """Ask for another certificate, as `cmctl renew` does; return when the Secret holds it."""
        path = f"{CERTIFICATES}/namespaces/{self._namespace}/certificates/{self.name}-{which}"
        before = self.secret(which)["tls.crt"]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        asked = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "", "lastTransitionTime": now}

        def is_asked() -> bool:
            """Not where the controller has written it in between."""
            body = self._cluster.api("GET", path).body
            body["status"]["conditions"].append(asked)
            return self._cluster.api("PUT", f"{path}/status", body).status == httpx.codes.OK

        until(is_asked, seconds=ISSUED, waiting_for="the wish for a certificate")
        until(lambda: self.secret(which)["tls.crt"] != before, seconds=ISSUED, waiting_for=f"a new certificate: {which}")


def condition(found: Mapping[str, Any], kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in found["status"].get("conditions", []))


def serial(pem: bytes) -> int:
    return x509.load_pem_x509_certificate(pem).serial_number


def serials(pem: bytes) -> list[int]:
    return [found.serial_number for found in x509.load_pem_x509_certificates(pem)] if pem else []


def key(pem: bytes) -> bytes:
    """The public one."""
    found = x509.load_pem_x509_certificate(pem).public_key()
    return found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
