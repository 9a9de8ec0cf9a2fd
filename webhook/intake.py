"""Bodies on their way in: each up to its limit, and all that have begun to come up to another."""

from typing import Final

from starlette.types import Receive, Scope

from webhook.metrics import Metrics

BODY_LIMIT: Final = 7 * 1024 * 1024  # bytes; the API server itself takes no more than 3 MiB from a client
ROOM: Final = 48 * 1024 * 1024  # bytes of all the bodies that didn't come in one piece


class BodyTooLarge(ValueError):
    """The body is above BODY_LIMIT; it was not read to its end."""

    def __init__(self) -> None:
        super().__init__(f"the body is above {BODY_LIMIT} bytes")


class NoRoom(Exception):
    """So many bodies are being read that this one was not read to its end."""

    def __init__(self) -> None:
        super().__init__("too much is being sent at once; ask again")


class ClientGone(Exception):
    """Whoever asked went away before all was said."""


class Intake:
    """One a process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._held = 0  # bytes

    async def body(self, scope: Scope, receive: Receive) -> bytes:
        """The body, up to its limit; nothing beyond is kept. BodyTooLarge, NoRoom or ClientGone."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > BODY_LIMIT:
                raise BodyTooLarge  # at once: who announces a body may wait for leave to send it
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            return body  # in one piece: there is no time in which bodies like it could come together
        chunks: list[bytes] = []
        size = 0
        try:
            while message["type"] == "http.request":
                chunk = message.get("body", b"")
                size += len(chunk)
                self._held += len(chunk)
                if size > BODY_LIMIT:
                    raise BodyTooLarge
                if self._held > ROOM:
                    self._metrics.shed("memory")
                    raise NoRoom
                chunks.append(chunk)
                if not message.get("more_body"):
                    return b"".join(chunks)
                message = await receive()
            raise ClientGone
        finally:
            self._held -= size
