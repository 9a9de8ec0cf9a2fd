"""One connection: uvicorn's, with an end to everything that a client can draw out, and a limit to what he can make us keep.

What a request costs here is a handful of assignments: there is no timer for it. One timer of the listener looks at all
connections twice a second (`look`).

An app may answer some requests at once: `app.at_once`, where it has one, names their paths in bytes. Such a request needs no
task and no turn of the loop of its own. It is the app that says which are ordinary; all others take the road through
ASGI, as they would without it.
"""

import asyncio
import fcntl
import ssl
import termios
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from webhook.exchange import FAREWELL, AtOnce, Exchange, answered, refusal
from webhook.shared import Shared
from webhook.tls import Served

# The API server drops idle connections after 90 s. One that we close first may have its next call on the way, and such a call
# fails without another try. That holds for connections that never carried a request too: Go opens another one while the first
# still shakes hands, and keeps what it did not need for later.
KEEP_ALIVE: Final = 130.0
DEADLINE: Final = 9.0  # seconds from a request's first byte to its last; + 0.5 until we look
UNREAD: Final = 7.0  # seconds, + 0.5, in which a client takes nothing of an answer
LINGER: Final = 1.5  # seconds, + 0.5
HEAD: Final = 64 * 1024  # bytes of a request's line and headers, of what stands between chunks, of trailers
CHUNK: Final = 32  # bytes; smaller chunks of a body are taken for framing
UNWANTED: Final = 8 * 1024 * 1024  # bytes of a body that we read on after its answer, so that the connection can be kept
HEADERS: Final = 100  # the API server sends 7
BUFFER: Final = 64 * 1024  # bytes that we hold for a client who sends more than is read, or reads less than is sent
PIECE: Final = 256  # bytes; the parser gets one head and no more than this of what follows
MOST: Final = 8 * 1024  # bytes that the parser gets at once
SHORT: Final = 32 * 1024  # bytes of a body that may be answered at once
TURN: Final = 0.02  # seconds of a turn of the loop in which requests are answered at once; those that come then wait in line

_END_OF_HEAD: Final = b"\r\n\r\n"


class Connection(HttpToolsProtocol):
    """It exists from accept on; until the handshake is done there is no transport."""

    server_state: Shared

    def __init__(self, config: uvicorn.Config, shared: Shared, served: Served | None) -> None:
        super().__init__(config, shared, {}, asyncio.get_running_loop())
        self.served = served  # without TLS: None
        self.is_open = False
        self.since = self.loop.time()  # accepted, or idle since
        self._began: float | None = None  # the first byte of a request that is not complete
        self._in_body = False
        self._framing = 0  # bytes of the request so far that are not its body, less those that its body makes up for
        self._unwanted = 0  # bytes of a body that came after its answer
        self._held = b""  # sent before it was asked for: what follows a request that is still being answered
        self._running: RequestResponseCycle | None = None
        self._at_once: Mapping[bytes, AtOnce] = getattr(self.app, "at_once", {})
        self._answered: AtOnce | None = None  # by what the request that is being read may be answered at once
        self._said_headers: list[tuple[bytes, bytes]] = []
        self._is_short = False
        self._short: bytearray | None = None  # its body so far
        self._had_answer = False  # at once, to what was read last
        self._unread: float | None = None  # our answers pile up since
        self._is_refused = False
        self._refusal = 400
        self._is_last = False
        self._said: float | None = None  # closed since, as far as we are concerned
        shared.connections.add(self)
        shared.unproven[self] = None

    # --- asyncio

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """TLS is agreed on. A caller who is not one of ours hears nothing, not even in HTTP."""
        self.is_open = True
        self.since = self.loop.time()
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=BUFFER)
        if self.served is not None:
            transport.set_read_buffer_limits(high=BUFFER)  # type: ignore[attr-defined]
            if self.served.client_ca and transport.get_extra_info("ssl_object").session_reused:
                # TLS 1.2 resumes by a session's id, and shows no certificate then: it may have ended meanwhile
                transport.abort()
                self.server_state.metrics.handshake_failed("resumed")
                self.complain("a session that was resumed")
            elif not self.served.admits(transport.get_extra_info("peercert")):
                transport.abort()
                self.server_state.metrics.handshake_failed("subject")
                self.complain("a caller who is not in client_subjects")

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end, or ours, is gone."""
        super().connection_lost(exc)
        self.pipeline.clear()
        self._held = b""
        self._short = None
        self.server_state.forget(self)

    def pause_writing(self) -> None:
        """The client doesn't read what we answer."""
        super().pause_writing()
        self._unread = self.loop.time()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._unread = None

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or of several."""
        if self._is_refused:
            return
        self._had_answer = False
        if self._held:
            # reading is paused, but somebody who waits for the client to go away has it resumed
            self._held += data
            self.flow.pause_reading()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Parse, but not further ahead than one request: each that waits would take a hundred times its bytes.

        So the parser gets pieces with one head in them, and those that are small enough to hold few. An ordinary request is one
        piece.
        """
        start, size = 0, len(data)
        while start < size:
            if self._began is None and self.is_answering:
                self._held = data[start:]
                self.flow.pause_reading()
                return
            found = data.find(_END_OF_HEAD, start + PIECE)
            end = min(size if found < 0 else found + 4, start + MOST)
            if not self._parse(data if end - start == size else data[start:end]):
                return
            start = end

    def _parse(self, piece: bytes) -> bool:
        self._framing += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # answered as if it had not asked; what it goes on to say is not HTTP
            self._refuse_more()
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            if self._framing > HEAD:
                self._refuse(431)
        return not (self._is_refused or self.transport.is_closing())

    # --- the parser

    def on_message_begin(self) -> None:
        """A request begins. The scope that ASGI wants is made when ASGI is asked."""
        self.url, self.headers, self.expect_100_continue, self._is_short = b"", [], False, False
        self._began = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or after a chunked body a trailer."""
        if len(self.headers) == HEADERS:
            self._refusal = 431
            raise ValueError
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"content-length":
            self._is_short = int(value) <= SHORT
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The app may start, or wait until the requests before it are answered."""
        if self._framing > HEAD:
            self._refusal = 431
            raise ValueError
        self._said_headers, self.headers = self.headers, []  # trailers go there, and nobody looks
        if self._is_short and not self._is_odd() and self.parser.get_method() == b"POST":
            self._answered = self._at_once.get(self.url.partition(b"?")[0])
        if self._answered is None:
            self._ask(b"")
        else:
            self._short = bytearray()
        self._in_body = True

    def _is_odd(self) -> bool:
        """Whether there is more to do than to answer the request that is being read, and to go on."""
        odd = self._had_answer or self._unread is not None or self.is_answering or self.expect_100_continue
        return odd or self.parser.should_upgrade()

    def _ask(self, body: bytes) -> None:
        """Have the app answer the request, of whose body there is this so far, when those before it are answered."""
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        expects_100_continue = self.expect_100_continue
        super().on_message_begin()
        scope = self.scope
        scope["headers"] = self._said_headers
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = self.parser.get_http_version()
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        earlier, self._answered, self._short = self.cycle, None, None
        self.cycle = Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=expects_100_continue,
            keep_alive=not self._ends(),
            on_response=self.on_response_complete,
        )
        if body:
            self.cycle.body += body
            self.cycle.message_event.set()
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _ends(self) -> bool:
        """Whether the request that is being read is the last of its connection."""
        is_ended = self.server_state.is_draining or self._is_last or not self.parser.should_keep_alive()
        return is_ended or self.parser.get_http_version() == "1.0"

    def on_body(self, body: bytes) -> None:
        """A part of a body: all that came at once of one with a length, a chunk of one without."""
        # a body of chunks of a byte costs a call for each of them, and six times its length
        framing = self._framing + CHUNK - 2 * len(body)
        self._framing = framing if framing > 0 else 0
        if self._short is not None:
            self._short += body
            return
        if self.cycle.response_complete:
            self._unwanted += len(body)
            if self._unwanted > UNWANTED:
                raise ValueError
            return
        cycle = self.cycle
        cycle.body += body
        if len(cycle.body) > BUFFER:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is here in full; since when at the latest, is in scope["completed"], by the loop's clock."""
        self._began, self._in_body, self._framing, self._unwanted = None, False, 0, 0
        self.server_state.unproven.pop(self, None)
        now, shared = self.loop.time(), self.server_state
        if shared.turn is None:
            shared.turn = now
            self.loop.call_soon(shared.end_turn)
        if self._answered is not None and self._short is not None:
            body, answer, waited = bytes(self._short), None, now - shared.turn
            if waited < TURN:
                answer = self._answered(body, self._said_headers, waited)
            if answer is not None:
                self._answer_at_once(answer, now)
                return
            self._ask(body)
        # what is read late in a turn came when the turn began: it waited in the kernel until those before it were answered
        self.scope["completed"] = shared.turn  # type: ignore[typeddict-unknown-key]
        super().on_message_complete()

    def _answer_at_once(self, answer: bytes, now: float) -> None:
        self._answered, self._short, self._had_answer, self.since = None, None, True, now
        ends = self._ends()
        self.transport.write(answered(answer, is_last=ends))
        if ends:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        if self.transport.is_closing():
            return  # nobody would hear the answer
        self._running = cycle
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """One request is answered: go on with the next, or wait for it."""
        if self.transport.is_closing():
            return
        self.since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())  # type: ignore[arg-type]
        elif self._held:
            held, self._held = self._held, b""
            self._take(held)

    # --- what is wrong with a request

    def _refuse(self, status: int) -> None:
        """Answer it after those before it, and close. Nothing more is read."""
        self.complain("no HTTP" if status == 400 else "too long a head")
        if self._short is not None:
            self._short = None
            self._answer(status)
            return
        if not self._in_body:
            # a head that never was complete
            if self.is_answering:
                self._refuse_more()
            else:
                self._answer(status)
            return
        bad = self.cycle
        if self.pipeline and self.pipeline[0][0] is bad:
            # it waits behind others, of which the last one is now the last of this connection
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running  # type: ignore[assignment]
            self._refuse_more()
        elif bad.response_started:
            self._is_refused = True
            self.transport.close()
        else:
            bad.disconnected = True
            bad.message_event.set()
            self._answer(status)

    def _refuse_more(self) -> None:
        self._is_refused = True
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()

    def _answer(self, status: int) -> None:
        self._is_refused = True
        self.transport.write(refusal(status))
        self.transport.close()

    def complain(self, problem: str) -> None:
        """Have it logged, some time."""
        self.server_state.complaints.add(problem, self.client[0] if self.client else "nowhere", self.loop.time())

    # --- its end

    @property
    def is_answering(self) -> bool:
        """A request has come whose answer is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_idle(self) -> bool:
        """Nothing was begun that is not done."""
        return self._began is None and not self.is_answering and not self._held

    def look(self, now: float) -> None:
        """End it when it is time."""
        if self.transport.is_closing():
            self._linger(now)
        elif self._began is not None and now - self._began > DEADLINE:
            self.complain("a request that doesn't end")
            self.transport.abort()
        elif self._unread is not None and now - self._unread > UNREAD:
            self.complain("an answer that isn't read")
            self.transport.abort()
        elif now - self.since > KEEP_ALIVE and self.is_idle:
            self.end()

    def _linger(self, now: float) -> None:
        """A closed connection waits until the client closes it too, and throws away what he still sends: a reset right behind
        an answer could overtake it. Not for long, once all of it is on its way."""
        if self._said is None:
            self._said = now
        elif now - self._said > (UNREAD if self.transport.get_write_buffer_size() else LINGER):
            self.transport.abort()

    def last(self) -> None:
        """Let the next answer be the last one, or the one that is on its way."""
        self._is_last = True
        if self.is_answering:
            self.cycle.keep_alive = False

    def end(self) -> None:
        """Close it if it is idle.

        What waits in its socket, unread by us, is a call that would fail: it is answered, as the last one. A call that is
        between here and the client now finds an answer that has it made again; without a call, Go drops the connection.
        """
        if self.is_idle and not self.transport.is_closing():
            if self._waits():
                self.last()
                return
            if self.server_state.is_draining and self.is_open:
                self.transport.write(FAREWELL)
            self.transport.close()

    def _waits(self) -> bool:
        descriptor = self.transport.get_extra_info("socket").fileno()
        return fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)) != bytes(4)

    def verify(self, served: Served) -> None:
        """The client CA is another one now: a caller who doesn't come from it is a stranger."""
        if self.served is None or served is self.served:
            return
        if served.client_ca != self.served.client_ca:
            peer: ssl.SSLObject = self.transport.get_extra_info("ssl_object")
            if not served.still_admits(peer.getpeercert(True)):
                self.last()
                if self.is_idle:
                    self.transport.close()
        self.served = served
