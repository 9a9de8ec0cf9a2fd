"""/livez, /readyz and /metrics: for the kubelet and Prometheus, over plain HTTP."""

from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.metrics import Metrics

_TEXT = "text/plain; charset=utf-8"


class Readiness:
    """Whether new work is welcome: a replica that is going away says no here first."""

    def __init__(self) -> None:
        self.state = "starting"  # then "ok", then "draining"
        self.problem = ""  # why it can't be called now, in one line
        self.notes: tuple[str, ...] = ()  # what else there is to say, a line each

    def told(self) -> tuple[int, bytes]:
        """(status, body) of /readyz."""
        ready = self.state == "ok" and not self.problem
        state = f"not ready: {self.problem}" if self.state == "ok" and self.problem else self.state
        return 200 if ready else 503, "".join(f"{line}\n" for line in (state, *self.notes)).encode()


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
        return readiness.told()
    return None
