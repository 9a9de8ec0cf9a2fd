"""A small kubelet: a Node that is Ready, and pods of the webhook's image that run on it as processes of this machine.

What a pod says is done as written: arguments, environment, volumes with a token of the pod's own, probes, the grace period.
Not done are volumes elsewhere than beneath /var/run, and whatever limits a container. Pods of other images stay as
the scheduler left them. Needs a network and mounts of its own (netns.py, away.mount), which it shares with its pods.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import httpx

from tests.cluster.cluster import ApiServer
from tests.cluster.pods import LOOK, Node, Pod, now
from tests.cluster.volumes import AWAY, ApiError, ask

IMAGE = "dpdk-webhook"  # whatever its registry and tag are
RENEWS = 2.0  # seconds, the Lease; 10 of the real one


class Kubelet:
    """`with Kubelet(server, directory, name):` is one Node with all that runs on it; dying, it takes that along.

    A kubelet of the same name takes over what the last one left: it starts the containers again, with other addresses.
    """

    def __init__(self, server: ApiServer, directory: Path, name: str = "node") -> None:
        self.server, self.name = server, name
        self.directory = directory / name
        self.held = threading.Event()  # while it is set no container is started
        self._node = Node(server, name, self.directory, self.held)
        self._stop = threading.Event()
        self._pods: dict[str, Pod] = {}
        self._thread = threading.Thread(target=self._run, name=f"kubelet {name}")

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """As a node that loses power: every process ends at once, and the API server hears nothing of it."""
        self._stop.set()
        self._thread.join()
        for pod in self._pods.values():
            pod.lose_power()
        for pod in self._pods.values():
            pod.join()

    def crash(self) -> int:
        """SIGKILL for every container; return of how many. They are started again unless the kubelet is held."""
        return sum(pod.crash() for pod in list(self._pods.values()))

    def ready(self) -> list[str]:
        """The names of the pods whose probes say so, whatever the API server has heard of it."""
        return [pod.name for pod in list(self._pods.values()) if pod.ready]

    def logs(self) -> dict[str, str]:
        """What each pod that is or was here has written, by name."""
        return {file.stem: file.read_text(errors="replace") for file in sorted(self.directory.glob("*.log"))}

    def _run(self) -> None:
        registered, renewed = False, -RENEWS
        while not self._stop.wait(LOOK):
            with suppress(*AWAY, ApiError):
                registered = registered or self._register()
                if time.monotonic() - renewed >= RENEWS:
                    self._renew()
                    renewed = time.monotonic()
                self._look()

    def _register(self) -> bool:
        metadata = {"name": self.name, "labels": {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"}}
        made = self.server.api("POST", "/api/v1/nodes", {"metadata": metadata})
        if made.status not in (httpx.codes.CREATED, httpx.codes.CONFLICT):
            raise ApiError(f"no Node: {made.body}")
        self._say_ready()
        return True

    def _say_ready(self) -> None:
        amounts = {"cpu": "32", "memory": "64Gi", "pods": "110", "hugepages-2Mi": "1Gi"}
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}
        status = {"capacity": amounts, "allocatable": amounts, "conditions": [condition]}
        self._ask("PATCH", f"/api/v1/nodes/{self.name}/status", {"status": status})

    def _renew(self) -> None:
        """The Lease, and Ready as well: the node controller may have said otherwise meanwhile."""
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {
            "holderIdentity": self.name,
            "leaseDurationSeconds": 40,
            "renewTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        merge = "application/merge-patch+json"
        renewed = self.server.api("PATCH", f"{path}/{self.name}", {"spec": spec}, content_type=merge)
        if renewed.status == httpx.codes.NOT_FOUND:
            self._ask("POST", path, {"metadata": {"name": self.name}, "spec": spec})
        self._say_ready()

    def _look(self) -> None:
        path = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self.name}"
        found = {pod["metadata"]["uid"]: pod for pod in self._ask("GET", path)["items"] if is_ours(pod)}
        for uid, pod in found.items():
            if uid not in self._pods:
                self._pods[uid] = Pod(self._node, pod)
            self._pods[uid].seen(pod)
        for uid in [uid for uid, pod in self._pods.items() if uid not in found or pod.ended]:
            self._pods[uid].gone()
            if self._pods[uid].ended:
                self._pods.pop(uid).join()

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return ask(self.server, method, path, body)


def is_ours(pod: Mapping[str, Any]) -> bool:
    """Whether all of its containers are of the webhook's image."""
    images = [container["image"] for container in pod["spec"]["containers"]]
    return all(image.rpartition("/")[2].partition("@")[0].partition(":")[0] == IMAGE for image in images)
