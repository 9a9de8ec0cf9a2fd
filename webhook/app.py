"""The routes. They know HTTP and no rule."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from time import perf_counter
from typing import Final, Generic, TypeVar

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook import admission, dry_run, page
from webhook.admission import Answer, BadReview
from webhook.aside import Aside, Busy, OutOfMemory, WorkerLost
from webhook.envelope import glance
from webhook.exchange import AtOnce
from webhook.health import Readiness, health
from webhook.intake import BodyTooLarge, ClientGone, Intake, NoRoom
from webhook.journal import Journal
from webhook.memo import Memo
from webhook.metrics import Metrics
from webhook.rules import CARD, OPT_IN, RULES
from webhook.settings import Settings
from webhook.shape import Malformed
from webhook.tracing import Tracer, tracer
from webhook.verdict import Asked, Verdict

LARGE: Final = 256 * 1024  # bytes; a larger review is answered aside, where it holds up no other
_PIECE: Final = 64 * 1024  # bytes
RETRY_AFTER: Final = {"retry-after": "1"}  # seconds; an integer is what makes the API server call again

_log = logging.getLogger("dpdk-webhook")
_JSON: Final = "application/json"
_JSON_TYPE: Final = b"application/json"
_TEXT: Final = b"text/plain; charset=utf-8"
_LATER: Final = [(name.encode(), value.encode()) for name, value in RETRY_AFTER.items()]
_R = TypeVar("_R", admission.Request, admission.WorkloadRequest)


class App:
    """Everything that is served over TLS; close it at the end."""

    def __init__(
        self, settings: Settings, metrics: Metrics, journal: Journal | None, tracer: Tracer | None, readiness: Readiness
    ) -> None:
        self.metrics = metrics
        self.journal = journal
        self.tracer = tracer
        self.intake = Intake(metrics)
        self.people = Aside(waiting=8)
        self.large = Aside(waiting=16)  # of their own: no manifest that somebody tries out holds up a review
        self._readiness = readiness
        # namespaces that enforce baseline or restricted are sent here by their label: to ask the API server would be a call
        strict = settings if settings.pod_security != "privileged" else settings.model_copy(update={"pod_security": "baseline"})
        mutate, validate, parse = admission.mutate, admission.validate, admission.parse
        warn, parse_workload = admission.warn, admission.parse_workload
        memos = [Memo(mutate, settings), Memo(mutate, strict), Memo(validate, settings)]
        metrics.memo_entries = lambda: sum(map(len, memos))
        of_pods = {
            "/mutate": _Route("/mutate", self, parse, mutate, settings, memos[0]),
            "/mutate/baseline": _Route("/mutate/baseline", self, parse, mutate, strict, memos[1]),
            "/validate": _Route("/validate", self, parse, validate, settings, memos[2]),
        }
        self.at_once: dict[bytes, AtOnce] = {path.encode(): route.at_once for path, route in of_pods.items()}
        self._routes: dict[str, ASGIApp] = {
            **of_pods,
            "/warn": _Route("/warn", self, parse_workload, warn, settings),
            "/warn/baseline": _Route("/warn/baseline", self, parse_workload, warn, strict),
        }
        self._pages = _pages(settings, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # raw bytes to raw bytes: routing, models and dependency injection would cost more than most decisions
        route = self._routes.get(scope["path"])
        if route is not None:
            await route(scope, receive, send)
        elif (told := health(scope["path"], self._readiness)) is not None:
            status, body = told if scope["method"] in ("GET", "HEAD") else (405, b"GET is expected\n")
            await _send(send, status, body, _TEXT)
        else:
            await self._pages(scope, receive, send)

    async def aclose(self) -> None:
        """End the processes that work aside, and send the last spans."""
        await asyncio.gather(self.people.close(), self.large.close())
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)


def create_app(
    settings: Settings,
    metrics: Metrics | None = None,
    journal: Journal | None = None,
    readiness: Readiness | None = None,
) -> App:
    """The app; without a journal, decisions are not logged. SettingsError when the tracing that is set can't be had."""
    return App(settings, metrics or Metrics(), journal, tracer(settings.tracing_endpoint), readiness or Readiness())


class _Route(Generic[_R]):
    """An ASGI endpoint that answers a review with a review."""

    def __init__(
        self,
        path: str,
        app: App,
        parse: Callable[[bytes], _R],
        decide: Callable[[_R, Settings], Answer],
        settings: Settings,
        memo: Memo | None = None,
    ) -> None:
        self._path = path
        self._app = app
        self._parse: Callable[[bytes], _R] = parse
        self._decide: Callable[[_R, Settings], Answer] = decide
        self._settings = settings
        self._memo = memo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app, path = self._app, self._path
        metrics = app.metrics
        metrics.in_flight[path] += 1
        code, verdict, began = 500, None, perf_counter()
        try:
            if scope["method"] != "POST":
                code = await _send(send, 405, b"POST an AdmissionReview\n", _TEXT, (b"allow", b"POST"))
                return
            body = await app.intake.body(scope, receive)
            now = asyncio.get_running_loop().time()
            waited = now - scope.get("completed", now)
            began = perf_counter() - waited
            if waited > self._settings.shed_after:
                metrics.shed("late")
                raise _Late("too many reviews are waiting; ask again")
            asked, answer = self._known(body) or await self._read(body)
            verdict = answer.verdict
            code = await _send(send, 200, answer.review(asked.uid), _JSON_TYPE)
            self._tell(scope["headers"], began, asked, verdict)
        except BadReview as error:
            # the API server tells its user nothing of a 400's text, so that the log is the only place to find it
            _log.warning("bad review on %s: %s", path, error)
            code = await _send(send, 400, f"{error}\n".encode(), _TEXT)
        except BodyTooLarge as error:
            # the rest of the body is still on its way: this connection can't carry another request
            code = await _send(send, 413, f"{error}\n".encode(), _TEXT, (b"connection", b"close"))
        except OutOfMemory as error:
            code = await _send(send, 413, f"{error}\n".encode(), _TEXT)
        except ClientGone:
            code = 499
        except (Busy, NoRoom, _Late, WorkerLost) as error:
            code = await _send(send, 503, f"{error}\n".encode(), _TEXT, *_LATER)
        except Exception as error:  # noqa: BLE001 - our own bug, whatever it is: the failurePolicy decides
            _log.exception("no answer on %s", path)
            code = await _send(send, 500, _own_bug(error), _TEXT)
        finally:
            metrics.in_flight[path] -= 1
            metrics.answered(path, code, perf_counter() - began, verdict)

    def at_once(self, body: bytes, headers: list[tuple[bytes, bytes]], waited: float) -> bytes | None:
        """The answer to an ordinary review, which `waited` so many seconds, given without a task of its own. None for every
        other, and when we fail on it: the call through ASGI meets the same, and says so."""
        began = perf_counter() - waited
        try:
            if (found := self._known(body)) is None:
                return None
        except Exception:  # noqa: BLE001 - whatever it is
            return None
        asked, answer = found
        written = answer.review(asked.uid)
        ended = self._tell(headers, began, asked, answer.verdict)
        self._app.metrics.answered(self._path, 200, ended - began, answer.verdict)
        return written

    def _known(self, body: bytes) -> tuple[Asked, Answer] | None:
        """The answer for an ordinary pod that is created."""
        if self._memo is None or (envelope := glance(body)) is None:
            return None
        answer, result = self._memo.answer(envelope)
        if answer is None:
            return None
        self._app.metrics.memo(result)
        return envelope.asked, answer

    def _tell(self, headers: list[tuple[bytes, bytes]], began: float, asked: Asked, verdict: Verdict) -> float:
        """Log and trace what was answered now; when that is."""
        ended = perf_counter()
        if self._app.journal is not None:
            self._app.journal.decided(self._path, asked, verdict, ended - began)
        if self._app.tracer is not None:
            self._app.tracer.span(headers, self._path, began, ended, asked, verdict)
        return ended

    async def _read(self, body: bytes) -> tuple[Asked, Answer]:
        """The answer for any other, read as a whole; what is large, aside."""
        if len(body) <= LARGE:
            return admission.whole(body, self._parse, self._decide, self._settings)
        try:
            return await self._app.large.run(admission.whole, body, self._parse, self._decide, self._settings)
        except Busy:
            self._app.metrics.shed("aside")
            raise


class _Late(Exception):
    """The review waited so long for its turn that others must be helped first."""


async def _send(send: Send, status: int, body: bytes, kind: bytes, *more: tuple[bytes, bytes]) -> int:
    """The status, once it is sent."""
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", kind), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status


def _pages(settings: Settings, served: App) -> FastAPI:
    """What people ask for."""
    app = FastAPI(
        title="dpdk-webhook",
        version=version("dpdk-webhook"),
        docs_url=None,  # its page loads scripts from elsewhere; /openapi.json serves whoever wants them
        redoc_url=None,
        redirect_slashes=False,  # never a 3xx: an API server that follows one can be sent anywhere (CVE-2020-8561)
    )
    app.add_exception_handler(Malformed, _refusal(400))
    app.add_exception_handler(BodyTooLarge, _refusal(413, {"connection": "close"}))
    app.add_exception_handler(ClientGone, _refusal(400))  # nobody is left to read this; a traceback would be nobody's either
    app.add_exception_handler(OutOfMemory, _refusal(413))
    for kind in (Busy, NoRoom, WorkerLost):
        app.add_exception_handler(kind, _refusal(503, RETRY_AFTER))
    app.add_exception_handler(Exception, lambda _, error: Response(_own_bug(error), 500, media_type="text/plain"))

    async def done(work: Callable[[bytes, Settings], bytes], request: Request, kind: str) -> Response:
        """Aside, where a manifest that takes a second holds up nothing."""
        body = await served.intake.body(request.scope, request.receive)
        try:
            answer = await served.people.run(work, body, settings)
        except Busy:
            served.metrics.shed("aside")
            raise
        return StreamingResponse(_pieces(answer), media_type=kind, headers={"content-length": str(len(answer))})

    @app.post(
        "/dry-run",
        openapi_extra={"requestBody": {"required": True, "content": {_JSON: {}, "application/yaml": {}}}},
        responses={
            400: {"description": "no pod in it: the place and the problem"},
            413: {"description": "above 7 MiB, or it takes more memory than there is for it"},
            503: {"description": "too many are asking; ask again after a second"},
        },
    )
    async def _(request: Request) -> Response:
        """A manifest in, JSON or YAML: pods, workloads, Lists. The Decision out: changes, rejections, warnings, patch, the pod
        as it would be; a list of them for a List and for several documents."""
        return await done(dry_run.record, request, _JSON)

    @app.get("/rules")
    async def rules() -> Response:
        """Every rule's spec card."""
        cards = [{"rule": rule.id, "promise": rule.promise} | {p: rule.part(p) for p in CARD} for rule in (OPT_IN, *RULES)]
        return Response(orjson.dumps(cards), media_type=_JSON)

    @app.get("/", include_in_schema=False)
    async def form() -> Response:
        return Response(page.render(page.EXAMPLE), media_type="text/html")

    @app.post("/", include_in_schema=False)
    async def answer(request: Request) -> Response:
        return await done(dry_run.answer, request, "text/html")

    return app


async def _pieces(answer: bytes) -> AsyncIterator[bytes]:
    """A long answer a piece at a time: to encrypt megabytes at once would hold up admission for as long."""
    for at in range(0, len(answer), _PIECE):
        yield answer[at : at + _PIECE]
        await asyncio.sleep(0)


def _refusal(status: int, headers: dict[str, str] | None = None) -> Callable[[Request, Exception], Response]:
    def respond(request: Request, error: Exception) -> Response:
        return Response(f"{error}\n", status, media_type="text/plain", headers=headers)

    return respond


def _own_bug(error: Exception) -> bytes:
    """One line, which the API server quotes to whoever created the pod; the traceback goes to the log."""
    return f"dpdk-webhook failed on this request, which is a bug in it, not in the pod ({type(error).__name__})\n".encode()
