"""Which requests an app answers at once, and that all others come to it through ASGI. The sockets are real."""

import asyncio
import concurrent.futures
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from tests.serving import answer, everything
from webhook.connection import SHORT, TURN, Connection
from webhook.listener import Listener
from webhook.metrics import Metrics
from webhook.server import listen


class _App:
    """Answers at once on /now, unless it is asked to `wait`; through ASGI it says so in front of what it was sent."""

    def __init__(self) -> None:
        self.at_once = {b"/now": self._now}
        self.asked: list[str] = []

    def _now(self, body: bytes, headers: list[tuple[bytes, bytes]], waited: float) -> bytes | None:
        assert (b"host", b"x") in headers
        assert 0 <= waited < TURN
        if body == b"long":
            time.sleep(2 * TURN)
        return None if body.startswith(b"wait") else b"now " + body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        body, more = b"asked ", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        if body == b"asked since?":
            body = b"%d" % (1000 * (asyncio.get_running_loop().time() - scope["completed"]))
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Served:
    """The app on a loop in a thread of its own; `run` has a function called there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, app: _App, listener: Listener, listening: socket.socket) -> None:
        self._loop = loop
        self.app = app
        self.listener = listener
        self._address = listening.getsockname()

    def connect(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=10)

    def run(self, work: Callable[[], object]) -> None:
        done: concurrent.futures.Future[object] = concurrent.futures.Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(work()))
        done.result(10)

    def connection(self) -> Connection:
        [connection] = self.listener.connections
        return connection


@pytest.fixture
def served() -> Iterator[_Served]:
    began: concurrent.futures.Future[_Served] = concurrent.futures.Future()
    end = asyncio.Event()

    async def run() -> None:
        listening = listen("127.0.0.1", 0, "tls_port")
        app = _App()
        listener = Listener(app, listening, 16, Metrics())
        began.set_result(_Served(asyncio.get_running_loop(), app, listener, listening))
        await end.wait()
        listener.abort()
        await asyncio.sleep(0.05)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: asyncio.Runner(loop_factory=uvloop.new_event_loop).run(run()))
        there = began.result(10)
        yield there
        there.run(end.set)
        running.result(10)


Parts: TypeAlias = tuple[bytes, ...]


def _post(body: bytes, *more: bytes, path: bytes = b"/now", version: bytes = b"1.1") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join((b"POST %b HTTP/%b" % (path, version), b"Host: x", length, *more, b"", body))


def _said(served: _Served, parts: Parts, answers: int = 1) -> list[bytes]:
    """The bodies of so many answers."""
    with served.connect() as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02 if len(parts) > 1 else 0)
        return _answers(connection, answers)


def _answers(connection: socket.socket, count: int) -> list[bytes]:
    bodies: list[bytes] = []
    with connection.makefile("rb") as read:
        for _ in range(count):
            head = b"".join(iter(read.readline, b"\r\n"))
            bodies.append(read.read(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])))
    return bodies


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((_post(b"review"),), id="in one piece"),
        pytest.param((_post(b"review")[:-6], b"rev", b"iew"), id="in three"),
        pytest.param(tuple(bytes([byte]) for byte in _post(b"review")), id="byte by byte"),
        pytest.param((_post(b"review", path=b"/now?timeout=10s"),), id="with a query"),
    ],
)
def test_a_short_request_is_answered_at_once_however_it_comes(served: _Served, parts: Parts) -> None:
    assert _said(served, parts) == [b"now review"]


@pytest.mark.parametrize("size", [0, SHORT, SHORT + 1])
def test_a_body_of_32_kib_is_short(served: _Served, size: int) -> None:
    [said] = _said(served, (_post(b"x" * size),))
    assert said == (b"now " if size <= SHORT else b"asked ") + b"x" * size


CHUNKS = b"POST /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nreview\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(_post(b"review", path=b"/other"), id="another path"),
        pytest.param(_post(b"review", path=b"/no%77"), id="another spelling"),
        pytest.param(_post(b"review").replace(b"POST", b"PUT"), id="another method"),
        pytest.param(
            b"POST /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nreview\r\n0\r\n\r\n", id="chunks"
        ),
    ],
)
def test_what_is_out_of_the_ordinary_is_asked_through_asgi(served: _Served, request_: bytes) -> None:
    assert _said(served, (request_,)) == [b"asked review"]
    assert _said(served, (_post(b"short"), request_), 2) == [b"now short", b"asked review"]


def test_what_the_app_leaves_for_later_comes_to_it_whole(served: _Served) -> None:
    for parts in ((_post(b"wait" * 100),), (_post(b"wait" * 100)[:-200], b"wait" * 50)):
        assert _said(served, parts) == [b"asked " + b"wait" * 100]


def test_a_client_who_waits_for_leave_gets_it(served: _Served) -> None:
    head, _, body = _post(b"review", b"Expect: 100-continue").partition(b"\r\n\r\n")
    with served.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection).endswith(b"asked review")


def test_who_wants_another_protocol_is_answered_in_this_one(served: _Served) -> None:
    with served.connect() as connection:
        connection.sendall(_post(b"", b"Connection: Upgrade", b"Upgrade: h2c"))
        assert everything(connection).endswith(b"asked ")


@pytest.mark.parametrize(("version", "more"), [(b"1.1", [b"Connection: close"]), (b"1.0", [])])
def test_the_last_answer_of_a_connection_says_so(served: _Served, version: bytes, more: list[bytes]) -> None:
    with served.connect() as connection:
        connection.sendall(_post(b"review", *more, version=version))
        said = everything(connection)
    assert said == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncontent-type: application/json\r\nconnection: close\r\n\r\nnow review"
    )


def test_who_is_answered_while_the_server_drains_is_told_that_it_was_the_last_time(served: _Served) -> None:
    with served.connect() as connection:
        connection.sendall(_post(b"review"))
        assert b"connection: close" not in answer(connection)
        connection.sendall(_post(b"review")[:-3])
        time.sleep(0.05)
        served.run(served.listener.drain)
        connection.sendall(b"iew")
        said = everything(connection)
    assert b"\r\nconnection: close\r\n" in said
    assert said.endswith(b"now review")


def test_of_many_that_come_together_one_is_answered_at_once_and_the_others_wait_for_their_turns(served: _Served) -> None:
    with served.connect() as connection:
        for _ in range(2):
            connection.sendall(b"".join(_post(b"%d" % number) for number in range(6)))
            assert _answers(connection, 6) == [b"now 0", b"asked 1", b"asked 2", b"asked 3", b"asked 4", b"asked 5"]


def test_a_request_behind_one_that_is_not_answered_yet_waits_for_it(served: _Served) -> None:
    assert _said(served, (_post(b"wait") + _post(b"then"),), 2) == [b"asked wait", b"asked then"]


def test_who_comes_in_a_long_turn_waits_in_line_and_has_waited_since_it_began(served: _Served) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(served.connect()) for _ in range(8)]
        for connection in connections:
            connection.sendall(_post(b"first"))
            assert answer(connection).endswith(b"now first")

        def send() -> None:  # while the loop waits for us, so that it finds all of them at once
            for connection in connections[:7]:
                connection.sendall(_post(b"long"))
            connections[7].sendall(_post(b"since?", path=b"/other"))
            time.sleep(0.05)

        served.run(send)
        said = [answer(connection).partition(b"\r\n\r\n")[2] for connection in connections]
    assert said[:7].count(b"now long") == 1
    assert said[:7].count(b"asked long") == 6
    assert int(said[7]) >= 1000 * TURN
    # the next turn is a new one
    assert _said(served, (_post(b"review"),)) == [b"now review"]


def test_what_follows_the_last_answer_is_not_asked(served: _Served) -> None:
    with served.connect() as connection:
        served.run(served.listener.drain)
        connection.sendall(_post(b"review") + _post(b"behind"))
        said = everything(connection)
    assert said.endswith(b"now review")
    assert served.app.asked == []


def test_a_client_who_reads_nothing_is_not_answered_at_once(served: _Served) -> None:
    with served.connect() as connection:
        connection.sendall(_post(b"review"))
        assert answer(connection).endswith(b"now review")
        served.run(served.connection().pause_writing)
        connection.sendall(_post(b"review"))
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        served.run(served.connection().resume_writing)
        assert answer(connection).endswith(b"asked review")


def test_a_body_that_dribbles_is_refused(served: _Served) -> None:
    with served.connect() as connection:
        connection.sendall(_post(b"x" * 4000)[:-4000])
        time.sleep(0.05)

        def dribble() -> None:
            for _ in range(4000):
                served.connection().data_received(b"x")

        served.run(dribble)
        assert everything(connection).startswith(b"HTTP/1.1 431 ")


def test_a_client_who_leaves_in_the_middle_leaves_nothing(served: _Served) -> None:
    with served.connect() as connection:
        connection.sendall(_post(b"review")[:-3])
        time.sleep(0.05)
        assert not served.connection().is_idle
    with contextlib.closing(served.connect()) as another:
        time.sleep(0.05)
        since = served.connection().since
        another.sendall(_post(b"review"))
        assert answer(another).endswith(b"now review")
        assert served.connection().is_idle
        assert served.connection().since > since
