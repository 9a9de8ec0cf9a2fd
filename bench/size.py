"""What the server takes before and beside its work: seconds until it is ready, memory, and what its imports cost.

`python -m bench.size 100000` asks fewer reviews of it than the million that it is otherwise.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench import review
from bench.load import generator
from bench.servers import OURS, BenchError, start
from scripts import throwaway

STARTS: Final = 5
WARM: Final = 50_000  # reviews until what is kept for later is filled, and malloc has found its size
_CONNECTIONS: Final = 8
_SECONDS: Final = 2  # of one round; all of them ask for different pods, each kind in turn
_KINDS: Final = (review.new, review.known, review.refused, review.unannotated)
_IMPORT: Final = re.compile(r"^import time: +(\d+) \| +\d+ \| +([\w.]+)$", re.MULTILINE)


def measure(reviews: int = 1_000_000) -> dict[str, Any]:
    """Seconds to ready, with byte code and without; MiB at the start, after 50,000 reviews, at the end and at most; threads;
    milliseconds of imports by package."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory:
        files = throwaway.issue(Path(directory))
        ready = median(_ready(files) for _ in range(STARTS))
        without = _ready(files, PYTHONPYCACHEPREFIX=directory, PYTHONDONTWRITEBYTECODE="1")
        return {"ready_s": round(ready, 2), "ready_without_byte_code_s": round(without, 2)} | {
            "imports_ms": _imports(),
            "memory": _memory(files, reviews),
        }


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    memory, imports = figures["memory"], figures["imports_ms"]
    return "\n".join(
        [
            f"ready in {figures['ready_s']:.2f} s, in {figures['ready_without_byte_code_s']:.2f} s without byte code",
            f"{memory['start_mib']:.1f} MiB at the start, {memory['warm_mib']:.1f} after {WARM:,} reviews, "
            f"{memory['end_mib']:.1f} after {memory['reviews']:,}, {memory['peak_mib']:.1f} at most",
            f"imports: {', '.join(f'{package} {time:.0f} ms' for package, time in imports.items())}",
        ]
    )


def _ready(files: throwaway.Certificates, **environment: str) -> float:
    """Seconds from the start of a process to its readiness."""
    port, health_port = throwaway.free_ports(2)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DPDK_WEBHOOK_")}
    variables = inherited | throwaway.settings(files, port, health_port) | environment
    began = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "webhook", "serve"], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _is_ready(health_port):
            if server.poll() is not None or time.perf_counter() > began + 20:
                raise BenchError("the server does not become ready")
            time.sleep(0.005)
        return time.perf_counter() - began
    finally:
        server.kill()
        server.wait()


def _is_ready(port: int) -> bool:
    try:
        with closing(socket.create_connection(("127.0.0.1", port), timeout=1)) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def _memory(files: throwaway.Certificates, reviews: int) -> dict[str, float]:
    _, load = generator()
    with ExitStack() as stack:
        server = start(stack, files, OURS)
        if server.pid is None:
            raise BenchError("a process of ours has a number")
        at_start, warm, asked = _mib(server.pid, "VmRSS"), 0.0, 0
        for kind in cycle(_KINDS):
            seen = load(server.url, kind(), asked, _CONNECTIONS, _SECONDS, files.trust)
            if seen.failed > seen.requests / 100:  # a busy machine has it shed some
                raise BenchError(f"{seen.failed} of {seen.requests} requests failed")
            asked += seen.requests
            if not warm and asked >= WARM and kind is _KINDS[-1]:
                warm = _mib(server.pid, "VmRSS")
            if warm and asked >= reviews:
                break
        return {
            "reviews": asked,
            "start_mib": at_start,
            "warm_mib": warm,
            "end_mib": _mib(server.pid, "VmRSS"),
            "peak_mib": _mib(server.pid, "VmHWM"),
        }


def _mib(pid: int, field: str) -> float:
    """A field of proc(5)'s status, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024, 1)


def _imports() -> dict[str, float]:
    """The ten packages that importing the server takes longest for, milliseconds of their own modules; and the sum of all."""
    command = [sys.executable, "-X", "importtime", "-c", "import webhook.cli, webhook.server"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    packages: Counter[str] = Counter()
    for microseconds, module in _IMPORT.findall(told):
        packages[module.partition(".")[0]] += int(microseconds)
    return {name: round(taken / 1000, 1) for name, taken in [*packages.most_common(10), ("all", packages.total())]}


if __name__ == "__main__":
    print(table(measure(*map(int, sys.argv[1:]))))
