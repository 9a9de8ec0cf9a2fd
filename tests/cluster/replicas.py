"""Replicas of the real server behind the Service of deploy/overlays/self: each a process on an address of its own.

The test plays kubelet, endpoint controller and Deployment; everything else is real. Needs a network of its own (netns.py).
"""

import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx

from tests.cluster.cluster import Cluster, answers_ok
from tests.cluster.netns import NETWORK
from tests.cluster.tied import Tied
from tests.cluster.webhook import inherited, variables

SERVICE = NAMESPACE = "dpdk-webhook"
TLS_PORT, HEALTH_PORT = 8443, 8080
ROUTING = "--enable-aggregator-routing=true"  # of kube-apiserver: to endpoints, as no node is here to route to a Service
# Whose API server finds a Service by its EndpointSlices, and not by its Endpoints.
SLICES = (1, 33)


@dataclass(slots=True)
class Replica:
    """One server. `ready` is what the endpoints say of it."""

    address: str
    process: Tied
    ready: bool = False

    @property
    def url(self) -> str:
        return f"https://{self.address}:{TLS_PORT}"

    @property
    def health_url(self) -> str:
        return f"http://{self.address}:{HEALTH_PORT}"

    def connections(self) -> int:
        """How many TLS connections are established with it."""
        # little-endian address and port in hexadecimal, then those of the peer, then the state: proc(5)
        here = f"{int.from_bytes(socket.inet_aton(self.address), 'little'):08X}:{TLS_PORT:04X}"
        rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()]
        return sum(row[1] == here and row[3] == "01" for row in rows)

    def memory(self) -> dict[str, float]:
        """What is resident, in MiB: of the server itself, and of the processes that it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {"server": _resident(self.process.pid), "children": sum(_resident(int(child)) for child in children)}


class Replicas:
    """`with Replicas(cluster, directory, 3) as replicas:` registers deploy/overlays/self and has so many called.

    Every one of them is ended on the way out. `settings` are further settings of the server.
    """

    command: Sequence[str] = ("webhook", "serve")  # of `python -m`

    def __init__(self, cluster: Cluster, directory: Path, number: int, *, settings: Mapping[str, Any] | None = None) -> None:
        self._cluster = cluster
        self._count = number
        self._directory = directory
        ports = {"tls_port": TLS_PORT, "health_port": HEALTH_PORT}
        self._environment = inherited() | variables({**ports, **self._certificates(), **(settings or {})})
        self._numbers = count()
        self._published = False
        self._http = httpx.Client(trust_env=False)
        self.running: list[Replica] = []

    def _certificates(self) -> Mapping[str, Any]:
        """The settings that say where the certificate comes from."""
        tls = self._directory / "tls"
        names = ["--dir", str(tls), "--name", f"{SERVICE}.{NAMESPACE}.svc"]
        subprocess.run([sys.executable, "-m", "certs", "issue", *names], check=True, capture_output=True)
        self.ca = tls / "ca.crt"
        return {"certificates": "files", "tls_cert": tls / "tls.crt", "tls_key": tls / "tls.key"}

    def _register(self) -> list[str]:
        return self._cluster.register_service(self.ca.read_bytes())

    def __enter__(self) -> Self:
        webhooks = self._register()
        try:
            for _ in range(self._count):
                self.start()
            self._cluster.wait_until_called(webhooks)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for replica in self.running:
            replica.process.kill()
        self._http.close()

    def start(self, settings: Mapping[str, Any] | None = None) -> Replica:
        """Start one more, wait until it is ready, and let the endpoints say so. `settings` are more of them, for this one."""
        replica = self.launch(next(self._numbers), settings)
        replica.process.wait_ready(lambda: answers_ok(self._http, f"{replica.health_url}/readyz"), seconds=60)
        self._say(replica, ready=True)
        return replica

    def launch(self, number: int, settings: Mapping[str, Any] | None = None, *arguments: str) -> Replica:
        """Start one and don't wait; the endpoints say that it isn't ready. Of the same number, it is the same one again."""
        address = str(NETWORK[10 + number % 200])  # as of a real pod, an address is not used again soon
        command = [sys.executable, "-m", *self.command, *arguments]
        environment = self._environment | variables({"host": address, "replica": f"replica-{number}", **(settings or {})})
        replica = Replica(address, Tied(command, log=self._directory / f"replica-{number}.log", environment=environment))
        self.running.append(replica)
        return replica

    def terminate(self, replica: Replica, *, lag: float) -> None:
        """Send SIGTERM as the kubelet does; the endpoints learn of it `lag` seconds later, and it goes on by itself."""
        replica.process.terminate()
        time.sleep(lag)
        self._say(replica, ready=False)

    def kill(self, replica: Replica, *, lag: float) -> None:
        """End it with SIGKILL; the endpoints learn of it `lag` seconds later."""
        replica.process.kill()
        time.sleep(lag)
        self.forget(replica)

    def wait(self, replica: Replica, *, seconds: float) -> int:
        """Wait for the end of one that was terminated; return its exit code."""
        code = replica.process.wait(seconds=seconds)
        self.forget(replica)
        return code

    def forget(self, replica: Replica) -> None:
        self.running.remove(replica)
        self._publish()

    def scrape(self, replica: Replica) -> str:
        """The metrics of one, in Prometheus' text format."""
        return self._http.get(f"{replica.health_url}/metrics").raise_for_status().text

    def _say(self, replica: Replica, *, ready: bool) -> None:
        replica.ready = ready
        self._publish()

    def _publish(self) -> None:
        metadata = {"name": f"{SERVICE}-test", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": SERVICE}}
        if self._cluster.version >= SLICES:
            path, body = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices", _slice(metadata, self.running)
        else:
            path, body = f"/api/v1/namespaces/{NAMESPACE}/endpoints", _endpoints({"name": SERVICE}, self.running)
        name = body["metadata"]["name"]
        call = ("PUT", f"{path}/{name}") if self._published else ("POST", path)
        answer = self._cluster.api(*call, body)
        if answer.status not in (httpx.codes.OK, httpx.codes.CREATED):
            raise RuntimeError(f"the endpoints could not be written: {answer.body}")
        self._published = True


def _resident(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended just now
        return 0.0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def _slice(metadata: dict[str, Any], replicas: Sequence[Replica]) -> dict[str, Any]:
    def endpoint(replica: Replica) -> dict[str, Any]:
        conditions = {"ready": replica.ready, "serving": replica.process.running, "terminating": not replica.ready}
        return {"addresses": [replica.address], "conditions": conditions}

    return {
        "metadata": metadata,
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": TLS_PORT}],
        "endpoints": [endpoint(replica) for replica in replicas],
    }


def _endpoints(metadata: dict[str, Any], replicas: Sequence[Replica]) -> dict[str, Any]:
    def addresses(ready: bool) -> list[dict[str, str]]:
        return [{"ip": replica.address} for replica in replicas if replica.ready is ready]

    ports = [{"name": "https", "port": TLS_PORT}]
    subset = {"addresses": addresses(True), "notReadyAddresses": addresses(False), "ports": ports}
    return {"metadata": metadata, "subsets": [subset] if replicas else []}
