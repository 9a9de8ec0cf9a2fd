"""The health port, as the kubelet and Prometheus meet it."""

import asyncio

import httpx
import pytest

from webhook.health import Readiness, create_health_app, health
from webhook.metrics import Metrics


def _ask(path: str, method: str = "GET", *, state: str = "ok") -> httpx.Response:
    readiness = Readiness()
    readiness.state = state

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(create_health_app(readiness, Metrics()))
        async with httpx.AsyncClient(transport=transport, base_url="http://webhook") as client:
            return await client.request(method, path)

    return asyncio.run(send())


@pytest.mark.parametrize(("state", "code"), [("starting", 503), ("ok", 200), ("draining", 503)])
def test_only_a_replica_that_wants_work_is_ready_and_each_that_answers_is_alive(state: str, code: int) -> None:
    ready = _ask("/readyz", state=state)
    assert (ready.status_code, ready.text) == (code, f"{state}\n")
    alive = _ask("/livez", state=state)
    assert (alive.status_code, alive.text) == (200, "ok\n")


def test_a_replica_is_starting_at_first() -> None:
    assert Readiness().state == "starting"


@pytest.mark.parametrize(
    ("state", "said"),
    [("starting", b"starting\n"), ("ok", b"not ready: the caBundle is empty\n"), ("draining", b"draining\n")],
)
def test_a_replica_that_can_not_be_called_is_not_ready_and_says_why(state: str, said: bytes) -> None:
    readiness = Readiness()
    readiness.state, readiness.problem = state, "the caBundle is empty"
    assert health("/readyz", readiness) == (503, said)
    assert health("/livez", readiness) == (200, b"ok\n")


def test_metrics_are_there_while_it_drains_too() -> None:
    answer = _ask("/metrics", state="draining")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "# TYPE controller_runtime_webhook_requests_total counter\n" in answer.text


def test_head_is_answered_as_get_is() -> None:
    answer = _ask("/readyz", "HEAD")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "3")


def test_no_other_method_is_answered() -> None:
    answer = _ask("/readyz", "POST")
    assert (answer.status_code, answer.text, answer.headers["allow"]) == (405, "GET is expected\n", "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/mutate", "/metrics/", "/livez/x", "/readyz%0a"])
def test_nothing_else_is_served_there(path: str) -> None:
    answer = _ask(path)
    assert (answer.status_code, answer.text) == (404, "there is /livez, /readyz and /metrics\n")


def test_the_tls_port_gets_the_same_answers_and_none_for_other_paths() -> None:
    readiness = Readiness()
    assert health("/livez", readiness) == (200, b"ok\n")
    assert health("/readyz", readiness) == (503, b"starting\n")
    assert health("/metrics", readiness) is None
