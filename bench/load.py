"""Load on one URL over kept-alive connections: by wrk where it is installed, otherwise by a client of ours."""

import asyncio
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import TypeAlias
from urllib.parse import urlsplit

import uvloop

from bench.review import DIGITS, Reviews

# wrk counts an answer above 399 as an error of its status. A request is joined from pieces, since wrk shares the machine with
# what it measures: two looked-up halves make the ten digits.
_SCRIPT = """\
local half = {{[0] = ""}}
for length = 1, 5 do
  local longer = {{}}
  for number = 0, {base} ^ length - 1 do
    local digit = number % {base}
    longer[number] = half[(number - digit) / {base}] .. string.sub("{digits}", digit + 1, digit + 1)
  end
  half = longer
end
local number = {first}
request = function()
  local five = half[number % {base} ^ 5]
  local ten = half[math.floor(number / {base} ^ 5) % {base} ^ 5] .. five
  number = number + 1
  return {request}
end
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


# (URL, what to ask, number of the first of them, connections, seconds, what certificates to trust)
Generator: TypeAlias = Callable[[str, Reviews, int, int, float, ssl.SSLContext], Load]


def generator() -> tuple[str, Generator]:
    """The name of what makes the load, and the function that does."""
    path = shutil.which("wrk")
    if path is None:
        return "a client of ours (asyncio streams on uvloop); install wrk for less noise", own
    version = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stdout.split("[")[0].strip()
    return version, wrk


def wrk(url: str, reviews: Reviews, first: int, connections: int, seconds: float, trust: ssl.SSLContext) -> Load:
    """One round by wrk, in one thread; it takes whole seconds and verifies no certificate."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory:
        script = Path(directory, "post.lua")
        script.write_text(_script(url, reviews, first))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script), url]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30)
    return Load(**json.loads(result.stdout.splitlines()[-1]))


def _script(url: str, reviews: Reviews, first: int) -> str:
    pieces = [_head(url, reviews) + reviews.pieces[0], *reviews.pieces[1:]]
    drawn = ["ten" if slot == 10 else "five" for slot in reviews.slots]
    # the quotes and escapes of JSON are Lua's too
    written = [json.dumps(piece.decode("ascii")) for piece in pieces]
    joined = "\n    .. ".join([part for pair in zip(written, drawn, strict=False) for part in pair] + written[len(drawn) :])
    return _SCRIPT.format(base=len(DIGITS), digits=DIGITS, first=first, request=joined)


def _head(url: str, reviews: Reviews) -> bytes:
    target = urlsplit(url)
    path = f"{target.path or '/'}{'?' if target.query else ''}{target.query}"
    lines = [f"POST {path} HTTP/1.1", f"Host: {target.netloc}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(reviews)}", "\r\n"]).encode()


def own(url: str, reviews: Reviews, first: int, connections: int, seconds: float, trust: ssl.SSLContext) -> Load:
    """One round by coroutines of this process, one for each connection."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_round(url, reviews, first, connections, seconds, trust))


async def _round(url: str, reviews: Reviews, first: int, connections: int, seconds: float, trust: ssl.SSLContext) -> Load:
    target = urlsplit(url)
    context = trust if target.scheme == "https" else None
    port = target.port or (443 if context else 80)
    head = _head(url, reviews)
    requests = (head + reviews.numbered(number) for number in count(first))
    opened = [await asyncio.open_connection(target.hostname, port, ssl=context) for _ in range(connections)]
    began = time.perf_counter()
    rounds = await asyncio.gather(*(_send(*streams, requests, began + seconds) for streams in opened))
    took = time.perf_counter() - began
    for _, writer in opened:
        writer.close()
        await writer.wait_closed()
    latencies = [latency for each, _ in rounds for latency in each]
    cuts = quantiles(latencies, n=100, method="inclusive")
    return Load(len(latencies), sum(failed for _, failed in rounds), took, cuts[49] * 1e3, cuts[98] * 1e3)


async def _send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Iterator[bytes], deadline: float
) -> tuple[list[float], int]:
    """(the latencies of all requests in seconds, how many were not answered with 2xx)"""
    latencies: list[float] = []
    failed = 0
    while time.perf_counter() < deadline:
        request = next(requests)
        sent = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        failed += not head.startswith(b"HTTP/1.1 2")
        latencies.append(time.perf_counter() - sent)
    return latencies, failed
