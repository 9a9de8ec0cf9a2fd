"""`make bench`: what a review costs, beside a floor that does nothing but answer.

Both servers run for the whole time and are asked in turn, so that what else happens on this machine happens to both; each
figure is the median of its rounds. Compare the ratio: the rest depends on the machine. Afterwards, without a server, what grows
with a review's size, and whether it grows faster.
"""

import argparse
import base64
import os
import platform
import ssl
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import jsonpatch
import orjson

from bench import linear, review
from bench.load import Generator, Load, generator
from scripts import throwaway

RESULTS = Path(__file__).parent / "results.json"
CONNECTIONS = (1, 8)
_PACKAGES = ("cryptography", "fastapi", "httptools", "orjson", "uvicorn", "uvloop")
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The figures would not be what they say they are."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running server."""

    name: str
    url: str
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the process has used, user and system."""
        # the name in parentheses may hold blanks; utime and stime are the 14th and 15th field of proc(5)
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass(frozen=True, slots=True)
class Round:
    """One server at one number of connections, for some seconds."""

    load: Load
    cpu_us: float  # microseconds of the server's CPU for each request

    @property
    def rps(self) -> float:
        """Requests a second."""
        return self.load.requests / self.load.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the results. Exit status 1 when a server doesn't answer as it should, or
    when a review takes more than its share of time for being large."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Requests/s, latency and CPU a request of /mutate.")
    parser.add_argument("--seconds", type=float, default=4, help="of one round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="for each figure (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write them as JSON")
    options = parser.parse_args(arguments)
    name, load = generator()
    try:
        figures = measure(load, options.seconds, options.rounds)
    except (BenchError, throwaway.StartError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    results = {
        "machine": _machine(),
        "versions": {package: version(package) for package in _PACKAGES} | {"python": platform.python_version()},
        "load": {"generator": name, "seconds": options.seconds, "rounds": options.rounds, "review_bytes": len(review.body())},
        "connections": figures,
        "linear": linear.measure(options.rounds),
    }
    options.results.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    print(table(results))
    steep = [name for name, row in results["linear"].items() if row["ratio"] > linear.LIMIT]
    if steep:
        print(f"bench: time grows faster than the size: {', '.join(steep)}", file=sys.stderr)
    return 1 if steep else 0


def measure(load: Generator, seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """By the number of connections: the figures of /mutate, those of the floor, and the ratio of their CPU."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory, ExitStack() as stack:
        files = throwaway.issue(Path(directory))
        targets = [_start(stack, files, name) for name in ("mutate", "floor")]
        for target in targets:
            _check(target, files.trust)
            load(target.url, review.body(), max(CONNECTIONS), seconds / 2, files.trust)
        seen: dict[tuple[str, int], list[Round]] = {}
        for _ in range(rounds):
            for connections in CONNECTIONS:
                for target in targets:
                    seen.setdefault((target.name, connections), []).append(
                        _round(load, target, connections, seconds, files.trust)
                    )
        for target in targets:
            _check(target, files.trust)
    return {str(connections): _figures(seen["mutate", connections], seen["floor", connections]) for connections in CONNECTIONS}


def _start(stack: ExitStack, files: throwaway.Certificates, name: str) -> Target:
    port, health_port = throwaway.free_ports(2)
    module = ["webhook", "serve"] if name == "mutate" else ["bench.floor"]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DPDK_WEBHOOK_")}
    log = stack.enter_context((files.ca.parent / f"{name}.log").open("wb"))
    environment = inherited | throwaway.settings(files, port, health_port)
    ready = f"https://127.0.0.1:{port}/readyz"
    process = stack.enter_context(throwaway.running(module, environment, ready, files.trust, log))
    return Target(name, f"https://127.0.0.1:{port}/mutate", process.pid)


def _check(target: Target, trust: ssl.SSLContext) -> None:
    """What is measured must be the job itself: 200, and a patch that applies."""
    answer = httpx.post(target.url, content=review.body(), verify=trust, trust_env=False)
    response = answer.json()["response"] if answer.status_code == 200 else {}
    patch = orjson.loads(base64.b64decode(response.get("patch", "W10=")))
    if not patch or jsonpatch.JsonPatch(patch).apply(review.pod()) == review.pod():
        raise BenchError(f"{target.name} answered {answer.status_code} without a patch: {answer.text[:200]}")


def _round(load: Generator, target: Target, connections: int, seconds: float, trust: ssl.SSLContext) -> Round:
    before = target.cpu
    seen = load(target.url, review.body(), connections, seconds, trust)
    if seen.failed:
        raise BenchError(f"{target.name}: {seen.failed} of {seen.requests} requests failed")
    return Round(seen, (target.cpu - before) / seen.requests * 1e6)


def _figures(mutate: list[Round], floor: list[Round]) -> dict[str, float]:
    def of(rounds: list[Round]) -> dict[str, float]:
        return {
            "cpu_us": round(median(each.cpu_us for each in rounds), 1),
            "rps": round(median(each.rps for each in rounds)),
            "p50_ms": round(median(each.load.p50 for each in rounds), 3),
            "p99_ms": round(median(each.load.p99 for each in rounds), 3),
        }

    ours, theirs = of(mutate), of(floor)
    figures = {"mutate_cpu_us": ours.pop("cpu_us"), "floor_cpu_us": theirs.pop("cpu_us")}
    figures["ratio"] = round(figures["mutate_cpu_us"] / figures["floor_cpu_us"], 2)
    return figures | ours | {f"floor_{key}": value for key, value in theirs.items()}


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "openssl": ssl.OPENSSL_VERSION,
    }


def table(results: dict[str, Any]) -> str:
    """The results for people."""
    load, machine = results["load"], results["machine"]
    lines = [
        f"{load['review_bytes']} bytes a review, {load['rounds']} rounds of {load['seconds']:g} s by {load['generator']}",
        f"{machine['cores']} cores, {machine['cpu']}",
        "",
        "connections  server   requests/s   p50 ms   p99 ms   CPU µs/request",
    ]
    for connections, row in results["connections"].items():
        for name, prefix in (("/mutate", ""), ("floor", "floor_")):
            cpu = row["mutate_cpu_us" if prefix == "" else "floor_cpu_us"]
            rps, p50, p99 = (row[prefix + key] for key in ("rps", "p50_ms", "p99_ms"))
            lines.append(f"{connections:>11}  {name:<7}{rps:>12,}{p50:>9.2f}{p99:>9.2f}{cpu:>17.0f}")
        lines.append(f"{'':>11}  /mutate takes {row['ratio']:.2f} times the floor's CPU")
    return "\n".join([*lines, "", linear.table(results["linear"])])


if __name__ == "__main__":
    sys.exit(main())
