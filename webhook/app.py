"""The routes. They know HTTP and no rule."""

import asyncio
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import jsonpatch
import orjson
from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from webhook import admission, page, report
from webhook.manifest import read
from webhook.rules import CARD, OPT_IN, RULES
from webhook.settings import Settings
from webhook.shape import Malformed
from webhook.workload import review_all

BODY_LIMIT = 7 * 1024 * 1024  # bytes; the API server itself takes no more than 3 MiB from a client

_log = logging.getLogger("dpdk-webhook")
_JSON = "application/json"


class BodyTooLarge(ValueError):
    """The body is above BODY_LIMIT; it was not read to its end."""

    def __init__(self) -> None:
        super().__init__(f"the body is above {BODY_LIMIT} bytes")


class Readiness:
    """Whether new work is welcome: a replica that is going away says no here first."""

    def __init__(self) -> None:
        self.state = "starting"


def create_app(settings: Settings) -> FastAPI:
    """Everything that is served over TLS."""
    app = FastAPI(
        title="dpdk-webhook",
        version=version("dpdk-webhook"),
        docs_url=None,  # its page loads scripts from elsewhere; /openapi.json serves whoever wants them
        redoc_url=None,
        redirect_slashes=False,  # never a 3xx: an API server that follows one can be sent anywhere (CVE-2020-8561)
    )

    # raw bytes to raw bytes: models and dependency injection would double the cost of the two routes that pods wait for
    def answers(path: str, endpoint: "_Admission[Any]") -> None:
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))

    answers("/mutate", _Admission(admission.parse, admission.mutate, settings))
    # namespaces that enforce baseline or restricted are sent here by their label: to ask the API server would be a call
    strict = settings if settings.pod_security != "privileged" else settings.model_copy(update={"pod_security": "baseline"})
    answers("/mutate/baseline", _Admission(admission.parse, admission.mutate, strict))
    answers("/validate", _Admission(admission.parse, admission.validate, settings))
    answers("/warn", _Admission(admission.parse_workload, admission.warn, settings))
    answers("/warn/baseline", _Admission(admission.parse_workload, admission.warn, strict))
    app.add_exception_handler(Malformed, _bad_request)
    app.add_exception_handler(BodyTooLarge, _too_large)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _own_bug)
    one_at_a_time = asyncio.Lock()

    async def aside(work: Callable[[bytes, Settings], Response], request: Request) -> Response:
        """What people ask for, one at a time in a thread: a manifest that takes a second must not hold up admission."""
        body = await _body(request)
        async with one_at_a_time:
            return await asyncio.to_thread(work, body, settings)

    @app.post(
        "/dry-run",
        openapi_extra={"requestBody": {"required": True, "content": {_JSON: {}, "application/yaml": {}}}},
        responses={
            400: {"description": "no pod in it: the place and the problem"},
            413: {"description": "above 7 MiB"},
        },
    )
    async def dry_run(request: Request) -> Response:
        """A manifest in, JSON or YAML: pods, workloads, Lists. The Decision out: changes, rejections, warnings, patch, the pod
        as it would be; a list of them for a List and for several documents."""
        return await aside(_dry_run, request)

    @app.get("/rules")
    async def rules() -> Response:
        """Every rule's spec card."""
        return _json(
            [{"rule": rule.id, "promise": rule.promise} | {p: rule.part(p) for p in CARD} for rule in (OPT_IN, *RULES)]
        )

    @app.get("/", include_in_schema=False)
    async def form() -> Response:
        return Response(page.render(page.EXAMPLE), media_type="text/html")

    @app.post("/", include_in_schema=False)
    async def answer(request: Request) -> Response:
        return await aside(_page, request)

    return app


def create_health_app(readiness: Readiness) -> FastAPI:
    """/livez and /readyz, for the kubelet, over plain HTTP."""
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    add_health(app, readiness)
    return app


def add_health(app: FastAPI, readiness: Readiness) -> None:
    """The two health routes."""

    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        return Response(f"{readiness.state}\n", 200 if readiness.state == "ok" else 503, media_type="text/plain")


_T = TypeVar("_T")


class _Admission(Generic[_T]):
    """An ASGI endpoint that answers a review with a review."""

    def __init__(self, parse: Callable[[bytes], _T], decide: Callable[[_T, Settings], bytes], settings: Settings) -> None:
        self._parse = parse
        self._decide = decide
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(Request(scope, receive))
        try:
            answer = self._decide(self._parse(body), self._settings)
            response = Response(answer, media_type=_JSON)
        except admission.BadReview as error:
            # the API server tells its user nothing of a 400's text, so that the log is the only place to find it
            _log.warning("bad review on %s: %s", scope["path"], error)
            response = Response(f"{error}\n", 400, media_type="text/plain")
        await response(scope, receive, send)


def _dry_run(body: bytes, settings: Settings) -> Response:
    reviewed = review_all(read(body), settings)
    for each in reviewed:
        patch = [operation for decision in each.decisions for operation in decision.patch]
        if jsonpatch.JsonPatch(patch).apply(each.given) != each.after:
            raise AssertionError("the recorded patch does not give the recorded pod")
    return _json(report.record(reviewed))


def _page(body: bytes, settings: Settings) -> Response:
    return Response(page.answer(body, settings), media_type="text/html")


async def _body(request: Request) -> bytes:
    """The body, up to its limit; nothing beyond is kept."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared[:20]) > BODY_LIMIT:
        raise BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_LIMIT:
            raise BodyTooLarge
        chunks.append(chunk)
    return b"".join(chunks)


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=_JSON)


async def _bad_request(request: Request, error: Exception) -> Response:
    return Response(f"{error}\n", 400, media_type="text/plain")


async def _too_large(request: Request, error: Exception) -> Response:
    # the rest of the body is still on its way: this connection can't carry another request
    return Response(f"{error}\n", 413, media_type="text/plain", headers={"connection": "close"})


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody is left to read this; without it the server would log a traceback for a client that went away."""
    return Response(status_code=400)


async def _own_bug(request: Request, error: Exception) -> Response:
    """A 500 with one line, which the API server quotes to whoever created the pod; the traceback goes to the log."""
    text = f"dpdk-webhook failed on this request, which is a bug in it, not in the pod ({type(error).__name__})\n"
    return Response(text, 500, media_type="text/plain")
