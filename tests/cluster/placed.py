"""An installation with names of its own on the cluster of all tests: the test says what it holds, and nobody calls it."""

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from certs.cluster import CONFIGURATIONS, Clock, Kind, Names, connect
from certs.cluster import Cluster as Objects
from certs.issue import Pair, cross_sign, issue_ca, issue_leaf
from certs.keeper import KINDS, SERVING, Keeper
from certs.loop import Report
from certs.rotate import CA_NAME, Material
from tests.cluster.cluster import OVERLAY, Cluster
from tests.serving import eventually

ENTRIES: Mapping[Kind, tuple[str, ...]] = {
    "MutatingWebhookConfiguration": ("first.mutate.test", "second.mutate.test"),
    "ValidatingWebhookConfiguration": ("only.validate.test",),
}


class Ahead(Clock):
    """The API server's clock, and ahead of it."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass(frozen=True)
class Place:
    """An installation with names of its own, which nobody calls."""

    cluster: Cluster
    names: Names
    objects: Objects
    directory: Path

    def trust(self, bundle: bytes, **others: bytes) -> None:
        """Make both configurations anew, with this caBundle in each entry but `others`, by the first word of its name."""
        for kind, entries in ENTRIES.items():
            self.remove(kind)
            webhooks = [self.webhook(name, others.get(name.partition(".")[0], bundle)) for name in entries]
            self.objects.create(kind, {"webhooks": webhooks})

    def webhook(self, name: str, bundle: bytes | None) -> dict[str, Any]:
        """An entry that calls the Service, if it were ever called."""
        service = {"namespace": self.names.namespace, "name": self.names.service, "path": "/mutate"}
        trust = {} if bundle is None else {"caBundle": base64.b64encode(bundle).decode()}
        return {
            "name": name,
            "clientConfig": {"service": service} | trust,
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "matchConditions": [{"name": "never", "expression": "false"}],
            "failurePolicy": "Ignore",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }

    def hold(self, data: Mapping[str, bytes], marks: Mapping[str, str] | None = None) -> None:
        """Let the Secret hold this."""
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        self.objects.create("Secret", {"metadata": {"annotations": dict(marks or {})}, "data": encoded})

    def serve(self, **leaves: Material) -> None:
        """Let the Lease say what each replica serves."""
        said = {SERVING + name: f"{leaf.fingerprint} {leaf.until:%Y-%m-%dT%H:%M:%SZ}" for name, leaf in leaves.items()}
        self.objects.create("Lease", {"metadata": {"annotations": said}})

    def held(self) -> Material:
        """What the Secret holds."""
        data = (self.objects.read("Secret") or {})["data"]
        decoded = {key: base64.b64decode(value) for key, value in data.items()}
        return Material.read(decoded, name=self.names.dns, now=datetime.now(UTC))

    def marks(self) -> Mapping[str, str]:
        """The annotations of the Secret."""
        found: Mapping[str, str] = (self.objects.read("Secret") or {})["metadata"]["annotations"]
        return found

    def bundles(self) -> set[bytes]:
        """What stands in any caBundle."""
        return set(self.objects.entries({kind: self.objects.read(kind) for kind in KINDS}).values())

    def remove(self, kind: Kind) -> None:
        place = "" if kind in CONFIGURATIONS else f"/namespaces/{self.names.namespace}"
        group = {"Secret": "/api/v1", "Lease": "/apis/coordination.k8s.io/v1"}.get(
            kind, "/apis/admissionregistration.k8s.io/v1"
        )
        name = {"Secret": self.names.secret, "Lease": self.names.lease}.get(kind, self.names.configuration)
        self.cluster.api("DELETE", f"{group}{place}/{kind.lower()}s/{name}")

    def account(self, name: str) -> Path:
        """A kubeconfig with a token of this service account."""
        path = f"/api/v1/namespaces/{self.names.namespace}/serviceaccounts/{name}/token"
        made = self.cluster.api("POST", path, {"spec": {}})
        assert made.status == httpx.codes.CREATED, made.body
        config = json.loads(self.cluster.kubeconfig.read_text())
        config["users"] = [{"name": "admin", "user": {"token": made.body["status"]["token"]}}]
        file = self.directory / f"{name}.kubeconfig"
        file.write_text(json.dumps(config))
        return file

    def shipped_account(self) -> Path:
        """A kubeconfig of an account that may do here what deploy/overlays/self grants, and nothing else."""
        manifests = [OVERLAY / "rbac.yaml", OVERLAY.parents[1] / "base" / "serviceaccount.yaml"]
        documents = [document for path in manifests for document in yaml.safe_load_all(path.read_text())]
        for document in documents:
            cluster_wide = document["kind"].startswith("Cluster")
            document["metadata"] = {"name": self.names.configuration if cluster_wide else document["metadata"]["name"]}
            if not cluster_wide:
                document["metadata"]["namespace"] = self.names.namespace
            for subject in document.get("subjects", []):
                subject["namespace"] = self.names.namespace
            if cluster_wide:
                for rule in document.get("rules", []):
                    rule["resourceNames"] = [self.names.configuration]
                if "roleRef" in document:
                    document["roleRef"]["name"] = self.names.configuration
        self.cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(documents))
        return self.account("dpdk-webhook")

    def environment(self, **settings: object) -> dict[str, str]:
        given = {"namespace": self.names.namespace, "webhook_configuration": self.names.configuration} | settings
        own = {key: value for key, value in os.environ.items() if not key.startswith("DPDK_WEBHOOK_")}
        return own | {f"DPDK_WEBHOOK_{key.upper()}": str(value) for key, value in given.items()}


@contextmanager
def placed(cluster: Cluster, directory: Path) -> Iterator[Place]:
    """Such an installation, of which nothing but the namespace is there yet."""
    with cluster.namespace() as namespace:
        names = Names(namespace, "dpdk-webhook", "dpdk-webhook-tls", "dpdk-webhook", namespace)
        objects = connect(names, Clock(), kubeconfig=str(cluster.kubeconfig))
        place = Place(cluster, names, objects, directory)
        try:
            yield place
        finally:
            for kind in CONFIGURATIONS:
                place.remove(kind)
            for resource in ("clusterrolebindings", "clusterroles"):
                cluster.api("DELETE", f"/apis/rbac.authorization.k8s.io/v1/{resource}/{namespace}")
            objects.close()


def material(name: str, *, age: timedelta = timedelta(), old: Material | None = None) -> Material:
    """A CA and a leaf for this name; behind the leaf the CA signed by the old one, where there is one."""
    now = datetime.now(UTC) - age
    ca = issue_ca(name=CA_NAME, now=now)
    leaf = issue_leaf(ca, names=[name], now=now)
    if old is None:
        return Material(ca, leaf)
    cross = cross_sign(ca, old=old.ca, now=now)
    return Material(ca, Pair(leaf.certificate + cross, leaf.key), old.ca.certificate)


@contextmanager
def kept(place: Place, clock: Clock, kubeconfig: Path, name: str = "one") -> Iterator[list[Report]]:
    """A replica in mode `self`, which serves nobody; what it reports."""
    reports: list[Report] = []
    objects = connect(place.names, clock, kubeconfig=str(kubeconfig))
    keeper = Keeper(objects, name, serve=lambda _: True, tell=reports.append)
    keeper.start()
    try:
        eventually(lambda: reports and reports[-1].phase == "stable" and not reports[-1].problem, 20, "all is well")
        yield reports
    finally:
        keeper.stop(5)
        objects.close()
