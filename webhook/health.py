"""/livez, /readyz and /metrics: for the kubelet and Prometheus, over plain HTTP."""

from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.metrics import Metrics

_TEXT = "text/plain; charset=utf-8"


class Readiness:
    """Whether new work is welcome: a replica that is going away says no here first."""

    def __init__(self) -> None:
        self.state = "starting"  # then "ok", then "draining"


def create_health_app(readiness: Readiness, metrics: Metrics) -> ASGIApp:
    """Everything that is served on the health port."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        kind, more = _TEXT, []
        if method not in ("GET", "HEAD"):
            status, body, more = 405, b"GET is expected\n", [(b"allow", b"GET, HEAD")]
        elif path == "/metrics":
            status, (body, kind) = 200, metrics.expose()
        elif (told := health(path, readiness)) is not None:
            status, body = told
        else:
            status, body = 404, b"there is /livez, /readyz and /metrics\n"
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body)), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})  # uvicorn keeps it from a HEAD

    return app


def health(path: str, readiness: Readiness) -> tuple[int, bytes] | None:
    """(status, body) of /livez and /readyz, on either port; None for any other path."""
    if path == "/livez":
        return 200, b"ok\n"
    if path == "/readyz":
        return 200 if readiness.state == "ok" else 503, f"{readiness.state}\n".encode()
    return None
