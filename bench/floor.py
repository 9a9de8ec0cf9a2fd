"""The floor: a bare ASGI app that reads the whole body and answers what it always answers.

What remains above it is what parsing, the rules and the routing cost. Everything else is the same: the listener, the
connection, TLS, the certificate, the size of the answer.

`--uid` answers with the uid of the review, which an API server insists on; `asyncio` and `uvloop` serve on uvicorn as it comes,
on one of the two loops.
"""

import base64
import sys
from collections.abc import Callable, Sequence

import orjson
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from bench import review
from webhook.pod import parse_pod
from webhook.review import review as decide
from webhook.server import serve
from webhook.settings import Settings, load

_UID = b'"uid":"'


def main(arguments: Sequence[str]) -> None:
    """Serve on tls_port until SIGINT."""
    settings = load()
    app = _app(_answered_with_uid(settings) if "--uid" in arguments else _answered(settings))
    if loop := next((each for each in ("asyncio", "uvloop") if each in arguments), None):
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.tls_port,
            loop=loop,
            ssl_certfile=settings.tls_cert,
            ssl_keyfile=settings.tls_key,
            access_log=False,
        )
    else:
        serve(settings, app)


def _answered(settings: Settings) -> Callable[[list[bytes]], bytes]:
    given = review.known().numbered(0)
    decision = decide(parse_pod(orjson.loads(given)["request"]["object"]), settings)
    patch = base64.b64encode(orjson.dumps(decision.patch)).decode()
    response = {"uid": _uid(given).decode(), "allowed": True, "patchType": "JSONPatch", "patch": patch}
    answer = orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    return lambda body: answer


def _answered_with_uid(settings: Settings) -> Callable[[list[bytes]], bytes]:
    before, _, after = _answered(settings)([]).partition(_uid(review.known().numbered(0)))
    return lambda body: before + _uid(b"".join(body)) + after


def _uid(body: bytes) -> bytes:
    """The first one in a review is its own: the API server writes it before the pod."""
    return body.partition(_UID)[2].partition(b'"')[0]


def _app(answered: Callable[[list[bytes]], bytes]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body: list[bytes] = []
        more = True
        while more:
            message = await receive()
            body.append(message.get("body", b""))
            more = message.get("more_body", False)
        answer = answered(body)
        headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


if __name__ == "__main__":
    main(sys.argv[1:])
