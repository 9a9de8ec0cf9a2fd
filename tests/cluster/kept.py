"""Replicas that keep their certificates themselves: mode `self`, with the rights of deploy/overlays/self and no others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from certs.cluster import Clock, Kind, Names, Object, connect
from certs.keeper import DEMAND, KINDS, seen
from certs.rotate import Demand, Seen
from tests.cluster.cluster import ApiServer, Cluster
from tests.cluster.driven import drive
from tests.cluster.replicas import NAMESPACE, SERVICE, Replicas

NAMES = Names(NAMESPACE, SERVICE, "dpdk-webhook-tls", "dpdk-webhook", "dpdk-webhook")
ACCOUNT = "dpdk-webhook"


class Kept(Replicas):
    """As Replicas, with a clock that is driven: `ahead` is by how many seconds."""

    def __init__(self, cluster: Cluster, directory: Path, number: int, *, settings: Mapping[str, Any] | None = None) -> None:
        self._clock = directory / "clock"
        self.command = ("tests.cluster.driven", str(self._clock))
        # behind at first: the API server, whose clock can't be driven, would refuse a certificate from the future
        self.ahead = 0.0
        self.drive(-24 * 3600.0)
        super().__init__(cluster, directory, number, settings=settings)
        self.administrator = connect(NAMES, Clock(), kubeconfig=str(cluster.kubeconfig))

    def _certificates(self) -> Mapping[str, Any]:
        return {
            "certificates": "self",
            "namespace": NAMESPACE,
            "kubeconfig": self._directory / "account.kubeconfig",
        }

    def _register(self) -> list[str]:
        webhooks = self._cluster.register_service(b"")
        account_kubeconfig(self._cluster, self._directory / "account.kubeconfig")
        return webhooks

    def drive(self, seconds: float) -> None:
        """Let the clock go so far ahead, of what it is already."""
        self.ahead += seconds
        drive(self._clock, self.ahead)

    def demand(self, what: Demand) -> None:
        """Ask for a new CA, or a new leaf, as `python -m certs rotate` does."""
        self.administrator.merge("Secret", {"metadata": {"annotations": {DEMAND: what}}})

    def held(self) -> Seen:
        """What the Secret alone says: it is less to ask for."""
        nothing: dict[Kind, Object | None] = dict.fromkeys(KINDS)
        return seen(self.administrator, nothing | {"Secret": self.administrator.read("Secret")})

    def objects(self) -> dict[Kind, Object | None]:
        """What the API server holds of ours."""
        return {kind: self.administrator.read(kind) for kind in KINDS}

    def seen(self) -> Seen:
        """What they say."""
        return seen(self.administrator, self.objects())


def account_kubeconfig(cluster: Cluster, file: Path, *, server: ApiServer | None = None) -> None:
    """Write how a pod's service account reaches the API server: with a token of its own, as the kubelet mounts one."""
    path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token"
    made = cluster.api("POST", path, {"spec": {"expirationSeconds": 24 * 3600}})
    if made.status != httpx.codes.CREATED:
        raise RuntimeError(f"no token: {made.body}")
    config = json.loads((server or cluster).kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": made.body["status"]["token"]}}]
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
