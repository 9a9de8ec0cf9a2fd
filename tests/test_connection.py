"""What one connection may do, and what several may: limits, order, deadlines, places. The process is real, and so is TLS."""

import asyncio
import concurrent.futures
import contextlib
import re
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from scripts.throwaway import Certificates
from tests.serving import HEAD, LIVE, REQUEST, Server, answer, eventually, everything, serving
from webhook.listener import Listener
from webhook.metrics import Metrics
from webhook.server import listen
from webhook.settings import Settings
from webhook.tls import Certificates as Served

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ALLOWED = b"HTTP/1.1 200 OK\r\n"


def _said(server: Server, *parts: bytes) -> bytes:
    """Everything that is answered, to the end of the connection."""
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # it may have heard enough
            for part in parts:
                connection.sendall(part)
        return everything(connection)


def _statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", said)]


# --- limits


def test_a_head_may_have_64_kib(server: Server) -> None:
    start = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
    longest = start + b"x" * (64 * 1024 - len(start) - 4) + b"\r\n\r\n"
    assert len(longest) == 64 * 1024
    assert _statuses(_said(server, longest)) == [200]
    assert _statuses(_said(server, longest.replace(b"X: ", b"X: y"))) == [431]


@pytest.mark.parametrize("count", [100, 101])
def test_a_request_may_have_100_headers(server: Server, count: int) -> None:
    headers = b"".join(b"x-%d: x\r\n" % number for number in range(count - 2))
    said = _said(server, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n")
    assert _statuses(said) == [200 if count == 100 else 431]
    if count == 101:
        assert said.endswith(b"\r\n\r\nthe headers are above a limit\n")


WITHOUT_END = {
    "a header": (HEAD + b"X: ", b"x" * 9000),
    "a path": (b"GET /", b"x" * 9000),
    "empty lines": (b"", b"\r\n" * 4500),
    "a chunk's extension": (CHUNKED + b"1;a=", b"x" * 9000),
    "a chunk's length": (CHUNKED, b"0" * 9000),
    "a trailer": (CHUNKED + b"0\r\nx: ", b"x" * 9000),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n" * 1500),
    "chunks of a byte": (CHUNKED, b"1\r\nx\r\n" * 1500),
}


@pytest.mark.parametrize("what", WITHOUT_END)
def test_nothing_beside_a_body_may_go_on_without_end(server: Server, what: str) -> None:
    first, then = WITHOUT_END[what]
    began = time.monotonic()
    said = _said(server, first, *[then] * 60)
    assert _statuses(said) in ([431], [400])
    assert time.monotonic() - began < 5
    assert server.answers()


def test_a_body_in_chunks_is_as_good_as_one_in_one_piece(server: Server) -> None:
    body = REQUEST.partition(b"\r\n\r\n")[2]
    parts = [body[start : start + 100] for start in range(0, len(body), 100)]
    chunks = b"".join(b"%x;name=value\r\n%b\r\n" % (len(part), part) for part in parts)
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(CHUNKED + chunks + b"0\r\nX-Trailer: x\r\n\r\n")
            assert answer(connection).startswith(ALLOWED)


# --- order


def test_thousands_of_requests_at_once_are_answered_in_order_and_not_kept(server: Server) -> None:
    wanted = [200 if number % 3 else 404 for number in range(9000)]
    requests = b"".join(LIVE if status == 200 else LIVE.replace(b"/livez", b"/none") for status in wanted)
    before = server.rss
    with server.connect() as connection, concurrent.futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(connection.sendall, requests)
        received: list[bytes] = []
        while sum(chunk.count(b"HTTP/1.1 ") for chunk in received) < len(wanted):
            chunk = connection.recv(65536)
            assert chunk
            received.append(chunk)
        sent.result()
    assert _statuses(b"".join(received)) == wanted
    assert server.rss - before < 8


def test_reviews_and_bodies_of_chunks_can_be_pipelined(server: Server) -> None:
    body = REQUEST.partition(b"\r\n\r\n")[2]
    chunked = CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    last = LIVE.replace(b"Host", b"Connection: close\r\nHost")
    assert _statuses(_said(server, (REQUEST + chunked + LIVE) * 20 + last)) == [200] * 61


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x00\x01\r\n\r\n", id="instead of a head"),
        pytest.param(CHUNKED + b"zz\r\n", id="in a body"),
        pytest.param(LIVE[:-2] + b"x-%d: x\r\n" % 1 * 101 + b"\r\n", id="too many headers"),
    ],
)
def test_what_comes_before_garbage_is_answered_before_it(server: Server, garbage: bytes) -> None:
    for before in (LIVE, REQUEST + LIVE):
        began = time.monotonic()
        statuses = _statuses(_said(server, before + garbage + LIVE))
        assert time.monotonic() - began < 5
        answered = before.count(b" HTTP/1.1")
        assert statuses[:answered] == [200] * answered
        assert statuses[answered:] in ([], [400], [431])


def test_a_body_that_breaks_off_into_garbage_is_answered_400(server: Server) -> None:
    assert _statuses(_said(server, CHUNKED + b"1\r\n{\r\n", b"zz\r\n")) == [400]


def test_an_upgrade_is_not_taken_and_what_follows_is_not_read(server: Server) -> None:
    upgrade = LIVE.replace(b"Host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHost")
    said = _said(server, upgrade + LIVE)
    assert _statuses(said) == [200]
    assert b"connection: close\r\n" in said


def test_a_client_who_asks_before_he_sends_is_told_to_go_on(server: Server) -> None:
    head, _, body = REQUEST.partition(b"\r\n\r\n")
    with server.connect() as connection:
        connection.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert answer(connection).startswith(ALLOWED)


def test_whoever_goes_on_sending_after_his_answer_is_cut_off(server: Server) -> None:
    began = time.monotonic()
    with server.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 413 ")
        with pytest.raises((ConnectionError, ssl.SSLError)):
            _send_for(connection, 20)
    assert time.monotonic() - began < 5


def _send_for(connection: ssl.SSLSocket, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection.sendall(b" " * 1000)
        time.sleep(0.01)


# --- who gets a place


def test_a_horde_that_says_nothing_gives_way_to_whoever_asks(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path, max_connections=16) as server, contextlib.ExitStack() as stack:
        kept = stack.enter_context(server.connect())
        kept.sendall(REQUEST)
        assert answer(kept).startswith(ALLOWED)
        silent = [stack.enter_context(server.tcp()) for _ in range(10)]
        idle = [stack.enter_context(server.connect()) for _ in range(20)]
        for _ in range(20):
            assert server.answers()
        assert [each.recv(1) for each in silent] == [b""] * 10
        assert everything(idle[0]) == b""
        assert server.counted('dpdk_webhook_shed_total{reason="connections"}') >= 16
        kept.sendall(REQUEST)
        assert answer(kept).startswith(ALLOWED), "whoever has asked for something stays as long as others have not"


def test_a_horde_that_once_said_something_gives_way_too_but_not_who_is_at_work(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path, max_connections=16) as server, contextlib.ExitStack() as stack:
        horde = [stack.enter_context(server.connect()) for _ in range(16)]
        for each in horde:
            each.sendall(LIVE)
            assert answer(each).startswith(ALLOWED)
            time.sleep(0.01)
        newcomer = stack.enter_context(server.connect())
        newcomer.sendall(REQUEST)
        assert answer(newcomer).startswith(ALLOWED)
        assert everything(horde[0]) == b"", "the longest idle one"
        at_work = [newcomer, *horde[1:]]
        for each in at_work:
            each.sendall(REQUEST[:-1])
        eventually(lambda: not server.answers_at_all(), 3, "there is no place left")
        for each in at_work:
            each.sendall(REQUEST[-1:])
            assert answer(each).startswith(ALLOWED)
        assert server.answers()


def test_a_process_without_files_neither_ends_nor_spins(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path) as server, contextlib.ExitStack() as stack:
        pid = server.process.pid
        taken = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
        used = next(number for number in range(len(taken) + 1) if number not in taken)
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # not one: there is nothing to do but to wait, and not to try all the time
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))
        stack.enter_context(server.tcp())
        before = server.cpu
        time.sleep(1)
        assert server.cpu - before < 0.3
        # a few, and a horde that wants more: whoever says nothing gives way
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(taken) + 10, hard))
        for _ in range(40):
            stack.enter_context(server.tcp())
        began = time.monotonic()
        assert server.answers()
        assert time.monotonic() - began < 4, "before their handshakes are given up"


# --- in this process, where the moment can be chosen


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers before it has read anything on /early, and on /late after a second; it wants to know since when the request is
    complete."""
    is_early = scope["path"] == "/early"
    if scope["path"] == "/late":
        await asyncio.sleep(1)
    while not is_early and (await receive()).get("more_body"):
        pass
    is_told = is_early or 0 <= asyncio.get_running_loop().time() - scope["completed"] < 2
    status = 200 if is_told else 500
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


Play: TypeAlias = Callable[[Listener, socket.socket], Awaitable[None]]


def _played(files: Certificates, play: Play) -> None:
    async def run() -> None:
        metrics = Metrics()
        listening = listen("127.0.0.1", 0, "tls_port")
        served = Served(Settings(certificates="files", tls_cert=str(files.certificate), tls_key=str(files.key)), metrics)
        listener = Listener(_app, listening, 16, metrics, served)
        try:
            await play(listener, listening)
        finally:
            listener.abort()
            await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _shaken(files: Certificates, raw: socket.socket) -> ssl.SSLSocket:
    return files.trust.wrap_socket(raw, server_hostname="localhost")


def _asked(connection: ssl.SSLSocket, request: bytes) -> bytes:
    connection.sendall(request)
    return answer(connection)


def test_a_request_that_waits_in_the_socket_is_answered_when_idle_connections_end(files: Certificates) -> None:
    async def play(listener: Listener, listening: socket.socket) -> None:
        raw = [socket.create_connection(listening.getsockname(), timeout=20) for _ in range(2)]
        asking, silent = [await asyncio.to_thread(_shaken, files, each) for each in raw]
        with asking, silent:
            for each in (asking, silent):
                assert (await asyncio.to_thread(_asked, each, LIVE)).startswith(ALLOWED)
            await asyncio.sleep(0.1)
            asking.sendall(LIVE)  # into the kernel: the loop reads nothing until we give way
            for connection in listener.connections:
                connection.end()
            said = await asyncio.to_thread(answer, asking)
            assert said.startswith(ALLOWED)
            assert b"connection: close\r\n" in said
            assert [await asyncio.to_thread(each.recv, 1) for each in (asking, silent)] == [b"", b""]

    _played(files, play)


def test_who_waits_to_be_accepted_is_answered_before_the_end(files: Certificates) -> None:
    async def play(listener: Listener, listening: socket.socket) -> None:
        raw = [socket.create_connection(listening.getsockname(), timeout=20) for _ in range(3)]
        listener.drain()
        finished = asyncio.create_task(listener.finish())  # nobody was accepted so far
        for each in raw:
            with await asyncio.to_thread(_shaken, files, each) as connection:
                said = await asyncio.to_thread(_asked, connection, LIVE)
                assert said.startswith(ALLOWED)
                assert b"connection: close\r\n" in said
        await asyncio.wait_for(finished, 5)
        assert not listener.connections

    _played(files, play)


def test_who_is_idle_is_told_of_the_end_though_somebody_else_is_at_work_until_then(
    files: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.listener.FINISH", 0.3)

    async def play(listener: Listener, listening: socket.socket) -> None:
        raw = [socket.create_connection(listening.getsockname(), timeout=20) for _ in range(2)]
        idle, busy = [await asyncio.to_thread(_shaken, files, each) for each in raw]
        with idle, busy:
            assert (await asyncio.to_thread(_asked, idle, LIVE)).startswith(ALLOWED)
            busy.sendall(LIVE.replace(b"/livez", b"/late"))
            await asyncio.sleep(0.05)
            listener.drain()
            await asyncio.wait_for(listener.finish(), 0.8)
            assert (await asyncio.to_thread(everything, idle)).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")

    _played(files, play)


@pytest.mark.parametrize("is_used", [True, False])
def test_idle_connections_are_left_alone_until_the_api_server_has_dropped_them(files: Certificates, is_used: bool) -> None:
    async def play(listener: Listener, listening: socket.socket) -> None:
        raw = socket.create_connection(listening.getsockname(), timeout=20)
        with await asyncio.to_thread(_shaken, files, raw) as connection:
            if is_used:
                assert (await asyncio.to_thread(_asked, connection, LIVE)).startswith(ALLOWED)
            idle_since = asyncio.get_running_loop().time()
            listener.sweep(idle_since + 120)
            await asyncio.sleep(0.05)
            assert len(listener.connections) == 1
            listener.sweep(idle_since + 131)
            assert await asyncio.to_thread(connection.recv, 1) == b""

    _played(files, play)


def test_a_blank_line_behind_an_answer_is_not_the_beginning_of_a_request(files: Certificates) -> None:
    async def play(listener: Listener, listening: socket.socket) -> None:
        raw = socket.create_connection(listening.getsockname(), timeout=20)
        with await asyncio.to_thread(_shaken, files, raw) as connection:
            assert (await asyncio.to_thread(_asked, connection, LIVE)).startswith(ALLOWED)
            connection.sendall(b"\r\n")
            await asyncio.sleep(0.1)
            listener.sweep(asyncio.get_running_loop().time() + 60)
            assert (await asyncio.to_thread(_asked, connection, LIVE)).startswith(ALLOWED)
            connection.sendall(LIVE[:1])
            await asyncio.sleep(0.1)
            listener.sweep(asyncio.get_running_loop().time() + 10)
            assert await asyncio.to_thread(everything, connection) == b""

    _played(files, play)


def test_what_comes_of_a_body_after_its_answer_is_read_up_to_a_limit(files: Certificates) -> None:
    async def play(listener: Listener, listening: socket.socket) -> None:
        for size, is_kept in ((4 * 1024 * 1024, True), (64 * 1024 * 1024, False)):
            raw = socket.create_connection(listening.getsockname(), timeout=20)
            with await asyncio.to_thread(_shaken, files, raw) as connection:
                head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
                assert (await asyncio.to_thread(_asked, connection, head)).startswith(ALLOWED)
                with contextlib.suppress(ConnectionError, ssl.SSLError):
                    await asyncio.to_thread(connection.sendall, b" " * size + LIVE)
                said = await asyncio.to_thread(answer if is_kept else everything, connection)
                assert said.startswith(ALLOWED) if is_kept else said == b""

    _played(files, play)


# --- the log


def test_bad_clients_fill_no_log(server: Server) -> None:
    for _ in range(60):
        assert _statuses(_said(server, b"\x00\x01\r\n\r\n")) == [400]
        with server.tcp() as no_tls:
            no_tls.sendall(LIVE)
            assert everything(no_tls) == b""
    lines = server.log.read_text().splitlines()
    assert 1 <= sum("bad clients" in line for line in lines) <= 2
    assert sum('"level":"warning"' in line for line in lines) < 5
