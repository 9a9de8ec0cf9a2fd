"""What hostile clients do to the others: the p99 of a healthy client alone, and while each attack lasts, in the same run."""

import json
import math
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench import review
from bench.attacks import ATTACKS, Attack, Outcome, with_length
from bench.servers import OURS, BenchError, Server, start
from scripts import throwaway

LIMIT: Final = 10.0  # milliseconds that an attack may add to a healthy client's p99
ALONE: Final = 2.0  # seconds
PAUSE: Final = 0.003  # seconds between two requests of the healthy client
PATIENCE: Final = 15.0  # seconds that an attack may take beyond its own


@dataclass(slots=True)
class Healthy:
    """A client who asks for one decision after the other on one connection, and what he was answered."""

    port: int
    trust: ssl.SSLContext
    latencies: list[float] = field(default_factory=list)  # seconds
    failures: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        """Milliseconds."""
        ranked = sorted(self.latencies)
        return ranked[math.ceil(len(ranked) * 0.99) - 1] * 1000 if ranked else math.inf

    @contextmanager
    def asking(self) -> Iterator[None]:
        """For as long as the block takes."""
        over = threading.Event()
        thread = threading.Thread(target=self._ask, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _ask(self, over: threading.Event) -> None:
        reviews = review.known()
        number = 0
        try:
            raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            with self.trust.wrap_socket(raw, server_hostname="localhost") as connection:
                while not over.wait(PAUSE):
                    request = with_length(reviews.numbered(number))
                    number += 1
                    sent = time.perf_counter()
                    connection.sendall(request)
                    answer = _answer(connection)
                    self.latencies.append(time.perf_counter() - sent)
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        self.failures.append(answer[:100].decode(errors="replace"))
        except OSError as error:
            self.failures.append(str(error))


def _answer(connection: ssl.SSLSocket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionResetError("the server closed the connection")
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    due = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]) - len(body)
    while due > 0:
        due -= len(connection.recv(65536))
    return head


def attacked(attack: Attack, healthy: Healthy, seconds: float) -> Outcome:
    """What became of the attack; the healthy client asks while it lasts. BenchError where this machine can't make it."""
    command = [sys.executable, "-m", "bench.attacks", attack.name, str(healthy.port), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        begun = process.stdout.readline()
        try:
            with healthy.asking():
                printed, problem = process.communicate(timeout=seconds + PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if process.returncode or not begun:
        raise BenchError(f"{attack.name}: {problem.strip()[-400:]}")
    return Outcome(**json.loads(printed))


def measure(rounds: int) -> dict[str, Any]:
    """By the attack: the healthy client's p99 in ms before and during it (medians of the rounds), how much it added, how long
    the longest of its connections lived in s, and what the server then had in memory, in MiB. BenchError when a healthy
    request failed."""
    seen: dict[str, list[dict[str, float]]] = {}
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory, ExitStack() as stack:
        server = start(stack, throwaway.issue(Path(directory)), OURS)
        for _ in range(rounds):
            for attack in ATTACKS:
                seen.setdefault(attack.name, []).append(_round(server, attack))
    return {
        name: {key: round(median(each[key] for each in figures), 2) for key in figures[0]} for name, figures in seen.items()
    }


def _round(server: Server, attack: Attack) -> dict[str, float]:
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    alone, meanwhile = Healthy(port, server.trust), Healthy(port, server.trust)
    with alone.asking():
        time.sleep(ALONE)
    outcome = attacked(attack, meanwhile, attack.seconds)
    if failures := alone.failures + meanwhile.failures:
        raise BenchError(f"{attack.name}: {len(failures)} healthy requests failed, the first with {failures[0]}")
    return {
        "alone_p99_ms": alone.p99,
        "p99_ms": meanwhile.p99,
        "added_ms": meanwhile.p99 - alone.p99,
        "longest_s": outcome.longest,
        "connections": outcome.opened,
        "rss_mib": _rss(server.pid),
    }


def _rss(pid: int | None) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def table(figures: dict[str, Any]) -> str:
    """The figures for people, an attack a line."""
    width = max(map(len, figures))
    lines = [f"{'attack':<{width}}  connections  p99 alone  p99 ms   added  longest s  RSS MiB"]
    for name, row in figures.items():
        times = f"{row['alone_p99_ms']:>9.2f}  {row['p99_ms']:>6.2f}  {row['added_ms']:>6.2f}  {row['longest_s']:>9.2f}"
        lines.append(f"{name:<{width}}  {row['connections']:>11.0f}  {times}  {row['rss_mib']:>7.0f}")
    most = max(row["added_ms"] for row in figures.values())
    return "\n".join([*lines, f"at most {most:.2f} ms are added, {LIMIT:g} are allowed"])


if __name__ == "__main__":
    print(table(measure(1)))
