"""What a create through a real API server takes longer for us: sequential dry runs over one kept-alive connection.

Each way has a namespace of its own and is asked in turn, a few creates at a time, so that all of them meet the same machine: no
webhook, the floor and ours registered alike, ours as deploy/overlays/self installs it, and a MutatingAdmissionPolicy, for which
the API server calls nobody.
"""

import base64
import http.client
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import yaml

from bench import review
from bench.servers import FLOOR, OURS, BenchError, Server, start
from scripts import throwaway
from tests.cluster.cluster import OVERLAY, Cluster
from tests.cluster.tied import until

POLICY: Final = Path(__file__).parent / "policy.yaml"
BLOCK: Final = 25  # creates of one way before it is another's turn
_MUTATE: Final = "mutate.pods.dpdk-webhook"  # as deploy/overlays/self names them
_VALIDATE: Final = "validate.pods.dpdk-webhook"
_TOKEN: Final = re.compile(rb"kube-api-access-[a-z0-9]{5}")


@dataclass(slots=True)
class Way:
    """How the pods of one namespace are admitted, and the seconds that each create took."""

    name: str
    text: str
    namespace: str
    server: Server | None = None
    webhooks: tuple[str, ...] = ()  # of the server: those that the API server asks about a pod
    first_seen: bool = False
    seconds: list[float] = field(default_factory=list)

    def pod(self, number: int) -> bytes:
        """A pod as its author, or its controller, sends it."""
        given = review.pod(number, first_seen=self.first_seen)
        metadata, spec = given["metadata"], given["spec"]
        del given["status"], metadata["managedFields"], spec["volumes"][-1]
        for container in spec["containers"] + spec["initContainers"]:
            container["volumeMounts"] = [each for each in container["volumeMounts"] if not _TOKEN.match(each["name"].encode())]
        return orjson.dumps(given | {"metadata": metadata | {"namespace": self.namespace}})


def measure(rounds: int, creates: int = 250) -> dict[str, Any]:
    """By way: p50 and p99 of a create in milliseconds, and how far p50 is above that of no webhook."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory, ExitStack() as stack:
        files = throwaway.issue(Path(directory))
        ways = _ways(start(stack, files, OURS), start(stack, files, FLOOR, "--uid"))
        cluster = stack.enter_context(Cluster())
        _register(cluster, files, ways)
        api = http.client.HTTPSConnection(urlsplit(cluster.url).netloc, context=cluster.administrator, timeout=60)
        stack.callback(api.close)
        numbers = count(1)
        _wait_until_in_force(cluster, api, ways, numbers)
        before = _calls(cluster, ways)
        blocks = max(1, round(rounds * creates / BLOCK))
        for _ in range(blocks):
            for way in ways:
                _block(api, way, numbers)
        _check_calls(before, _calls(cluster, ways), ways)
        return {
            "kubernetes": ".".join(map(str, cluster.version)),
            "creates": blocks * BLOCK,
            "ways": {way.name: {"text": way.text} | _figures(way.seconds, ways[0].seconds) for way in ways},
        }


def _ways(ours: Server, floor: Server) -> list[Way]:
    return [
        Way("none", "no webhook", "bench-none"),
        Way("floor", "the floor, mutating", "bench-floor", floor, (_MUTATE,)),
        Way("known", "ours, mutating, replicas", "bench-ours", ours, (_MUTATE,)),
        Way("new", "ours, mutating, new pods", "bench-ours", ours, (_MUTATE,), first_seen=True),
        Way("installed", "ours, mutating and validating, replicas", "bench-installed", ours, (_MUTATE, _VALIDATE)),
        Way("policy", "a MutatingAdmissionPolicy (CEL)", "bench-policy"),
    ]


def _register(cluster: Cluster, files: throwaway.Certificates, ways: Sequence[Way]) -> None:
    """A namespace for each way; whatever is registered is asked about the pods of one of them and no others."""
    account = {"metadata": {"name": review.pod(0)["spec"]["serviceAccountName"]}}
    for namespace in dict.fromkeys(way.namespace for way in ways):
        _make(cluster, "/api/v1/namespaces", {"metadata": {"name": namespace}})
        _make(cluster, f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    ca = base64.b64encode(files.ca.read_bytes()).decode()
    installed = list(yaml.safe_load_all(cluster.kubectl("kustomize", OVERLAY).stdout))
    documents = [
        _configuration(document, way, way.server, ca)
        for way in {way.namespace: way for way in ways}.values()
        for document in installed
        if way.server and any(webhook["name"] in way.webhooks for webhook in document.get("webhooks", ()))
    ]
    manifest = yaml.safe_dump_all(documents) + "---\n" + POLICY.read_text()
    cluster.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", input=manifest)


def _make(cluster: Cluster, path: str, body: dict[str, Any]) -> None:
    answer = cluster.api("POST", path, body)
    if answer.status != http.client.CREATED:
        raise BenchError(f"the API server answered {path} with {answer.body}")


def _configuration(document: dict[str, Any], way: Way, server: Server, ca: str) -> dict[str, Any]:
    """As deploy/overlays/self has it, but for where it calls and whose pods it is asked about."""
    root = server.url.removesuffix("/mutate")
    selected = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [way.namespace]}
    webhooks = [
        webhook
        | {
            "name": f"{way.namespace}.{webhook['name']}",
            "clientConfig": {"url": root + webhook["clientConfig"]["service"]["path"], "caBundle": ca},
            "namespaceSelector": {"matchExpressions": [*webhook["namespaceSelector"]["matchExpressions"], selected]},
        }
        for webhook in document["webhooks"]
        if webhook["name"] in way.webhooks
    ]
    return document | {"metadata": {"name": way.namespace}, "webhooks": webhooks}


def _wait_until_in_force(
    cluster: Cluster, api: http.client.HTTPSConnection, ways: Sequence[Way], numbers: Iterator[int]
) -> None:
    """The API server picks up a little later what it has stored. All ways but the first must then come to the same pod."""
    unchanged = _spec(_create(api, ways[0], 0)[1])

    def in_force() -> bool:
        calls = _calls(cluster, ways)
        changed = [_spec(_create(api, way, next(numbers))[1]) != unchanged for way in ways[1:] if not way.first_seen]
        return all(changed) and all(calls.values())

    until(in_force, seconds=30, waiting_for="every webhook and the policy to be called")
    came_to = {way.name: _spec(_create(api, way, 0)[1]) for way in ways[1:] if not way.first_seen}
    for name, spec in came_to.items():
        if spec != came_to["known"]:
            raise BenchError(f"{name} came to another pod than ours: {_difference(spec, came_to['known'])}")


def _difference(one: Any, other: Any) -> str:
    left, right = orjson.dumps(one, option=orjson.OPT_SORT_KEYS), orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    at = next((place for place, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), 0)
    return f"…{left[at - 60 : at + 60].decode()}… and …{right[at - 60 : at + 60].decode()}…"


def _calls(cluster: Cluster, ways: Sequence[Way]) -> dict[str, int]:
    """How often the API server has called each webhook, by namespace and name."""
    names = {f"{way.namespace}.{webhook}" for way in ways for webhook in way.webhooks}
    return {name: cluster.webhook_calls(name) for name in names}


def _check_calls(before: dict[str, int], after: dict[str, int], ways: Iterable[Way]) -> None:
    expected = Counter(f"{way.namespace}.{webhook}" for way in ways for webhook in way.webhooks for _ in way.seconds)
    for name, creates in expected.items():
        if after[name] - before[name] != creates:
            raise BenchError(f"{name} was called {after[name] - before[name]} times for {creates} creates")


def _block(api: http.client.HTTPSConnection, way: Way, numbers: Iterator[int]) -> None:
    remembered = way.server.memo() if way.server else None
    for number in islice(numbers, BLOCK):
        way.seconds.append(_create(api, way, number)[0])
    if remembered and way.server:
        hits, misses = (now - then for now, then in zip(way.server.memo() or remembered, remembered, strict=True))
        if (hits if way.first_seen else misses) or hits + misses < BLOCK:
            raise BenchError(f"{way.name}: {hits} of {BLOCK} pods were answered from memory, and {misses} decided")


def _create(api: http.client.HTTPSConnection, way: Way, number: int) -> tuple[float, bytes]:
    """(seconds, the pod as it would be stored); BenchError for any other answer."""
    body = way.pod(number)
    began = time.perf_counter()
    api.request("POST", f"/api/v1/namespaces/{way.namespace}/pods?dryRun=All", body, {"Content-Type": "application/json"})
    answer = api.getresponse()
    stored = answer.read()
    took = time.perf_counter() - began
    if answer.status != http.client.CREATED:
        raise BenchError(f"{way.name}: a create was answered with {answer.status}: {stored[:400].decode()}")
    return took, stored


def _spec(stored: bytes) -> Any:
    return orjson.loads(_TOKEN.sub(b"kube-api-access", stored))["spec"]


def _figures(seconds: Sequence[float], without: Sequence[float]) -> dict[str, float]:
    return {
        "p50_ms": round(median(seconds) * 1e3, 2),
        "p99_ms": round(quantiles(seconds, n=100, method="inclusive")[98] * 1e3, 2),
        "added_p50_ms": round((median(seconds) - median(without)) * 1e3, 2),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'a create through kube-apiserver ' + figures['kubernetes']:<42}p50 ms   p99 ms   added at p50"]
    for row in figures["ways"].values():
        lines.append(f"{row['text']:<40}{row['p50_ms']:>8.2f}{row['p99_ms']:>9.2f}{row['added_p50_ms']:>15.2f}")
    return "\n".join(lines)
