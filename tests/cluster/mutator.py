"""Somebody else's mutating webhook: a small HTTPS server that does to a pod whatever a test wants."""

import base64
import copy
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self, TypeAlias

import httpx
import jsonpatch

from scripts import throwaway
from tests.cluster.cluster import Cluster
from tests.cluster.tied import until

Pod: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Pod], None]  # to the pod itself

# The API server calls webhooks in the order of their configurations' names, and ours is called dpdk-webhook.
BEFORE_US = "aa-neighbour"
AFTER_US = "zz-neighbour"

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A webhook that is registered: what it does to a pod, and the pods as they came to it."""

    change: Change
    seen: list[Pod] = field(default_factory=list)
    met: Event = field(default_factory=Event)  # the API server has called it once

    def changed(self, pod: Pod) -> Pod:
        """The pod after its change; the first one, which only shows that it is called, stays as it is."""
        if not self.met.is_set():
            self.met.set()
            return pod
        self.seen.append(pod)
        changed = copy.deepcopy(pod)
        self.change(changed)
        return changed


class Mutator:
    """`with Mutator(directory) as mutator:` listens on 127.0.0.1, with certificates of its own."""

    def __init__(self, directory: Path) -> None:
        files = throwaway.issue(directory)
        self._ca_pem = files.ca.read_bytes()
        self._neighbours: dict[str, Neighbour] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._neighbours))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def registered(
        self, cluster: Cluster, namespace: str, name: str, change: Change, *, policy: str = "Never"
    ) -> Iterator[Neighbour]:
        """Have every new pod of one namespace changed, until the block ends.

        `name` decides whether it is called before us or after us; `policy` is its reinvocationPolicy.
        """
        path = f"/{namespace}/{name}"
        neighbour = self._neighbours[path] = Neighbour(change)
        webhook = {
            "name": f"{name}.example.com",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "url": f"https://127.0.0.1:{self._server.server_address[1]}{path}",
                "caBundle": base64.b64encode(self._ca_pem).decode(),
            },
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "sideEffects": "None",
            "reinvocationPolicy": policy,
        }
        made = cluster.api("POST", CONFIGURATIONS, {"metadata": {"name": name}, "webhooks": [webhook]})
        if made.status != httpx.codes.CREATED:
            raise RuntimeError(f"not registered: {made.body}")
        try:
            _wait_until_met(cluster, namespace, neighbour)
            yield neighbour
        finally:
            cluster.api("DELETE", f"{CONFIGURATIONS}/{name}")


def _wait_until_met(cluster: Cluster, namespace: str, neighbour: Neighbour) -> None:
    plain = {"metadata": {"name": "plain"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}

    def met() -> bool:
        cluster.api("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", plain)
        return neighbour.met.is_set()

    until(met, seconds=30, waiting_for="a call of the other webhook")


def _handler(neighbours: dict[str, Neighbour]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pod = review["request"]["object"]
            changed = neighbours[self.path.partition("?")[0]].changed(pod)
            patch = base64.b64encode(jsonpatch.make_patch(pod, changed).to_string().encode()).decode()
            response = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
            body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
            self.send_response(httpx.codes.OK)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server names it
            """Say nothing: what it was asked is in `seen`."""

    return Handler
