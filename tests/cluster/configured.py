"""When the webhook's configurations, and its policy, come and go, as the API server tells whoever watches them."""

import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

import httpx

from certs.cluster import CONFIGURATIONS
from tests.cluster.cluster import ApiServer

PATH = "/apis/admissionregistration.k8s.io/v1"
MUTATING = CONFIGURATIONS[0]
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
RESOURCES = {kind: f"{kind.lower()}s" for kind in CONFIGURATIONS} | {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One came, or went: when we heard of it (monotonic), and as which of all that etcd has written."""

    kind: str
    what: Literal["ADDED", "DELETED"]
    heard: float
    version: int


class Configured:
    """`with Configured(server) as configured:` watches each of these kinds, in a thread of its own, from that moment on."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self.events: list[Event] = []

    def __enter__(self) -> Self:
        # asked here: a thread that begins late would hear of nothing before
        versions = {kind: self._version(f"{PATH}/{resource}") for kind, resource in RESOURCES.items()}
        self._threads = [threading.Thread(target=self._watch, args=each, name=each[0]) for each in versions.items()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment: float, what: str) -> dict[str, Event]:
        """The first such event of each kind after a moment (monotonic)."""
        events = [event for event in list(self.events) if event.what == what and event.heard >= moment]
        return {event.kind: event for event in reversed(events)}

    def _watch(self, kind: str, version: str) -> None:
        path = f"{PATH}/{RESOURCES[kind]}"
        client = httpx.Client(base_url=self._server.url, verify=self._server.administrator, trust_env=False, timeout=60)
        with client as http:
            while not self._ending.is_set():
                query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds=2&resourceVersion={version}"
                with suppress(httpx.TransportError):
                    version = self._follow(http, kind, f"{path}?{query}", version) or self._version(path)

    def _version(self, path: str) -> str:
        version: str = self._server.api("GET", path).body["metadata"]["resourceVersion"]
        return version

    def _follow(self, http: httpx.Client, kind: str, path: str, version: str) -> str:
        """Return the version with which to go on; "": it is too old."""
        with http.stream("GET", path) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return ""
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] in ("ADDED", "DELETED"):
                    self.events.append(Event(kind, event["type"], time.monotonic(), int(version)))
        return version
