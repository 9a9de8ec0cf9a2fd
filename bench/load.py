"""Load on one URL over kept-alive TLS connections: by wrk where it is installed, otherwise by a client of ours."""

import asyncio
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import TypeAlias
from urllib.parse import urlsplit

import uvloop

# wrk counts an answer above 399 as an error of its status
_SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
done = function(summary, latency)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format('{{"requests": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}}', summary.requests, failed,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one round saw. Latencies in milliseconds; `failed` counts answers that are not 2xx, and broken connections."""

    requests: int
    failed: int
    seconds: float
    p50: float
    p99: float


Generator: TypeAlias = Callable[[str, bytes, int, float, ssl.SSLContext], Load]


def generator() -> tuple[str, Generator]:
    """The name of what makes the load, and the function that does."""
    path = shutil.which("wrk")
    if path is None:
        return "a client of ours (asyncio streams on uvloop); install wrk for less noise", own
    version = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stdout.split("[")[0].strip()
    return version, wrk


def wrk(url: str, body: bytes, connections: int, seconds: float, trust: ssl.SSLContext) -> Load:
    """One round by wrk, in one thread; it takes whole seconds and verifies no certificate."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory:
        review, script = Path(directory, "review.json"), Path(directory, "post.lua")
        review.write_bytes(body)
        script.write_text(_SCRIPT.format(body=review))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script), url]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    return Load(**json.loads(result.stdout.splitlines()[-1]))


def own(url: str, body: bytes, connections: int, seconds: float, trust: ssl.SSLContext) -> Load:
    """One round by coroutines of this process, one for each connection."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_round(url, body, connections, seconds, trust))


async def _round(url: str, body: bytes, connections: int, seconds: float, trust: ssl.SSLContext) -> Load:
    target = urlsplit(url)
    head = f"POST {target.path} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    opened = [await asyncio.open_connection(target.hostname, target.port, ssl=trust) for _ in range(connections)]
    began = time.perf_counter()
    sending = [_send(*streams, head.encode() + body, began + seconds) for streams in opened]
    rounds = await asyncio.gather(*sending)
    took = time.perf_counter() - began
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()
    latencies = [latency for each, _ in rounds for latency in each]
    cuts = quantiles(latencies, n=100, method="inclusive")
    return Load(len(latencies), sum(failed for _, failed in rounds), took, cuts[49] * 1e3, cuts[98] * 1e3)


async def _send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, deadline: float
) -> tuple[list[float], int]:
    """(the latencies of all requests in seconds, how many were not answered with 2xx)"""
    latencies: list[float] = []
    failed = 0
    sent = time.perf_counter()
    while sent < deadline:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        failed += not head.startswith(b"HTTP/1.1 2")
        answered = time.perf_counter()
        latencies.append(answered - sent)
        sent = answered
    return latencies, failed
