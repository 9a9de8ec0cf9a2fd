"""A pod on the kubelet of the tests: its container is a process of this machine, which is probed and ended as written."""

import shutil
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from tests.cluster.cluster import ApiServer
from tests.cluster.netns import NETWORK
from tests.cluster.tied import Tied
from tests.cluster.volumes import AWAY, ApiError, MountError, Volumes, ask
from tests.cluster.webhook import inherited

PROGRAM = ("-m", "webhook")  # what the image's entry point runs
SHIM = Path(__file__).with_name("mounted.py")
LOOK = 0.2  # seconds
REFRESHES = 10.0  # seconds, volumes
BACK_OFF = (0.0, 5.0, 10.0, 20.0)  # seconds before a container is started again, the longest from then on
_ADDRESSES = count()


@dataclass(frozen=True, slots=True)
class Node:
    """Where a pod runs."""

    server: ApiServer
    name: str
    directory: Path  # logs, volumes
    held: threading.Event  # while it is set no container is started


@dataclass(slots=True)
class Probe:
    """One of a container's probes; `of` a pod that has none, it always succeeds."""

    path: str
    port: int
    period: float
    timeout: float
    failures: int  # after which it has failed
    successes: int
    due: float
    passed: int = 0
    failed: int = 0

    @classmethod
    def of(cls, container: Mapping[str, Any], name: str) -> Self | None:
        written = container.get(name)
        if written is None:
            return None
        port = written["httpGet"]["port"]
        named = {each.get("name"): each["containerPort"] for each in container.get("ports", [])}
        return cls(
            written["httpGet"]["path"],
            named[port] if isinstance(port, str) else port,
            written["periodSeconds"],
            written["timeoutSeconds"],
            written["failureThreshold"],
            written["successThreshold"],
            time.monotonic() + written.get("initialDelaySeconds", 0),
        )

    def look(self, http: httpx.Client, address: str) -> bool | None:
        """True once it succeeded, False once it failed, often enough; None: nothing new."""
        if time.monotonic() < self.due:
            return None
        self.due = time.monotonic() + self.period
        try:
            good = http.get(f"http://{address}:{self.port}{self.path}", timeout=self.timeout).is_success
        except httpx.TransportError:
            good = False
        self.passed, self.failed = (self.passed + 1, 0) if good else (0, self.failed + 1)
        if good:
            return True if self.passed >= self.successes else None
        return False if self.failed >= self.failures else None


@dataclass(slots=True)
class State:
    """What is said of a pod in its status."""

    address: str
    started: bool = False
    ready: bool = False
    restarts: int = 0
    waiting: str = ""  # why no container runs
    since: str = field(default_factory=lambda: now())

    def status(self, container: Mapping[str, Any]) -> dict[str, Any]:
        def condition(kind: str, holds: bool) -> dict[str, str]:
            return {"type": kind, "status": str(holds), "lastTransitionTime": self.since}

        ready = self.ready and not self.waiting
        running: dict[str, Any] = {"running": {"startedAt": self.since}}
        state = {"waiting": {"reason": "ContainerCreating", "message": self.waiting}} if self.waiting else running
        return {
            "phase": "Pending" if self.waiting and not self.restarts else "Running",
            "podIP": self.address,
            "podIPs": [{"$patch": "replace"}, {"ip": self.address}],  # otherwise an old address stays beside it
            "startTime": self.since,
            "conditions": [
                condition("Initialized", True),
                condition("ContainersReady", ready),
                condition("Ready", ready),
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "started": self.started,
                    "restartCount": self.restarts,
                    "state": state,
                }
            ],
        }


class Pod:
    """One pod: a thread of its own, from its first sight to its end."""

    def __init__(self, node: Node, pod: dict[str, Any]) -> None:
        self._node, self._server, self._pod = node, node.server, pod
        metadata = pod["metadata"]
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._uid = metadata["uid"]
        self._container = pod["spec"]["containers"][0]
        # as of a real pod, an address is not used again soon; after a loss of power it has another one
        self._state = State(str(NETWORK[10 + next(_ADDRESSES) % 240]))
        self._place = node.directory / self._uid
        self._volumes = Volumes(node.server, pod, self._place, self._field)
        self._process: Tied | None = None
        self._wanted = threading.Event()
        self._grace: float | None = None  # seconds, once it is to end
        self._cut = False
        self._said: dict[str, Any] = {}
        self._http = httpx.Client(trust_env=False)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=metadata["name"])
        self._thread.start()

    @property
    def name(self) -> str:
        return self._thread.name

    @property
    def ready(self) -> bool:
        return self._state.ready

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def seen(self, pod: dict[str, Any]) -> None:
        """What the API server says of it now."""
        if "deletionTimestamp" in pod["metadata"] and self._grace is None:
            self._grace = pod["metadata"].get("deletionGracePeriodSeconds", 0)
            self._wanted.set()

    def gone(self) -> None:
        """The API server knows it no more."""
        if self._grace is None:
            self._grace = 0.0
            self._wanted.set()

    def lose_power(self) -> None:
        self._cut = True
        self.crash()
        self._wanted.set()

    def crash(self) -> bool:
        """SIGKILL for its container; whether there was one."""
        with self._lock:
            running = self._process is not None and self._process.running
            if self._process is not None:
                self._process.kill()
            return running

    def _run(self) -> None:
        starts = 0
        try:
            while not self._wanted.wait(BACK_OFF[min(starts, len(BACK_OFF) - 1)]):
                if self._start():
                    starts += 1
                    self._tend()
                    if not self._wanted.is_set():
                        self._state.started = self._state.ready = False
                        self._state.restarts += 1
                else:
                    self._wanted.wait(LOOK)
                self._say()
            self._finish()
        finally:
            self.crash()
            self._http.close()

    def _start(self) -> bool:
        """Start the container; False: not now, and the status says why."""
        if self._node.held.is_set():
            self._state.waiting = "the kubelet is held"
            return False
        try:
            mounts = self._volumes.write()
            command = [*PROGRAM, *self._container.get("args", [])]
            environment = inherited() | self._environment()
        except (*AWAY, ApiError, MountError) as error:
            self._state.waiting = str(error)
            return False
        shim = [sys.executable, "-I", "-S", SHIM, *mounts, "--", sys.executable, *command]
        with self._lock:
            if self._cut:
                return False
            log = self._node.directory / f"{self._pod['metadata']['name']}.log"
            self._process = Tied(shim, log=log, environment=environment)
        self._state.waiting = ""
        return True

    def _tend(self) -> None:
        """Look at the container until it ends, by itself or because it isn't well, or is wanted to."""
        assert self._process is not None
        startup, liveness, readiness = (
            Probe.of(self._container, f"{name}Probe") for name in ("startup", "liveness", "readiness")
        )
        self._state.started = startup is None
        refreshed = time.monotonic()
        while self._process.running and not self._wanted.wait(LOOK / 4):
            if startup is not None and not self._state.started:
                passed = startup.look(self._http, self._state.address)
                self._state.started = passed is True
                if passed is False:
                    break
            else:
                if liveness is not None and liveness.look(self._http, self._state.address) is False:
                    break
                self._look_ready(readiness)
            self._say()
            if time.monotonic() - refreshed >= REFRESHES:
                refreshed = time.monotonic()
                with suppress(*AWAY, ApiError, MountError):
                    self._volumes.write()
        if not self._wanted.is_set() and self._process.running:
            self._process.stop(seconds=self._pod["spec"]["terminationGracePeriodSeconds"])

    def _look_ready(self, readiness: Probe | None) -> None:
        passed = True if readiness is None else readiness.look(self._http, self._state.address)
        if passed is not None:
            self._state.ready = passed

    def _finish(self) -> None:
        """SIGTERM, the grace period, SIGKILL; and then the pod is no more."""
        if self._cut:
            return
        if self._process is not None and self._process.running:
            self._process.terminate()
            readiness = Probe.of(self._container, "readinessProbe")
            end = time.monotonic() + (self._grace or 0.0)
            while self._process.running and time.monotonic() < end and not self._cut:
                self._look_ready(readiness)
                self._say()
                time.sleep(LOOK / 4)
            self.crash()
        shutil.rmtree(self._place, ignore_errors=True)
        while not self._cut and not self._is_deleted():
            time.sleep(LOOK)

    def _is_deleted(self) -> bool:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}}
        try:
            answer = self._server.api("DELETE", self._path, options)
        except AWAY:
            return False
        return answer.status in (httpx.codes.OK, httpx.codes.NOT_FOUND, httpx.codes.CONFLICT)

    def _say(self) -> None:
        """Write the status when it is another one than was written last."""
        status = self._state.status(self._container)
        if status != self._said:
            with suppress(*AWAY, ApiError):
                body = {"metadata": {"uid": self._uid}, "status": status}
                ask(self._server, "PATCH", f"{self._path}/status", body)
                self._said = status

    def _environment(self) -> dict[str, str]:
        there = urlsplit(self._server.url)
        written = {each["name"]: self._value(each) for each in self._container.get("env", [])}
        own = {
            "KUBERNETES_SERVICE_HOST": str(there.hostname),
            "KUBERNETES_SERVICE_PORT": str(there.port),
            # a real pod has 0.0.0.0 for itself
            "DPDK_WEBHOOK_HOST": self._state.address,
        }
        return written | own

    def _value(self, variable: Mapping[str, Any]) -> str:
        if "valueFrom" not in variable:
            return str(variable.get("value", ""))
        return self._field(variable["valueFrom"]["fieldRef"]["fieldPath"])

    def _field(self, path: str) -> str:
        own = {"status.podIP": self._state.address, "spec.nodeName": self._node.name}
        if path in own:
            return own[path]
        found: Any = self._pod
        for part in path.split("."):
            found = found[part]
        return str(found)


def now() -> str:
    """As Kubernetes writes a time."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
