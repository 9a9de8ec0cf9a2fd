"""The floor: a bare ASGI app that reads the whole body and answers what it always answers.

What remains above it is what parsing, the rules and the routing cost. Everything else is the same: uvicorn's configuration,
TLS, the certificate, the size of the answer.
"""

import asyncio
import contextlib

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from bench import review
from webhook import admission
from webhook.server import config, listen, tls_context
from webhook.settings import load


def main() -> None:
    """Serve on tls_port until SIGINT."""
    settings = load()
    answer = admission.mutate(admission.parse(review.body()), settings)
    headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", b"application/json")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    with (
        listen(settings.host, settings.tls_port, "tls_port") as https,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        contextlib.suppress(KeyboardInterrupt),
    ):
        runner.run(uvicorn.Server(config(app, tls_context(settings))).serve([https]))


if __name__ == "__main__":
    main()
