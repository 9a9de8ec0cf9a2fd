"""The server as a process of its own on loopback, for the tests that meet it there."""

import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

from scripts import throwaway
from scripts.review import admission_review
from scripts.throwaway import Certificates

POD = {
    "metadata": {"annotations": {"dpdk": "true", "dpdk/hugepages-2Mi": "64Mi"}},
    "spec": {"containers": [{"name": "app", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]},
}
REVIEW = orjson.dumps(admission_review(POD))
HEAD = b"POST /mutate HTTP/1.1\r\nHost: x\r\n"
REQUEST = HEAD + b"Content-Length: %d\r\n\r\n" % len(REVIEW) + REVIEW
LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    files: Certificates
    port: int
    health_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.files.trust, trust_env=False, timeout=30)

    def health(self, path: str) -> tuple[int, str]:
        answer = httpx.get(f"http://127.0.0.1:{self.health_port}{path}", trust_env=False)
        return answer.status_code, answer.text

    def counted(self, metric: str) -> float:
        """A value of /metrics, by its name and labels as they stand there."""
        found = re.search(rf"^{re.escape(metric)} (\S+)$", self.health("/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def counts_to(self, metric: str, value: float, seconds: float = 2) -> None:
        """Wait until it has this value."""
        eventually(lambda: self.counted(metric) == value, seconds, f"{metric} is {value:g}")

    def tcp(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        return (context or self.files.trust).wrap_socket(self.tcp(), server_hostname="localhost")

    def answers(self) -> bool:
        with self.http() as http:
            return http.post("/mutate", content=REVIEW).status_code == 200

    def answers_at_all(self) -> bool:
        """Whether a new connection can be had."""
        try:
            return self.answers()
        except httpx.TransportError:
            return False

    @property
    def rss(self) -> int:
        """MiB that the process has in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024**2

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process' own, with these settings and no others."""
    return {key: value for key, value in os.environ.items() if not key.startswith("DPDK_WEBHOOK_")} | dict(more)


@contextmanager
def serving(files: Certificates, directory: Path, **settings: object) -> Iterator[Server]:
    """A server that is ready; nothing in its log may be a traceback."""
    port, health_port = throwaway.free_ports(2)
    more = {f"DPDK_WEBHOOK_{name.upper()}": str(value) for name, value in settings.items()}
    variables = environment(throwaway.settings(files, port, health_port) | more)
    log = directory / "server.log"
    ready = f"http://127.0.0.1:{health_port}/readyz"
    with (
        log.open("wb") as file,
        throwaway.running(["webhook", "serve"], variables, ready, files.trust, file) as process,
    ):
        yield Server(process, files, port, health_port, log)
    assert "Traceback" not in log.read_text()


def answer(connection: socket.socket) -> bytes:
    """One whole answer with a Content-Length; what came before the end when there is none."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return received
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length, head
    while len(body) < int(length[1]):
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return head + b"\r\n\r\n" + body


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other end closes, in whichever way."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
        pass
    return received


def eventually(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Return once it holds; fail, saying `what` did not happen, when it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(0.05)
