"""Those who create pods, many at a time: what each of them sees of the webhook."""

import asyncio
import json
import math
import re
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import quantiles
from typing import Any, Self
from urllib.parse import urlsplit

import httptools
import httpx
import uvloop

from tests.cluster.background import Background
from tests.cluster.cluster import ApiServer
from tests.oracle import violations

MOST = 100  # creates at once, of a server that does not lag
IDLE = 60.0  # seconds; the API server closes connections that are idle for 90
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+:\d+")


@dataclass(frozen=True, slots=True)
class Create:
    """One create. `due` is when it should have been sent (monotonic), and `seconds` counts from then."""

    annotated: bool
    stored: bool
    due: float
    seconds: float
    problem: str  # what its author was told, or what is wrong with the pod; empty when all is well

    @property
    def ended(self) -> float:
        return self.due + self.seconds


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of many creates; milliseconds."""

    annotated: int
    plain: int
    stored: int
    failed: int
    p50: float
    p99: float
    longest: float
    problems: dict[str, int]

    @classmethod
    def of(cls, creates: Sequence[Create]) -> Self:
        cuts = quantiles([create.seconds * 1e3 for create in creates], n=100, method="inclusive")
        problems = Counter(_ADDRESS.sub("…", create.problem) for create in creates if create.problem)
        return cls(
            annotated=sum(create.annotated for create in creates),
            plain=sum(not create.annotated for create in creates),
            stored=sum(create.stored for create in creates),
            failed=problems.total(),
            p50=cuts[49],
            p99=cuts[98],
            longest=max(create.seconds for create in creates) * 1e3,
            problems=dict(problems.most_common()),
        )

    def record(self) -> dict[str, Any]:
        return asdict(self)


def longest_gap(creates: Sequence[Create]) -> float:
    """Return the longest time in seconds between the ends of two consecutive annotated creates that succeeded.

    Infinite when fewer than two did; an outage at the beginning, or one that never ends, is in no gap.
    """
    ends = sorted(create.ended for create in creates if create.annotated and not create.problem)
    return max((later - earlier for earlier, later in pairwise(ends)), default=math.inf)


def pod(number: int, *, annotated: bool) -> dict[str, Any]:
    """A pod; annotated, it needs every rule, and only each second one is like another."""
    memory = f"{1024 + number}Mi" if number % 2 else "1Gi"
    application = {"name": "app", "image": "app", "resources": {"limits": {"cpu": "1500m", "memory": memory}}}
    sidecar = {"name": "log", "image": "log", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}
    annotations = {"dpdk": "true", "dpdk/containers": "app", "dpdk/hugepages-2Mi": "64Mi"} if annotated else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "fwd-", "annotations": annotations},
        "spec": {"containers": [application, sidecar]},
    }


class Creators(Background):
    """`with Creators(server, namespace, …) as creators:` creates pods, in a thread of its own, until the block ends.

    Either `rate` of them a second, whatever becomes of those before (open loop), of which every sixth is plain; or always
    `at_once` annotated ones (closed loop). Every seventh is stored, and deleted again, if `store`; the others are dry runs. The
    pod that the API server hands back is judged by the oracle. An open loop too waits for an answer when `most` are
    outstanding: on a machine that can't keep up, a longer line would show nothing but that. Where the server lags, more are:
    each dry run takes one lag, what is stored about four more.
    """

    def __init__(
        self,
        server: ApiServer,
        namespace: str,
        *,
        rate: float = 0,
        at_once: int = 0,
        most: int = MOST,
        store: bool = True,
    ) -> None:
        super().__init__()
        self._rate = rate
        self._at_once = at_once
        self._most = most
        self._store = store
        self._api = _Api(server.url, server.administrator)
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self.creates: list[Create] = []

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._open_loop() if self._rate else self._closed_loop())

    async def _open_loop(self) -> None:
        began = time.monotonic()
        number = 0
        room = asyncio.Semaphore(self._most)
        async with asyncio.TaskGroup() as group:
            while not self._end.is_set():
                due = began + number / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await room.acquire()
                task = group.create_task(self._create(number, due, annotated=number % 6 != 5))
                task.add_done_callback(lambda _: room.release())
                number += 1
        await self._api.close()

    async def _closed_loop(self) -> None:
        async def one(offset: int) -> None:
            number = offset
            while not self._end.is_set():
                await self._create(number, time.monotonic(), annotated=True)
                number += self._at_once

        await asyncio.gather(*(one(offset) for offset in range(self._at_once)))
        await self._api.close()

    async def _create(self, number: int, due: float, *, annotated: bool) -> None:
        stored = self._store and number % 7 == 0
        body = json.dumps(pod(number, annotated=annotated)).encode()
        status, answer = await self._api.ask("POST", self._path + ("" if stored else "?dryRun=All"), body)
        seconds = time.monotonic() - due
        problem = _problem(status, answer, annotated=annotated)
        if stored and not problem:
            path = f"{self._path}/{answer['metadata']['name']}?gracePeriodSeconds=0"
            status, answer = await self._api.ask("DELETE", path, b"")
            problem = "" if status == httpx.codes.OK else f"delete: {answer.get('message')}"
        self.creates.append(Create(annotated, stored, due, seconds, problem))


def _problem(status: int, answer: dict[str, Any], *, annotated: bool) -> str:
    if status != httpx.codes.CREATED:
        return f"{status} {answer.get('message')}"
    return "; ".join(violations(answer)) if annotated else ""


class _Api:
    """Kept-alive connections to one API server, as many as there are calls at a time."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self._target = urlsplit(url)
        self._context = context
        self._idle: list[_Connection] = []

    async def ask(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        connection = await self._connection()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._target.netloc}\r\nContent-Type: application/json\r\n"
        answer = await connection.ask(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.since = time.monotonic()
        self._idle.append(connection)
        return answer

    async def _connection(self) -> "_Connection":
        """The one that was used last, as those that were not for long may be closed under our hands."""
        if self._idle and time.monotonic() - self._idle[-1].since < IDLE:
            return self._idle.pop()
        await self.close()
        host, port = self._target.hostname, self._target.port
        return _Connection(*await asyncio.open_connection(host, port, ssl=self._context))

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*(connection.close() for connection in idle))


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._body = bytearray()
        self._complete = False
        self.since = time.monotonic()

    async def ask(self, request: bytes) -> tuple[int, dict[str, Any]]:
        parser = httptools.HttpResponseParser(self)
        self._body.clear()
        self._complete = False
        self._writer.write(request)
        while not self._complete:
            data = await self._reader.read(1 << 16)
            if not data:
                raise ConnectionResetError("the API server closed a connection that it was asked on")
            parser.feed_data(data)
        answer: dict[str, Any] = json.loads(self._body)
        return parser.get_status_code(), answer

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._complete = True

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()
