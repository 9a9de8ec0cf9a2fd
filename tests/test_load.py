"""What is turned away, what goes aside, and what is counted: the app without sockets."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import orjson
import pytest
from starlette.types import Message

from scripts.review import admission_review
from webhook.app import LARGE, App, create_app
from webhook.intake import BODY_LIMIT, ROOM
from webhook.metrics import Metrics
from webhook.settings import Settings

POD: dict[str, Any] = {
    "metadata": {"annotations": {"dpdk": "true", "dpdk/hugepages-2Mi": "64Mi"}},
    "spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]},
}
REVIEW = orjson.dumps(admission_review(POD))


class Asked:
    """An app, and those who ask it."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.metrics = Metrics()
        self.app: App = create_app(Settings(), self.metrics)

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def running() -> Any:
            return await work()

        return self.runner.run(running())

    async def post(
        self, path: str, *chunks: bytes, completed: float | None = None, gate: asyncio.Event | None = None
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body of the answer. The last chunk waits for the gate; with no chunk the client goes away."""
        waiting = list(chunks)
        sent: list[Message] = []

        async def receive() -> Message:
            if not waiting:
                return {"type": "http.disconnect"}
            if gate is not None and len(waiting) == 1:
                await gate.wait()
            chunk = waiting.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(waiting) or chunk == b"~"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
        if completed is not None:
            scope["completed"] = completed
        await self.app(scope, receive, send)
        if not sent:
            return 0, {}, b""
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])

    def sample(self, name: str, **labels: str) -> float:
        """One of the metrics, as Prometheus would read it."""
        wanted = "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}" if labels else ""
        lines = self.metrics.expose()[0].decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{wanted} "))


@pytest.fixture
def asked() -> Iterator[Asked]:
    made = Asked()
    yield made
    made.run(made.app.aclose)
    made.runner.close()


@pytest.mark.parametrize("path", ["/mutate", "/mutate/baseline", "/validate", "/warn", "/warn/baseline"])
def test_a_review_that_waited_too_long_is_to_be_asked_again(asked: Asked, path: str) -> None:
    async def late() -> Any:
        return await asked.post(path, REVIEW, completed=asyncio.get_running_loop().time() - 1.1)

    status, headers, body = asked.run(late)
    assert (status, headers[b"retry-after"], body) == (503, b"1", b"too many reviews are waiting; ask again\n")
    assert asked.sample("dpdk_webhook_shed_total", reason="late") == 1
    assert asked.sample("controller_runtime_webhook_requests_total", webhook=path, code="503") == 1


def test_a_review_that_waited_less_is_answered(asked: Asked) -> None:
    async def soon() -> Any:
        return await asked.post("/mutate", REVIEW, completed=asyncio.get_running_loop().time() - 0.5)

    assert asked.run(soon)[0] == 200
    assert asked.sample("dpdk_webhook_shed_total", reason="late") == 0


def test_bodies_take_no_more_than_there_is_room_for_and_give_it_back(asked: Asked) -> None:
    piece = b" " * (BODY_LIMIT - len(REVIEW))
    many = ROOM // BODY_LIMIT + 2

    async def together() -> list[Any]:
        gate = asyncio.Event()
        bodies = [asyncio.create_task(asked.post("/mutate", piece, REVIEW, gate=gate)) for _ in range(many)]
        await asyncio.sleep(0.01)
        alone = await asked.post("/mutate", REVIEW)  # in one piece: it is not kept waiting, nor turned away
        gate.set()
        return [alone, *await asyncio.gather(*bodies)]

    statuses = [status for status, *_ in asked.run(together)]
    assert statuses[0] == 200
    assert (statuses.count(503), statuses.count(200)) == (statuses[1:].count(503), 1 + many - statuses.count(503))
    assert 1 <= statuses.count(503) <= 2
    assert asked.sample("dpdk_webhook_shed_total", reason="memory") == statuses.count(503)

    async def alone() -> Any:
        return await asked.post("/mutate", piece, REVIEW)

    assert asked.run(alone)[0] == 200


@pytest.mark.parametrize("path", ["/mutate", "/dry-run"])
def test_a_client_that_goes_away_leaves_no_room_taken_and_no_trace(
    asked: Asked, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone() -> None:
        for _ in range(ROOM // BODY_LIMIT + 2):
            await asked.post(path, b" " * (BODY_LIMIT - 8), b"~")

    asked.run(gone)
    assert caplog.messages == []
    assert asked.sample("dpdk_webhook_shed_total", reason="memory") == 0


def _large() -> Mapping[str, Any]:
    pod = orjson.loads(orjson.dumps(POD))
    pod["spec"]["containers"][0]["env"] = [{"name": f"V{n}", "value": "x" * 100} for n in range(LARGE // 100)]
    return admission_review(pod)


def test_a_large_review_is_answered_aside_and_the_same(asked: Asked) -> None:
    body = orjson.dumps(_large())
    assert len(body) > LARGE

    async def both() -> list[Any]:
        large = asyncio.create_task(asked.post("/mutate", body))
        small = await asked.post("/mutate", REVIEW)
        assert not large.done()
        return [small, await large]

    (_, _, small), (status, _, large) = asked.run(both)
    assert status == 200
    assert orjson.loads(large)["response"]["patchType"] == orjson.loads(small)["response"]["patchType"] == "JSONPatch"
    assert asked.sample("dpdk_webhook_decisions_total", webhook="/mutate", outcome="changed") == 2


def test_more_large_reviews_than_may_wait_are_to_be_asked_again(asked: Asked) -> None:
    body = orjson.dumps(_large())

    async def horde() -> list[Any]:
        return await asyncio.gather(*(asked.post("/mutate", body) for _ in range(20)))

    answers = asked.run(horde)
    shed = [headers for status, headers, _ in answers if status == 503]
    assert [status for status, *_ in answers].count(200) == 17
    assert [headers[b"retry-after"] for headers in shed] == [b"1"] * 3
    assert asked.sample("dpdk_webhook_shed_total", reason="aside") == 3


def test_a_large_review_that_is_none_is_a_bad_review_all_the_same(asked: Asked) -> None:
    async def bad() -> Any:
        return await asked.post("/mutate", orjson.dumps(_large()).replace(b'"CREATE"', b'"GUESS"'))

    status, _, body = asked.run(bad)
    assert (status, body) == (400, b"request.operation: one of CREATE, UPDATE, DELETE, CONNECT is expected, not 'GUESS'\n")


def test_what_became_of_each_review_is_counted(asked: Asked) -> None:
    refused = admission_review(POD | {"spec": POD["spec"] | {"hostUsers": False}})

    async def several() -> None:
        for body in (REVIEW, REVIEW, orjson.dumps(refused), orjson.dumps(admission_review(POD | {"metadata": {}})), b"{}"):
            await asked.post("/mutate", body)

    asked.run(several)
    outcomes = {"changed": 2, "refused": 1, "ignored": 1, "unchanged": 0}
    for outcome, count in outcomes.items():
        assert asked.sample("dpdk_webhook_decisions_total", webhook="/mutate", outcome=outcome) == count
    for code, count in {"200": 4, "400": 1}.items():
        assert asked.sample("controller_runtime_webhook_requests_total", webhook="/mutate", code=code) == count
    assert asked.sample("dpdk_webhook_rejections_total", rule="host_users") == 1
    assert asked.sample("dpdk_webhook_edits_total", rule="ipc_lock") == 2
    assert asked.sample("dpdk_webhook_decision_memo_hits_total") == 1
    assert asked.sample("dpdk_webhook_decision_memo_misses_total") == 3
    assert asked.sample("dpdk_webhook_decision_memo_entries") == 3
    assert asked.sample("controller_runtime_webhook_requests_in_flight", webhook="/mutate") == 0
