"""What certs.cluster makes of an API server that is broken, of its credentials, and of the time that it is told."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.config import incluster_config

from certs import cluster as module
from certs.cluster import Clock, ClusterError, Names, Watched, connect
from certs.cluster import Cluster as Objects
from scripts import throwaway
from tests.certs.timing import Time
from tests.serving import eventually

NAMES = Names("somewhere", "service", "secret", "lease", "configuration")
PATH = "/api/v1/namespaces/somewhere/secrets/secret"
FOUND = '{"metadata": {"name": "secret", "resourceVersion": "7"}}'
Answer = Callable[[str], bytes]  # of the head of a request


@contextmanager
def answering(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server that gives such an answer on each connection, and closes it: its port, and the heads of what it was asked."""
    heads: list[str] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(20)
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            heads.append(head.decode())
            connection.sendall(answer(heads[-1]))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                serve(context.wrap_socket(connection, server_side=True) if context else connection)
            except OSError:
                if ended.is_set():
                    return

    listener, ended = throwaway.listener(), threading.Event()
    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1], heads
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def reply(status: str, body: str | bytes, *headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode() + content


def kubeconfig(directory: Path, server: str, *, ca: Path | None = None) -> str:
    file = directory / "kubeconfig"
    cluster = {"server": server} | ({"certificate-authority": str(ca)} if ca else {})
    config = {
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    file.write_text(json.dumps(config))
    return str(file)


@contextmanager
def broken(directory: Path, answer: Answer) -> Iterator[tuple[Objects, list[str]]]:
    with answering(answer) as (port, heads):
        objects = connect(NAMES, Clock(), kubeconfig=kubeconfig(directory, f"http://127.0.0.1:{port}"))
        try:
            yield objects, heads
        finally:
            objects.close()


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (b"", "unreachable", "the API server can't be asked: ('Connection aborted.', RemoteDisconnected"),
        (b"junk\r\n\r\n", "unreachable", "the API server can't be asked: ('Connection aborted.', BadStatusLine"),
        (reply("200 OK", FOUND)[:-5], "unreachable", "the answer broke off: ('Connection broken: IncompleteRead"),
        (
            reply("403 Forbidden", FOUND)[:-5],
            "unreachable",
            "the API server can't be asked: ('Connection broken: IncompleteRead",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n?\r\n",
            "unreachable",
            "the answer broke off: ('Connection broken: ",
        ),
        (reply("200 OK", "<html>"), "unreachable", "the answer broke off: Expecting value"),
        (reply("200 OK", b'"\xff"'), "unreachable", "the answer broke off: 'utf-8' codec can't decode"),
        (reply("200 OK", "[]"), "unreachable", "the answer is no object; is it a Kubernetes API server?"),
        (reply("302 Found", "", "Location: /elsewhere"), "other", "status 302"),
        (reply("401 Unauthorized", '{"message": "who\\n are you?"}'), "forbidden", "who are you?"),
        (reply("403 Forbidden", '{"message": "not you"}'), "forbidden", "not you"),
        (reply("409 Conflict", '{"message": "too late"}'), "conflict", "too late"),
        (reply("422 Unprocessable Entity", "{}"), "invalid", "status 422"),
        (reply("500 Internal Server Error", "<html>"), "other", "status 500"),
        (reply("503 Service Unavailable", "[]", "Retry-After: 1"), "other", "status 503"),
    ],
    ids=[
        "silence",
        "no HTTP",
        "half an answer",
        "half a refusal",
        "no chunk",
        "no JSON",
        "no UTF-8",
        "no object",
        "a redirect",
        "401",
        "403",
        "409",
        "422",
        "500",
        "503",
    ],
)
def test_whatever_is_answered_it_is_asked_once_and_the_error_is_one_line(
    tmp_path: Path, answer: bytes, reason: str, text: str
) -> None:
    with broken(tmp_path, lambda _: answer) as (objects, heads):
        with pytest.raises(ClusterError) as raised:
            objects.read("Secret")
        assert raised.value.reason == reason
        assert str(raised.value).startswith(f"GET {PATH}: {text}")
        assert str(raised.value).splitlines() == [str(raised.value)]
        assert [head.partition("\r\n")[0] for head in heads] == [f"GET {PATH} HTTP/1.1"]


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    with broken(tmp_path, lambda _: reply("404 Not Found", "")) as (objects, _):
        assert objects.read("Secret") is None


def test_an_answer_that_does_not_come_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", (0.2, 0.2))
    with throwaway.listener() as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        objects = connect(NAMES, Clock(), kubeconfig=kubeconfig(tmp_path, server))
        began = time.monotonic()
        with pytest.raises(ClusterError, match="Read timed out"):
            objects.read("Secret")
        assert time.monotonic() - began < 5
        objects.close()


def test_an_api_server_of_another_ca_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files, other = throwaway.issue(tmp_path), throwaway.issue(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with answering(lambda _: reply("200 OK", FOUND), context) as (port, heads):
        objects = connect(NAMES, Clock(), kubeconfig=kubeconfig(tmp_path, f"https://127.0.0.1:{port}", ca=other.ca))
        with pytest.raises(ClusterError, match="certificate verify failed") as raised:
            objects.read("Secret")
        objects.close()
    assert raised.value.reason == "unreachable"
    assert str(raised.value).splitlines() == [str(raised.value)]
    assert heads == []


# --- a watch


def watching(*lines: str, broken_off: bool = False) -> Answer:
    """A watch that says this, beside an object that can be read."""
    body = "".join(f"{line}\n" for line in lines)
    answer = reply("200 OK", body + ("?" if broken_off else ""))
    return lambda head: (answer[:-1] if broken_off else answer) if "watch=true" in head else reply("200 OK", FOUND)


def event(kind: str, version: object, **more: str) -> str:
    return json.dumps({"type": kind, "object": {"metadata": {"resourceVersion": str(version)}} | more})


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (watching(broken_off=True), "unreachable", "broke off: ('Connection broken: IncompleteRead"),
        (watching("?"), "unreachable", "broke off: Expecting value"),
        (watching("[]"), "unreachable", "broke off: list indices must be"),
        (watching("{}"), "unreachable", "broke off: 'type'"),
        (watching('{"type": "ADDED", "object": {"kind": "Secret"}}'), "unreachable", "broke off: 'metadata'"),
        (watching('{"type": "ERROR", "object": []}'), "unreachable", "broke off: 'list' object has no attribute"),
        (watching(event("ADDED", "junk")), "unreachable", "broke off: invalid literal for int"),
        (watching(event("ERROR", 8, message="too old")), "other", "ended: too old"),
    ],
    ids=["half a line", "no JSON", "a list", "no type", "no metadata", "no object", "no version", "an error"],
)
def test_a_watch_that_fails_says_so_after_what_it_saw(tmp_path: Path, answer: Answer, reason: str, text: str) -> None:
    seen: list[object] = []
    with broken(tmp_path, answer) as (objects, _), pytest.raises(ClusterError) as raised:
        seen.extend(objects.watch("Secret"))
    assert seen == [json.loads(FOUND)]
    assert raised.value.reason == reason
    assert str(raised.value).startswith(f"the watch of Secret secret {text}")


def test_a_watch_on_which_nothing_comes_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH", -4.5)  # and 5 seconds more
    with throwaway.listener() as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        objects = connect(NAMES, Clock(), kubeconfig=kubeconfig(tmp_path, server))
        with pytest.raises(ClusterError, match="Read timed out"):
            next(objects.watch("Secret"))
        objects.close()


def test_what_was_read_already_is_not_seen_again(tmp_path: Path) -> None:
    events = watching(event("ADDED", 6), event("ADDED", 7), event("MODIFIED", 8), event("DELETED", 9), event("ADDED", 10))
    with broken(tmp_path, events) as (objects, _):
        versions = [found and found["metadata"]["resourceVersion"] for found in objects.watch("Secret")]
    assert versions == ["7", "8", None, "10"]


def test_whoever_follows_goes_on_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    answers = [reply("403 Forbidden", '{"message": "not yet"}')]
    changed = threading.Event()
    with broken(tmp_path, lambda head: answers[0] if answers else watching(event("MODIFIED", 8))(head)) as (objects, _):
        watched = Watched(objects, "Secret", changed.set)
        watched.start()
        assert changed.wait(10)
        assert (watched.known, watched.found, str(watched.error)) == (False, None, f"GET {PATH[:-7]}: not yet")
        answers.clear()
        eventually(lambda: watched.known, 10, "it is read")
        eventually(lambda: watched.error is None and watched.found, 10, "it is watched")
        answers.append(reply("500 Internal Server Error", "{}"))
        eventually(lambda: watched.error, 10, "the next error")
        assert watched.known, "what was read once is good"
        monkeypatch.setattr(module, "PAUSE", 3600.0)  # the thread can't be ended


def test_a_watch_that_something_ends_at_once_is_not_begun_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.3)
    with broken(tmp_path, watching()) as (objects, heads):
        watched = Watched(objects, "Secret", lambda: None)
        watched.start()
        eventually(lambda: watched.known, 10, "it is read")
        time.sleep(1)
        assert 4 <= len(heads) <= 12, "a watch and a read, every 0.3 s"
        monkeypatch.setattr(module, "PAUSE", 3600.0)


def test_not_even_a_bug_of_ours_ends_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    called = threading.Event()

    def changed() -> None:
        if not called.is_set():
            called.set()
            raise KeyError("x")

    with broken(tmp_path, watching(event("MODIFIED", 8))) as (objects, _):
        watched = Watched(objects, "Secret", changed)
        watched.start()
        eventually(called.is_set, 10, "it went wrong")
        eventually(lambda: watched.found and watched.found["metadata"]["resourceVersion"] == "8", 10, "it goes on")
        monkeypatch.setattr(module, "PAUSE", 3600.0)


# --- who asks


def test_a_token_that_is_renewed_in_its_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, token = throwaway.issue(tmp_path), tmp_path / "token"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(files.ca))
    token.write_text("first")
    with answering(lambda _: reply("200 OK", FOUND), context) as (port, heads):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        objects = connect(NAMES, Clock())
        objects.read("Secret")
        token.write_text("second\n")  # as an editor leaves it; a header can't hold that, and its error would quote the token
        objects.read("Secret")
        later = datetime.now() + timedelta(minutes=2)
        clock = SimpleNamespace(datetime=SimpleNamespace(now=lambda: later), timedelta=timedelta)
        monkeypatch.setattr(incluster_config, "datetime", clock)
        objects.read("Secret")
        assert [head.partition("uthorization: bearer ")[2].partition("\r\n")[0] for head in heads] == [
            "first",
            "first",
            "second",
        ]
        later += timedelta(minutes=2)
        token.unlink()
        with pytest.raises(ClusterError, match=r"can't be asked: .*No such file or directory") as raised:
            objects.read("Secret")
        assert raised.value.reason == "unreachable"
        token.touch()
        with pytest.raises(ClusterError, match=r"can't be asked: Token file exists but empty$"):
            objects.read("Secret")
        objects.close()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "file is empty"),
        ("apiVersion: v1", "Expected key current-context in"),
        ("{: [", "while parsing a flow node"),
        ("[1]", "list indices must be integers"),
        ("\xff", "'utf-8' codec can't decode"),
    ],
    ids=["empty", "no context", "no YAML", "a list", "no text"],
)
def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path, content: str, text: str) -> None:
    file = tmp_path / "Kubeconfig"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ClusterError) as raised:
        connect(NAMES, Clock(), kubeconfig=str(file))
    assert str(raised.value).startswith(f"kubeconfig {file}: ")
    assert text in str(raised.value)
    assert str(raised.value).splitlines() == [str(raised.value)]


# --- the time


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Time:
    found = Time()
    monkeypatch.setattr(module, "time", found)
    return found


WALL = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_before_the_api_server_has_said_anything_the_time_is_ours(measured: Time) -> None:
    clock = Clock(lambda: WALL)
    assert (clock.now(), clock.skew) == (WALL, None)


def test_the_time_is_what_the_api_server_said_and_what_has_passed_since(measured: Time) -> None:
    wall = [WALL]
    clock = Clock(lambda: wall[0])
    clock.heard("Mon, 23 Nov 2026 11:50:00 GMT")
    measured.now += 90.5
    assert clock.now() == datetime(2026, 11, 23, 11, 51, 30, 500000, UTC)
    assert clock.skew == 509.5
    wall[0] += timedelta(days=400)  # somebody sets it
    assert clock.now() == datetime(2026, 11, 23, 11, 51, 30, 500000, UTC)
    wall[0] -= timedelta(days=800)
    assert clock.now() == datetime(2026, 11, 23, 11, 51, 30, 500000, UTC)
    assert clock.skew == 509.5 - 400 * 86400
    clock.heard("Mon, 23 Nov 2026 11:51:31 GMT")
    assert clock.now() == datetime(2026, 11, 23, 11, 51, 31, tzinfo=UTC)


@pytest.mark.parametrize("date", ["", "junk", "Mon, 23 Nov 99999999999999999999 17:00:00 GMT", "Mon, 99 Nov 2026 11:00:00 GMT"])
def test_a_date_that_is_none_changes_nothing(measured: Time, date: str) -> None:
    clock = Clock(lambda: WALL)
    clock.heard("Mon, 23 Nov 2026 11:50:00 GMT")
    clock.heard(date)
    assert clock.now() == datetime(2026, 11, 23, 11, 50, tzinfo=UTC)


def test_a_date_without_a_zone_is_in_utc(measured: Time) -> None:
    clock = Clock(lambda: WALL)
    clock.heard("Mon, 23 Nov 2026 11:50:00 -0000")
    assert clock.now() == datetime(2026, 11, 23, 11, 50, tzinfo=UTC)


def test_every_answer_tells_the_time(tmp_path: Path) -> None:
    dates = ["Mon, 23 Nov 2020 11:50:00 GMT", "junk"]
    with broken(tmp_path, lambda _: reply("200 OK", FOUND, f"Date: {dates.pop(0)}")) as (objects, _):
        for _ in range(2):
            objects.read("Secret")
            assert objects.clock.now() - datetime(2020, 11, 23, 11, 50, tzinfo=UTC) < timedelta(seconds=20)
