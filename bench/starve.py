"""What admission notices of people: the latency of /mutate alone, and while four clients keep /dry-run busy.

Reviews are sent at a fixed rate over one kept-alive connection, and each latency counts from the moment at which its review was
due: a server that stands still for a second is late for all of that second's reviews, and not for one.
"""

import http.client
import multiprocessing
import os
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import yaml

from bench import review
from scripts import throwaway

CLIENTS: Final = 4
SIZES: Final = (10_000, 500_000, 3_000_000, 5_000_000)  # bytes; the last is more than the API server takes, and refused
_RATE: Final = 200  # reviews a second
_ROUTE: Final = "10.0.0.0/8 via 192.0.2.1 metric 100 table left, 2001:db8::/32 blackhole"
_ENTRY: Final = f"    - {{{{name: {{}}, value: '{_ROUTE}'}}}}"


def measure(seconds: float = 5) -> dict[str, Any]:
    """The latencies of /mutate in milliseconds, alone and beside /dry-run, of one server; how /dry-run answered, by status."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory:
        files = throwaway.issue(Path(directory))
        port, health_port = throwaway.free_ports(2)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DPDK_WEBHOOK_")}
        environment |= throwaway.settings(files, port, health_port)
        url = f"https://127.0.0.1:{port}"
        log = Path(directory, "server.log")
        with (
            log.open("wb") as file,
            throwaway.running(["webhook", "serve"], environment, f"{url}/readyz", files.trust, file),
        ):
            _probe(url, files.trust, 1)
            alone = _probe(url, files.trust, seconds)
            with multiprocessing.get_context("spawn").Pool(CLIENTS, os.nice, (5,)) as clients:
                bodies = manifests()
                asked = [
                    clients.apply_async(_ask, (url, files.ca, bodies[first:] + bodies[:first], seconds + 1.5))
                    for first in range(0, len(bodies), len(bodies) // CLIENTS)
                ]
                time.sleep(1)  # until they are at it
                beside = _probe(url, files.trust, seconds)
                answers = sum((each.get(60) for each in asked), Counter[int]())
    return {
        "reviews_per_second": _RATE,
        "sizes": list(SIZES),
        "alone": _figures(alone),
        "beside": _figures(beside),
        "dry_run": {str(status): count for status, count in sorted(answers.items())},
    }


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    head = f"/mutate, {figures['reviews_per_second']} reviews/s"
    lines = [f"{head:<30}{'p50 ms':>9}{'p99 ms':>10}{'worst ms':>10}"]
    for name, text in (("alone", "alone"), ("beside", f"beside {CLIENTS} clients of /dry-run")):
        row = figures[name]
        lines.append(f"{text:<30}{row['p50_ms']:>9.2f}{row['p99_ms']:>10.2f}{row['worst_ms']:>10.1f}")
    answers = ", ".join(f"{count} × {status}" for status, count in figures["dry_run"].items())
    return "\n".join([*lines, f"/dry-run answered {answers}"])


def manifests() -> list[bytes]:
    """A pod of each size, as YAML and as JSON."""
    return [form for size in SIZES for form in _manifest(size)]


def _manifest(size: int) -> Iterator[bytes]:
    pod = review.pod(0)
    container = pod["spec"]["containers"][0]
    routes = [f"ROUTE_{number:05}" for number in range(size // len(_ENTRY.format("ROUTE_00000")))]
    # the entries as text: a dumper takes seconds for the largest manifest
    container["env"] = ["…"]
    entries = "\n".join(_ENTRY.format(name) for name in routes)
    yield yaml.safe_dump(pod, allow_unicode=True).replace("    - …", entries).encode()
    container["env"] = [{"name": name, "value": _ROUTE} for name in routes]
    yield orjson.dumps(pod)


def _probe(url: str, trust: ssl.SSLContext, seconds: float) -> list[float]:
    """Seconds from when a review was due to when its answer was read."""
    reviews = review.new()
    latencies: list[float] = []
    connection = http.client.HTTPSConnection(urlsplit(url).netloc, context=trust, timeout=60)
    connection.connect()
    began = time.perf_counter()
    for number in range(round(seconds * _RATE)):
        due = began + number / _RATE
        time.sleep(max(0, due - time.perf_counter()))
        status = _post(connection, "/mutate", reviews.numbered(number))
        latencies.append(time.perf_counter() - due)
        if status != 200:
            raise RuntimeError(f"/mutate answered {status}")
    connection.close()
    return latencies


def _ask(url: str, ca: Path, bodies: list[bytes], seconds: float) -> Counter[int]:
    """Ask /dry-run for so long; the answers by status."""
    connection = http.client.HTTPSConnection(urlsplit(url).netloc, context=ssl.create_default_context(cafile=ca), timeout=60)
    end = time.perf_counter() + seconds
    seen: Counter[int] = Counter()
    for body in cycle(bodies):
        if time.perf_counter() > end:
            break
        seen[_post(connection, "/dry-run", body)] += 1
    connection.close()
    return seen


def _post(connection: http.client.HTTPSConnection, path: str, body: bytes) -> int:
    connection.request("POST", path, body)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _figures(latencies: list[float]) -> dict[str, float]:
    cuts = quantiles(latencies, n=100, method="inclusive")
    return {
        "p50_ms": round(median(latencies) * 1e3, 2),
        "p99_ms": round(cuts[98] * 1e3, 2),
        "worst_ms": round(max(latencies) * 1e3, 2),
    }


if __name__ == "__main__":
    print(table(measure()))
