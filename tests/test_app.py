"""The routes, as HTTP sees them."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Iterator
from operator import truediv
from pathlib import Path
from typing import Any, Self

import httpx
import jsonpatch
import orjson
import pytest
from starlette.types import ASGIApp

from scripts.review import admission_review
from webhook import dry_run
from webhook.app import App, create_app
from webhook.health import Readiness, create_health_app
from webhook.intake import BODY_LIMIT
from webhook.metrics import Metrics
from webhook.rules import CARD, OPT_IN, RULES, Rule
from webhook.settings import Settings

EXAMPLE = (Path(__file__).parent.parent / "examples" / "testpmd.yaml").read_bytes()
PATHS = (
    "/mutate",
    "/mutate/baseline",
    "/validate",
    "/warn",
    "/warn/baseline",
    "/dry-run",
    "/rules",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/",
)
POD: dict[str, Any] = {
    "metadata": {"annotations": {"dpdk": "true", "dpdk/hugepages-2Mi": "64Mi"}},
    "spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]},
}
OWN_BUG = "dpdk-webhook failed on this request, which is a bug in it, not in the pod (ZeroDivisionError)\n"


class Http:
    """A client of an app without sockets (Starlette's own needs a package that is not among the locked ones)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._app, App):
            self._runner.run(self._app.aclose())
        self._runner.close()

    def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="https://webhook") as client:
                return await client.request(method, url, **more)

        return self._runner.run(send())

    def get(self, url: str) -> httpx.Response:
        return self.request("GET", url)

    def post(self, url: str, **more: Any) -> httpx.Response:
        return self.request("POST", url, **more)


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(create_app(Settings())) as client:
        yield client


@pytest.mark.parametrize("path", ["/mutate", "/validate"])
def test_a_review_is_answered_with_a_review(http: Http, path: str) -> None:
    body = admission_review(POD)
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    response = answer.json()["response"]
    assert (response["uid"], response["allowed"]) == (body["request"]["uid"], path == "/mutate")
    if path == "/mutate":
        patched = jsonpatch.JsonPatch(orjson.loads(base64.b64decode(response["patch"]))).apply(POD)
        assert http.post("/validate", json=admission_review(patched)).json()["response"]["allowed"] is True


POD_SECURITY = ["ipc_lock: Pod Security: baseline and restricted refuse IPC_LOCK; the namespace must enforce privileged"]


@pytest.mark.parametrize(
    ("site", "path", "warnings"),
    [
        ("privileged", "/mutate", None),
        ("privileged", "/mutate/baseline", POD_SECURITY),
        ("baseline", "/mutate", POD_SECURITY),
        ("restricted", "/mutate/baseline", POD_SECURITY),
    ],
)
def test_a_namespace_under_pod_security_is_known_by_the_path(site: str, path: str, warnings: list[str] | None) -> None:
    with Http(create_app(Settings.model_validate({"pod_security": site}))) as http:
        response = http.post(path, json=admission_review(POD)).json()["response"]
    assert (response["allowed"], response.get("warnings")) == (True, warnings)


@pytest.mark.parametrize(("path", "warnings"), [("/warn", None), ("/warn/baseline", POD_SECURITY)])
def test_workloads_are_warned_of_by_namespace_too(http: Http, path: str, warnings: list[str] | None) -> None:
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fwd"}, "spec": {"template": POD}}
    response = http.post(path, json=admission_review(deployment)).json()["response"]
    assert (response["allowed"], response.get("warnings")) == (True, warnings)


@pytest.mark.parametrize("path", ["/mutate", "/validate"])
def test_a_bad_review_is_400_and_logged_since_the_api_server_hides_its_text(
    http: Http, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = admission_review(POD)
    del body["request"]["uid"]
    with caplog.at_level(logging.WARNING, "dpdk-webhook"):
        answer = http.post(path, json=body)
    assert (answer.status_code, answer.text) == (400, "request.uid: a string is expected, not null\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert caplog.messages == [f"bad review on {path}: request.uid: a string is expected, not null"]


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(http: Http, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert http.post("/mutate", content=orjson.dumps(admission_review(POD)), headers=headers).status_code == 200
    assert http.post("/dry-run", content=EXAMPLE, headers=headers).status_code == 200


# --- /dry-run


def test_dry_run_tells_the_whole_decision_for_yaml_and_json_alike(http: Http) -> None:
    answer = http.post("/dry-run", content=EXAMPLE).json()
    assert set(answer) == {
        "document",
        "kind",
        "name",
        "path",
        "allowed",
        "promised",
        "changes",
        "rejections",
        "warnings",
        "patch",
        "pod",
    }
    assert (answer["allowed"], answer["promised"]) == (True, True)
    assert answer["changes"][0] == {
        "rule": "resources",
        "container": "testpmd",
        "path": "spec.containers[0].resources.limits.cpu",
        "before": "1500m",
        "after": "2",
        "why": "a polling core cannot be shared; rounded up to whole CPUs",
    }
    again = http.post("/dry-run", json=answer["pod"]).json()
    assert (again["changes"], again["patch"], again["pod"]) == ([], [], answer["pod"])


def test_dry_run_of_a_refused_pod_is_an_answer_not_an_error(http: Http) -> None:
    pod = POD | {"spec": POD["spec"] | {"hostUsers": False}}
    answer = http.post("/dry-run", json=pod)
    assert answer.status_code == 200
    detail = "IPC_LOCK is not effective in a user namespace; remove hostUsers: false"
    assert answer.json()["rejections"] == [
        {
            "rule": "host_users",
            "container": None,
            "path": "spec.hostUsers",
            "reason": "user namespace",
            "detail": detail,
            "message": f"host_users: user namespace (spec.hostUsers): {detail}",
        }
    ]


@pytest.mark.parametrize(
    "nulls",
    [
        {"volumes": None, "initContainers": None, "securityContext": None, "resources": None, "os": None},
        {"containers": [POD["spec"]["containers"][0] | dict.fromkeys(("env", "args", "volumeMounts", "securityContext"))]},
        {"containers": [{"name": "app", "resources": {"limits": {"cpu": None, "memory": "1Gi"}, "requests": None}}]},
        {"containers": [POD["spec"]["containers"][0] | {"securityContext": {"capabilities": {"add": None}}}]},
    ],
)
def test_null_members_count_as_missing(http: Http, nulls: dict[str, Any]) -> None:
    answer = http.post("/dry-run", json=POD | {"spec": POD["spec"] | nulls})
    assert answer.status_code == 200, answer.text
    assert answer.json()["allowed"] is True


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "there is no manifest in it\n"),
        (b"- a\n", "an object is expected, not a list\n"),
        (b"kind: Pod\nspec: {containers: []}\n", "spec.containers: a pod needs at least one container\n"),
    ],
)
def test_dry_run_of_what_is_no_pod_is_400(http: Http, body: bytes, message: str) -> None:
    answer = http.post("/dry-run", content=body)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (400, message, "text/plain; charset=utf-8")


# --- limits


@pytest.mark.parametrize("path", ["/mutate", "/validate", "/dry-run", "/"])
def test_a_body_above_the_limit_is_413(http: Http, path: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b" " * 1024 * 1024

    declared = http.post(path, content=b"x", headers={"content-length": str(BODY_LIMIT + 1)})
    counted = http.post(path, content=chunks())
    enormous = http.post(path, content=b"x", headers={"content-length": "9" * 5000})
    for answer in (declared, counted, enormous):
        assert (answer.status_code, answer.text) == (413, "the body is above 7340032 bytes\n")
        assert answer.headers["connection"] == "close"


def test_a_body_at_the_limit_is_read(http: Http) -> None:
    review = orjson.dumps(admission_review(POD))
    assert http.post("/mutate", content=review + b" " * (BODY_LIMIT - len(review))).status_code == 200


# --- at once, without a task

UPDATE = orjson.dumps(admission_review(POD)).replace(b'"CREATE"', b'"UPDATE"')
MISTYPED = orjson.dumps(admission_review({"spec": {"containers": "x"}}))


@pytest.mark.parametrize("path", ["/mutate", "/mutate/baseline", "/validate"])
def test_an_ordinary_review_is_answered_at_once_as_it_would_be_otherwise(path: str) -> None:
    body = orjson.dumps(admission_review(POD))
    metrics = Metrics()
    app = create_app(Settings(), metrics)
    with Http(app) as http:
        first, second = (app.at_once[path.encode()](body, [], 0.004) for _ in range(2))
        assert first == second == http.post(path, content=body).content
        told = metrics.expose()[0].decode()
    assert f'controller_runtime_webhook_requests_total{{code="200",webhook="{path}"}} 3.0' in told
    assert f'controller_runtime_webhook_latency_seconds_count{{webhook="{path}"}} 3.0' in told
    assert f'controller_runtime_webhook_latency_seconds_bucket{{le="0.0025",webhook="{path}"}} 1.0' in told, "they waited 4 ms"
    assert "dpdk_webhook_decision_memo_hits_total 2.0" in told
    assert "dpdk_webhook_decision_memo_misses_total 1.0" in told


@pytest.mark.parametrize("path", ["/warn", "/warn/baseline", "/dry-run", "/livez", "/"])
def test_nothing_else_is_answered_at_once(path: str) -> None:
    assert path.encode() not in create_app(Settings()).at_once


@pytest.mark.parametrize("body", [b"", b"{}", UPDATE, MISTYPED])
def test_what_is_out_of_the_ordinary_is_not_answered_at_once_nor_counted(body: bytes) -> None:
    metrics = Metrics()
    before = metrics.expose()[0]
    assert create_app(Settings(), metrics).at_once[b"/mutate"](body, [], 0) is None
    changed = set(metrics.expose()[0].splitlines()) - set(before.splitlines())
    assert not [line for line in changed if not line.startswith(b"process_")]


def test_a_bug_of_ours_is_left_to_the_call_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.review.review.__defaults__", ((Rule("broken", _break, ""),),))
    app = create_app(Settings())
    assert app.at_once[b"/mutate"](orjson.dumps(admission_review(POD)), [], 0) is None


# --- our own bug


def _break(pod: object, settings: object) -> Iterator[Any]:
    yield 1 / 0


@pytest.mark.parametrize("path", ["/mutate", "/validate"])
def test_our_own_bug_is_a_500_of_one_line(monkeypatch: pytest.MonkeyPatch, http: Http, path: str) -> None:
    monkeypatch.setattr("webhook.review.review.__defaults__", ((Rule("broken", _break, ""),),))
    answer = http.post(path, json=admission_review(POD))
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (500, OWN_BUG, "text/plain; charset=utf-8")


@pytest.mark.parametrize(("path", "work"), [("/dry-run", "record"), ("/", "answer")])
def test_our_own_bug_aside_is_a_500_too(monkeypatch: pytest.MonkeyPatch, http: Http, path: str, work: str) -> None:
    monkeypatch.setattr(dry_run, work, truediv)  # bytes by settings: the worker can't
    answer = http.post(path, content=EXAMPLE)
    assert (answer.status_code, answer.text) == (500, OWN_BUG.replace("ZeroDivisionError", "TypeError"))


def test_a_patch_that_does_not_give_the_pod_is_our_own_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.review.Decision.patch", property(lambda decision: []))
    with pytest.raises(AssertionError, match="the recorded patch does not give the recorded pod"):
        dry_run.record(EXAMPLE, Settings())


# --- the rest


def test_rules_are_the_spec_cards(http: Http) -> None:
    cards = http.get("/rules").json()
    assert [card["rule"] for card in cards] == [rule.id for rule in (OPT_IN, *RULES)]
    for card in cards:
        assert set(card) == {"rule", "promise", *CARD}
        assert all(card.values())


def test_openapi_names_the_routes_for_programs_and_their_errors(http: Http) -> None:
    document = http.get("/openapi.json").json()
    assert set(document["paths"]) == {"/dry-run", "/rules"}
    assert set(document["paths"]["/dry-run"]["post"]["responses"]) >= {"200", "400", "413"}
    assert set(document["paths"]["/dry-run"]["post"]["requestBody"]["content"]) == {"application/json", "application/yaml"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/mutate"),
        ("PUT", "/mutate"),
        ("GET", "/validate"),
        ("GET", "/dry-run"),
        ("POST", "/rules"),
        ("POST", "/livez"),
        ("DELETE", "/"),
    ],
)
def test_the_wrong_method_is_405(http: Http, method: str, path: str) -> None:
    assert http.request(method, path).status_code == 405


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "variation", ["{}/", "/{}", "{}//", "{}?x=//example.com", "{}/..", "{}%2f", "/.{}", "{}/x", "/docs", "/redoc"]
)
def test_no_path_is_ever_redirected(http: Http, method: str, path: str, variation: str) -> None:
    with Http(create_health_app(Readiness(), Metrics())) as health:
        for client in (http, health):
            assert not 300 <= client.request(method, "https://webhook" + variation.format(path)).status_code < 400


def test_livez_is_always_ok_and_readyz_follows_the_state() -> None:
    readiness = Readiness()
    with Http(create_health_app(readiness, Metrics())) as health:
        assert (health.get("/readyz").status_code, health.get("/readyz").text) == (503, "starting\n")
        readiness.state = "ok"
        assert (health.get("/readyz").status_code, health.get("/readyz").text) == (200, "ok\n")
        readiness.state = "draining"
        assert (health.get("/readyz").status_code, health.get("/readyz").text) == (503, "draining\n")
        assert (health.get("/livez").status_code, health.get("/livez").text) == (200, "ok\n")
        assert health.get("/openapi.json").status_code == 404
