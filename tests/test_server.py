"""The server as a process, over real TLS on loopback."""

import concurrent.futures
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certs.issue import issue_ca
from scripts import throwaway
from scripts.throwaway import Certificates
from tests.serving import HEAD, REQUEST, REVIEW, Server, answer, environment, eventually, everything, serving

LAST = HEAD + b"Connection: close\r\n"


# --- answers


def test_a_review_is_answered_and_health_is_told_on_both_ports(server: Server) -> None:
    with server.http() as http:
        answer = http.post("/mutate", content=REVIEW)
        assert answer.json()["response"]["patchType"] == "JSONPatch"
        assert "server" not in answer.headers
        assert http.get("/readyz").text == "ok\n"
    assert server.health("/readyz") == (200, "ok\n")
    assert server.health("/livez") == (200, "ok\n")
    assert server.health("/mutate")[0] == 404


def test_the_form_of_the_page_comes_back_with_an_answer(server: Server) -> None:
    with server.http() as http:
        page = http.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        answer = http.post("/", data={"pod": "kind: Pod\nmetadata: {name: <b>é}\nspec: {containers: [{name: app}]}\n"})
    assert answer.status_code == 200
    assert "Left alone: no annotation dpdk: &quot;true&quot;" in answer.text
    assert "name: &lt;b&gt;é" in answer.text


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"\x00\x01\x02\r\n\r\n", 400, id="no HTTP"),
        pytest.param(b"GET\r\n\r\n", 400, id="no path"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", 400, id="no such version"),
        pytest.param(b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, id="a path beyond ASCII"),
        pytest.param(b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, id="a path of any bytes"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, id="a path that is none"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, id="a proxy's method"),
        pytest.param(LAST + b"Content-Length: x\r\n\r\n", 400, id="a length that is none"),
        pytest.param(LAST + b"Content-Length: -1\r\n\r\n", 400, id="a negative length"),
        pytest.param(LAST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, id="two lengths"),
        pytest.param(LAST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="length and chunks"),
        pytest.param(LAST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, id="a chunk of no length"),
        pytest.param(LAST + b"\r\n", 400, id="no body"),
        pytest.param(LAST + b"Content-Length: 2\r\n\r\n{}", 400, id="no review"),
        pytest.param(LAST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400, id="a length beyond 64 bits"),
        pytest.param(LAST + b"Content-Length: 7340033\r\n\r\n", 413, id="a length above the limit"),
        pytest.param(LAST + b"Expect: 100-continue\r\nContent-Length: 7340033\r\n\r\n", 413, id="asking before it sends"),
        pytest.param(LAST + b"Upgrade: h2c\r\nContent-Length: 2\r\n\r\n{}", 400, id="an upgrade"),
        pytest.param(b"GET /mutate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405, id="the wrong method"),
        pytest.param(b"GET /mutate/ HTTP/1.0\r\n\r\n", 404, id="HTTP/1.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="HTTP/2 without asking"),
    ],
)
def test_every_wrong_request_is_answered(server: Server, request_: bytes, status: int) -> None:
    with server.connect() as connection:
        connection.sendall(request_)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(f"HTTP/1.1 {status} ".encode()), received[:200]
    assert server.answers()
    assert "Traceback" not in server.log.read_text()


def test_a_body_above_the_limit_is_answered_while_it_is_still_sent(server: Server) -> None:
    with server.http() as http:
        answer = http.post("/mutate", content=b" " * (16 * 1024 * 1024))
    assert (answer.status_code, answer.text) == (413, "the body is above 7340032 bytes\n")


def _handshake_only(connection: ssl.SSLSocket) -> None:
    pass


def _half_a_request(connection: ssl.SSLSocket) -> None:
    connection.sendall(HEAD)


def _half_a_body(connection: ssl.SSLSocket) -> None:
    connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")


def _a_reset(connection: ssl.SSLSocket) -> None:
    connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _no_answer_awaited(connection: ssl.SSLSocket) -> None:
    connection.sendall(HEAD + f"Content-Length: {len(REVIEW)}\r\n\r\n".encode() + REVIEW)


@pytest.mark.parametrize("send", [_handshake_only, _half_a_request, _half_a_body, _a_reset, _no_answer_awaited])
def test_a_client_that_goes_away_leaves_no_traceback(server: Server, send: object) -> None:
    assert callable(send)
    with server.connect() as connection:
        send(connection)
    with closing(socket.create_connection(("127.0.0.1", server.port))) as no_tls:
        no_tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
    time.sleep(0.3)
    assert server.answers()
    assert "Traceback" not in server.log.read_text()


def test_a_slow_dry_run_does_not_hold_up_admission(server: Server) -> None:
    slow = b"".join(b"k%d: v\n" % number for number in range(15_000))
    with concurrent.futures.ThreadPoolExecutor() as pool, server.http() as http:
        http.post("/mutate", content=REVIEW)
        began = time.monotonic()
        dry_runs = [pool.submit(_post, server, "/dry-run", slow) for _ in range(3)]
        longest = 0.0
        while not all(dry_run.done() for dry_run in dry_runs):
            sent = time.monotonic()
            assert http.post("/mutate", content=REVIEW).status_code == 200
            longest = max(longest, time.monotonic() - sent)
        took = time.monotonic() - began
    assert [dry_run.result() for dry_run in dry_runs] == [400, 400, 400]
    assert longest < took / 3


def _post(server: Server, path: str, body: bytes) -> int:
    with server.http() as http:
        return http.post(path, content=body).status_code


# --- the end


def test_sigterm_drains_first_and_ends_what_is_in_flight(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path, drain_seconds=2) as server, server.connect() as kept, server.connect() as in_flight:
        kept.sendall(REQUEST)
        assert b"connection:" not in answer(kept)
        in_flight.sendall(REQUEST[:-1])
        server.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        eventually(lambda: server.health("/readyz") == (503, "draining\n"), 2, "readyz says so")
        assert server.counted("dpdk_webhook_draining") == 1
        assert server.health("/livez") == (200, "ok\n")
        # on the old connection, which that ends, and on new ones
        kept.sendall(REQUEST)
        assert (said := answer(kept)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in said
        assert kept.recv(1) == b""
        while time.monotonic() - began < 1.5:
            with server.connect() as another:
                another.sendall(REQUEST)
                assert b"connection: close\r\n" in everything(another)
            time.sleep(0.1)
        eventually(lambda: not _is_listening(server.port), 5, "it no longer listens")
        assert time.monotonic() - began > 1.9, "endpoints need the time to forget it"
        assert server.process.poll() is None
        assert server.health("/livez") == (200, "ok\n")
        in_flight.sendall(REQUEST[-1:])
        said = everything(in_flight)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in said
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 7


def test_no_call_is_lost_while_it_drains(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path, drain_seconds=1) as server:
        over = time.monotonic() + 0.9
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(_ask_until, server, over) for _ in range(8)]
            server.process.send_signal(signal.SIGTERM)
        assert min(each.result() for each in asking) > 10
        assert server.process.wait(10) == 0


def _ask_until(server: Server, over: float) -> int:
    """How many reviews were answered; each had to be. Nobody who reads `Connection: close` asks again on that connection."""
    asked, connection = 0, server.connect()
    while time.monotonic() < over:
        connection.sendall(REQUEST)
        said = answer(connection)
        assert said.startswith(b"HTTP/1.1 200 OK\r\n")
        asked += 1
        if b"connection: close\r\n" in said:
            connection.close()
            connection = server.connect()
    connection.close()
    return asked


def test_idle_clients_who_never_read_hold_up_no_end(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path, drain_seconds=0) as server, server.connect() as used, server.connect():
        used.sendall(REQUEST)
        assert answer(used).startswith(b"HTTP/1.1 200 OK\r\n")
        time.sleep(1)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 4
        # a call that crosses the end on its way finds an answer that has it made again
        said = answer(used)
        assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"retry-after: 1\r\nconnection: close\r\n" in said
        # and TLS was closed properly: whoever reads now finds an end, not a break
        assert used.recv(1) == b""


def test_what_is_killed_loses_only_what_is_in_flight(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path) as server, server.connect() as idle, server.connect() as in_flight:
        in_flight.sendall(REQUEST[:-1])
        server.process.kill()
        assert (everything(idle), everything(in_flight)) == (b"", b"")
        assert server.process.wait(10) == -signal.SIGKILL
        # another one takes the port at once
        settings = environment(throwaway.settings(files, server.port, server.health_port))
        ready = f"http://127.0.0.1:{server.health_port}/readyz"
        with server.log.open("ab") as log, throwaway.running(["webhook", "serve"], settings, ready, files.trust, log):
            assert server.answers()


def _is_listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except ConnectionRefusedError:
        return False


def test_a_second_sigterm_changes_nothing_and_sigint_cuts_the_drain_short(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path) as server:
        began = time.monotonic()
        for _ in range(2):
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert server.answers()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 4


def test_sigint_ends_it_at_once(files: Certificates, tmp_path: Path) -> None:
    with serving(files, tmp_path) as server, server.http() as http:
        assert http.get("/livez").status_code == 200
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < 2


# --- what keeps it from starting


def _refused(variables: Mapping[str, str]) -> str:
    """The one line; exit status 2 and nothing on stdout."""
    result = subprocess.run(
        [sys.executable, "-m", "webhook", "serve"],
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith("\n")
    [line] = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(("taken", "variable"), [(0, "DPDK_WEBHOOK_TLS_PORT"), (1, "DPDK_WEBHOOK_HEALTH_PORT")])
def test_a_taken_port_is_one_line(files: Certificates, taken: int, variable: str) -> None:
    ports = throwaway.free_ports(2)
    with closing(throwaway.listener(ports[taken])):
        line = _refused(throwaway.settings(files, *ports))
    problem = f"port {ports[taken]} on 127.0.0.1 can't be used: Address already in use"
    assert line == f"dpdk-webhook: {problem}; choose another with {variable}"


def test_an_address_of_another_machine_is_one_line(files: Certificates) -> None:
    tls_port, health_port = throwaway.free_ports(2)
    line = _refused(throwaway.settings(files, tls_port, health_port) | {"DPDK_WEBHOOK_HOST": "2001:db8::1"})
    assert line.startswith(f"dpdk-webhook: port {tls_port} on 2001:db8::1 can't be used: ")


@pytest.mark.parametrize("mode", ["cert-manager", "openshift", "files"])
def test_files_of_others_that_are_not_named_are_one_line(mode: str) -> None:
    line = _refused({"DPDK_WEBHOOK_CERTIFICATES": mode})
    assert line == f"dpdk-webhook: certificates is {mode} and tls_cert is not set; set tls_cert and tls_key"


def test_files_where_the_webhook_issues_its_own_are_one_line(files: Certificates) -> None:
    line = _refused(throwaway.settings(files, *throwaway.free_ports(2)) | {"DPDK_WEBHOOK_CERTIFICATES": "self"})
    assert line == "dpdk-webhook: settings: tls_cert is set and certificates is self; set certificates=files"


def test_files_that_are_no_pair_are_one_line(files: Certificates, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(issue_ca(name="another", now=datetime.now(UTC)).key)
    line = _refused(throwaway.settings(Certificates(files.ca, files.certificate, key), *throwaway.free_ports(2)))
    assert line == f"dpdk-webhook: tls_cert {files.certificate} and tls_key {key} are not a pair: key values mismatch"
