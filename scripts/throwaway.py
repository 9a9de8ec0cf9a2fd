"""A server for a while, on loopback: certificates of its own, a process of its own, an orderly end."""

import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import httpx

from certs.issue import issue_ca, issue_leaf

_READY = 20  # seconds
_NEVER_OUTGOING = 12000, 32768  # kernels give outgoing connections ports from 32768, or 49152, on
_END = 15  # seconds, above what the server allows itself to finish what is in flight


class StartError(Exception):
    """The server ended before it was ready, or was not ready in time; one line."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the PEM files are. The CA's key was never written: nothing else can be signed by it."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts this CA and no other."""
        return ssl.create_default_context(cafile=self.ca)


def issue(directory: Path) -> Certificates:
    """A new CA and a leaf for 127.0.0.1 and localhost, in a directory that exists."""
    now = datetime.now(UTC)
    ca = issue_ca(name="dpdk-webhook throwaway CA", now=now)
    leaf = issue_leaf(ca, names=["127.0.0.1", "localhost"], now=now)
    files = Certificates(directory / "ca.crt", directory / "tls.crt", directory / "tls.key")
    for path, content in ((files.ca, ca.certificate), (files.certificate, leaf.certificate), (files.key, leaf.key)):
        # private from the first byte on: a chmod afterwards leaves a moment in which others can open the key
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    return files


def settings(files: Certificates, tls_port: int, health_port: int) -> dict[str, str]:
    """The environment that makes the server listen on these ports of 127.0.0.1 with these certificates."""
    return {
        "DPDK_WEBHOOK_HOST": "127.0.0.1",
        "DPDK_WEBHOOK_TLS_PORT": str(tls_port),
        "DPDK_WEBHOOK_HEALTH_PORT": str(health_port),
        "DPDK_WEBHOOK_CERTIFICATES": "files",
        "DPDK_WEBHOOK_TLS_CERT": str(files.certificate),
        "DPDK_WEBHOOK_TLS_KEY": str(files.key),
    }


def listener(port: int = 0) -> socket.socket:
    """A socket that holds a port of 127.0.0.1 (0: any free one) until it is closed; OSError when it is taken."""
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
        held.listen(1)
    except OSError:
        held.close()
        raise
    return held


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on, and that no outgoing connection takes before somebody does."""
    free: list[int] = []
    while len(free) < count:
        port = random.randrange(*_NEVER_OUTGOING)  # noqa: S311 - nothing secret; two who look at once find two
        with suppress(OSError), listener(port):
            free += [] if port in free else [port]
    return free


@contextmanager
def running(
    module: Sequence[str], environment: Mapping[str, str], ready: str, trust: ssl.SSLContext, log: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module…` from the moment at which a GET of `ready` answers 200; it is ended on the way out.

    `log` takes what it writes (without: our stderr, so that it never stands among what we print). StartError when it ends early
    or is not ready in 20 s.
    """
    output = log or sys.stderr
    child = subprocess.Popen([sys.executable, "-m", *module], env=dict(environment), stdout=output, stderr=output)
    try:
        _wait(child, ready, trust)
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        try:
            child.wait(_END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait(child: subprocess.Popen[bytes], url: str, trust: ssl.SSLContext) -> None:
    deadline = time.monotonic() + _READY
    with httpx.Client(verify=trust, trust_env=False) as http:
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise StartError(f"the server ended with status {child.returncode} before it was ready")
            try:
                if http.get(url).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    raise StartError(f"the server was not ready within {_READY} seconds")
