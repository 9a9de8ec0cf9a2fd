"""The only file that talks to the API server: the Secret, the Lease and both configurations, each by its name.

Objects stay raw dicts, as everywhere: what this version doesn't know of is written back as it was.
"""

import base64
import contextlib
import email.utils
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import urllib3.exceptions
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from certs.rotate import Entry

MANAGER: Final = "dpdk-webhook"  # of the fields that we write
PREFIX: Final = "dpdk-webhook/"  # of annotations
TIMEOUT: Final = (3.0, 8.0)  # seconds to connect, and between two pieces of an answer
NOT_FOUND: Final = 404
WATCH: Final = 60  # seconds after which a watch is begun anew
PAUSE: Final = 1.0  # seconds after a watch that failed

Kind: TypeAlias = Literal["Secret", "Lease", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
Object: TypeAlias = dict[str, Any]
Reason: TypeAlias = Literal["forbidden", "conflict", "unreachable", "invalid", "other"]

CONFIGURATIONS: Final[tuple[Kind, ...]] = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_VERSIONS: Final[Mapping[Kind, str]] = {
    "Secret": "v1",
    "Lease": "coordination.k8s.io/v1",
    **dict.fromkeys(CONFIGURATIONS, "admissionregistration.k8s.io/v1"),
}
_REASONS: Final[Mapping[int, Reason]] = {
    401: "forbidden",
    403: "forbidden",
    404: "conflict",  # what was read a moment ago is gone
    409: "conflict",
    422: "invalid",
}


# what comes of an answer that breaks off, or of one that no API server would give
_BROKEN: Final = (urllib3.exceptions.HTTPError, OSError, ValueError)


class ClusterError(Exception):
    """The API server refused or could not be asked; one line says what."""

    def __init__(self, reason: Reason, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.reason: Reason = reason
        self.status = status  # of HTTP; 0: there was no answer


@dataclass(frozen=True, slots=True)
class Names:
    """What our objects are called."""

    namespace: str
    service: str
    secret: str
    lease: str
    configuration: str

    @property
    def dns(self) -> str:
        """As the API server calls the Service."""
        return f"{self.service}.{self.namespace}.svc"


class Clock:
    """The time by the API server's clock, which is the one that judges our certificates; by ours until it has said something.

    Its `Date` counts whole seconds, and is carried on by a clock that doesn't jump.
    """

    def __init__(self, wall: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._wall = wall
        self._heard: tuple[datetime, float] | None = None

    def heard(self, date: str) -> None:
        """What a `Date` header says."""
        with contextlib.suppress(ValueError, OverflowError):
            # in GMT, and where it doesn't say so too: it is never the local time of this machine
            self._heard = email.utils.parsedate_to_datetime(date).replace(tzinfo=UTC), time.monotonic()

    def now(self) -> datetime:
        if self._heard is None:
            return self._wall()
        date, then = self._heard
        return date + timedelta(seconds=time.monotonic() - then)

    @property
    def skew(self) -> float | None:
        """Seconds by which this machine's clock is ahead; None: the API server has said nothing yet."""
        return None if self._heard is None else (self._wall() - Clock.now(self)).total_seconds()


class Cluster:
    """Reads and writes our objects. Every method raises ClusterError."""

    def __init__(self, client: ApiClient, names: Names, clock: Clock) -> None:
        self.names = names
        self.clock = clock
        self._client = client

    def read(self, kind: Kind) -> Object | None:
        """The object as it is; None: there is none."""
        try:
            return self._ask("GET", f"{self._path(kind)}/{self._name(kind)}")
        except ClusterError as error:
            if error.status != NOT_FOUND:
                raise
            return None

    def create(self, kind: Kind, content: Object) -> Object:
        """Make it, of these fields beside its name; a conflict when somebody was faster."""
        head = self._head(kind)
        return self._ask(
            "POST", self._path(kind), head | content | {"metadata": head["metadata"] | content.get("metadata", {})}
        )

    def replace(self, kind: Kind, content: Object) -> Object:
        """Write the whole; a conflict when it isn't any more what metadata.resourceVersion says."""
        return self._ask("PUT", f"{self._path(kind)}/{self._name(kind)}", content)

    def merge(self, kind: Kind, patch: Object) -> Object:
        """Write these fields, None removes one; with metadata.resourceVersion in it a conflict as above."""
        return self._ask("PATCH", f"{self._path(kind)}/{self._name(kind)}", patch, "application/merge-patch+json")

    def trust(self, kind: Kind, found: Object, bundles: Mapping[str, bytes]) -> Object:
        """Set the caBundle of these entries of a configuration: by their names, PEM. `found` is what was read.

        A conflict when it isn't any more what was read. By a strategic merge patch, which finds entries by name as server-side
        apply does. But whoever has *applied* a field of an entry owns the entry as well: an installer that applies manifests
        without it could not take it away, and would be refused for what remains of it.
        """
        webhooks = [
            {"name": entry, "clientConfig": {"caBundle": base64.b64encode(pem).decode()}} for entry, pem in bundles.items()
        ]
        patch = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}, "webhooks": webhooks}
        path = f"{self._path(kind)}/{self._name(kind)}?fieldManager={MANAGER}"
        return self._ask("PATCH", path, patch, "application/strategic-merge-patch+json")

    def bundles(self, configuration: Object | None) -> dict[str, bytes]:
        """The caBundle, PEM, of every entry that calls our Service, by the entry's name."""
        found = {}
        for webhook in (configuration or {}).get("webhooks") or []:
            called = webhook["clientConfig"].get("service") or {}
            if (called.get("namespace"), called.get("name")) == (self.names.namespace, self.names.service):
                found[webhook["name"]] = base64.b64decode(webhook["clientConfig"].get("caBundle") or "")
        return found

    def entries(self, objects: Mapping[Kind, Object | None]) -> dict[Entry, bytes]:
        """Those of both configurations."""
        return {(kind, name): pem for kind in CONFIGURATIONS for name, pem in self.bundles(objects[kind]).items()}

    def watch(self, kind: Kind) -> Iterator[Object | None]:
        """The object as it is, and each time that it changes, for a minute; None while there is none. Raises ClusterError."""
        name = self._name(kind)
        query = f"fieldSelector=metadata.name%3D{name}&watch=true&timeoutSeconds={WATCH}"
        timeout = (TIMEOUT[0], WATCH + 5.0)
        stream = self._open("GET", f"{self._path(kind)}?{query}", None, "", timeout)
        try:
            # read after the watch has begun: nothing can happen between the two. What there is comes once more as an event.
            found = self.read(kind)
            yield found
            version = _version(found)
            for line in stream:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ClusterError("other", f"the watch of {kind} {name} ended: {event['object'].get('message')}")
                if _version(event["object"]) > version:
                    version = _version(event["object"])
                    yield None if event["type"] == "DELETED" else event["object"]
        except (*_BROKEN, TypeError, LookupError, AttributeError) as error:
            raise ClusterError("unreachable", f"the watch of {kind} {name} broke off: {_line(error)}") from error
        finally:
            stream.close()

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    def _head(self, kind: Kind) -> Object:
        return {"apiVersion": _VERSIONS[kind], "kind": kind, "metadata": {"name": self._name(kind)}}

    def _name(self, kind: Kind) -> str:
        names = self.names
        return {"Secret": names.secret, "Lease": names.lease}.get(kind, names.configuration)

    def _path(self, kind: Kind) -> str:
        version = _VERSIONS[kind]
        place = "" if kind in CONFIGURATIONS else f"/namespaces/{self.names.namespace}"
        return f"{'/apis' if '/' in version else '/api'}/{version}{place}/{kind.lower()}s"

    def _ask(self, method: str, path: str, body: Object | None = None, content_type: str = "application/json") -> Object:
        answer = self._open(method, path, body, content_type, TIMEOUT)
        where = f"{method} {path.partition('?')[0]}"
        try:
            found = json.loads(answer.data)
        except _BROKEN as error:
            raise ClusterError("unreachable", f"{where}: the answer broke off: {_line(error)}") from error
        if not isinstance(found, dict):
            raise ClusterError("unreachable", f"{where}: the answer is no object; is it a Kubernetes API server?")
        return found

    def _open(
        self, method: str, path: str, body: Object | None, content_type: str, timeout: tuple[float, float]
    ) -> urllib3.BaseHTTPResponse:
        client = self._client
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": MANAGER}
        where, url = f"{method} {path.partition('?')[0]}", client.configuration.host + path
        try:
            # reads a token anew that was renewed; one with a newline behind it would be refused, and shown by the error
            client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            headers = {name: value.strip() for name, value in headers.items()}
            answer: urllib3.BaseHTTPResponse = client.call_api(method, url, headers, body, _request_timeout=timeout).response
            if date := answer.headers.get("Date"):
                self.clock.heard(date)
            if not 200 <= answer.status < 300:
                raise _refusal(where, answer.status, answer.data)
        except (*_BROKEN, ApiException, ConfigException) as error:
            raise ClusterError("unreachable", f"{where}: the API server can't be asked: {_line(error)}") from error
        return answer


class Watched:
    """One object, followed in a thread of its own from `start` on; `changed` is called, there, after each change."""

    def __init__(self, cluster: Cluster, kind: Kind, changed: Callable[[], object]) -> None:
        self._cluster = cluster
        self._kind: Kind = kind
        self._changed = changed
        self.found: Object | None = None
        self.known = False  # whether it was read at all; what was read once is good until it is read again
        self.error: ClusterError | None = None

    def start(self) -> None:
        # a daemon: it may be waiting for the API server when the process ends
        threading.Thread(target=self._follow, name=f"watch {self._kind}", daemon=True).start()

    def _follow(self) -> None:
        while True:
            began = time.monotonic()
            try:
                for found in self._cluster.watch(self._kind):
                    self.found, self.known, self.error = found, True, None
                    self._changed()
            except ClusterError as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - our own bug: without this thread nothing new would be seen
                self._fail(ClusterError("other", f"the watch of {self._kind}: {type(error).__name__}: {_line(error)}"))
            # something on the way may end each watch at once
            time.sleep(max(0.0, began + PAUSE - time.monotonic()))

    def _fail(self, error: ClusterError) -> None:
        self.error = error
        self._changed()
        time.sleep(PAUSE)


def connect(names: Names, clock: Clock, *, kubeconfig: str = "") -> Cluster:
    """By the pod's service account, or as a kubeconfig says; ClusterError when there is neither."""
    configuration = Configuration()
    try:
        if kubeconfig:
            load_kube_config(kubeconfig, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]
        else:
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError, TypeError, YAMLError) as error:
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "this is no pod with a service account's token"
        raise ClusterError("unreachable", f"{where}: {_line(error)}") from error
    configuration.retries = False  # whoever asks knows better than urllib3 what to do next
    configuration.keep_alive = True
    configuration.connection_pool_maxsize = 8  # four watches, and whoever reads and writes
    return Cluster(ApiClient(configuration), names, clock)


def _line(error: Exception) -> str:
    """What it says, in one line."""
    return " ".join(str(error).split()).rstrip(".")


def _version(found: Object | None) -> int:
    return int(found["metadata"]["resourceVersion"]) if found else -1


def _refusal(where: str, status: int, body: bytes) -> ClusterError:
    try:
        message = " ".join(str(json.loads(body)["message"]).split())
    except (ValueError, LookupError, TypeError):
        message = f"status {status}"
    return ClusterError(_REASONS.get(status, "other"), f"{where}: {message}", status)
