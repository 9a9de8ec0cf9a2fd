"""An answer on its way out."""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

# (the body; the headers; seconds that it waited): JSON to answer with 200, or None to be asked by ASGI
AtOnce: TypeAlias = Callable[[bytes, list[tuple[bytes, bytes]], float], bytes | None]

FAREWELL: Final = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
_REFUSALS: Final = {400: b"this is not HTTP/1.1\n", 431: b"the headers are above a limit\n"}
_REVIEW: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\n%b\r\n%b"
_LAST: Final = b"connection: close\r\n"


def answered(json: bytes, *, is_last: bool) -> bytes:
    """A whole answer with status 200."""
    return _REVIEW % (len(json), _LAST if is_last else b"", json)


def refusal(status: int) -> bytes:
    """A whole answer, the last one of its connection, to what is no request; 400 or 431."""
    text = _REFUSALS[status]
    head = b"%bcontent-type: text/plain\r\ncontent-length: %d\r\n%b\r\n%b"
    return head % (STATUS_LINE[status], len(text), _LAST, text)


class Exchange(RequestResponseCycle):
    """uvicorn's, but an answer's head leaves with its body: one TLS record and one system call, a fifth of what a request costs
    beside the app. The app's headers are taken as they are; none of ours quotes what a client wrote.
    """

    _head = b""  # not sent yet

    async def send(self, message: Any) -> None:
        """A part of the answer, from the app."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if not self.response_started:
            self.response_started = True
            self.waiting_for_100_continue = False
            self._head = self._started(message["status"], message.get("headers", ()))
            return
        if self.response_complete:
            raise RuntimeError("the answer is complete already")
        body, more = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            body = b""
        elif self.chunked_encoding:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if self._head:
            body, self._head = self._head + body, b""
        self.transport.write(body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()

    def _started(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        lines = [STATUS_LINE[status]]
        is_last = False
        for name, value in headers:
            if name == b"content-length":
                self.chunked_encoding = False
            elif name == b"connection" and value == b"close":
                is_last = True
                self.keep_alive = False
            lines += (name, b": ", value, b"\r\n")
        if self.chunked_encoding is None and status not in (204, 304):
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keep_alive and not is_last:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)
