"""What a request costs: the CPU of the server's process, requests a second and latency, beside a floor that does nothing but
answer.

All servers run for the whole time and are asked in turn, so that what else happens on this machine happens to all of them;
each figure is the median of its rounds.
"""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench import review
from bench.load import Generator, Load
from bench.review import Reviews
from bench.servers import FLOOR, OURS, PLAIN, BenchError, Server, placed, start
from scripts import throwaway

CONNECTIONS: Final = (1, 8, 32)
_MORE_AT: Final = 8  # connections; what is only told for comparison is measured once
_LONGEST: Final = 1_000_000  # requests of a round: numbers are never asked for twice


@dataclass(frozen=True, slots=True)
class Row:
    """One server, asked one kind of review: a figure of its own. `name` begins the keys of what was measured."""

    name: str
    server: Server
    reviews: Reviews
    is_remembered: bool | None = None  # whether the server must have known each of these pods, or none of them


@dataclass(frozen=True, slots=True)
class Round:
    """One row at one number of connections, for some seconds."""

    row: str
    connections: int
    load: Load
    cpu_us: float | None  # microseconds of the server's CPU for each request

    def as_json(self) -> dict[str, Any]:
        """The raw data of bench/results.json."""
        return {
            "row": self.row,
            "connections": self.connections,
            "requests": self.load.requests,
            "seconds": round(self.load.seconds, 3),
            "p50_ms": round(self.load.p50, 3),
            "p99_ms": round(self.load.p99, 3),
            "cpu_us": None if self.cpu_us is None else round(self.cpu_us, 2),
        }


def measure(
    load: Generator, seconds: float, rounds: int, peers: Sequence[Server] = (), connections: Sequence[int] = CONNECTIONS
) -> dict[str, Any]:
    """By the number of connections: the figures of every row; all rounds; what was measured."""
    with TemporaryDirectory(prefix="dpdk-webhook-bench-") as directory, ExitStack() as stack:
        files = throwaway.issue(Path(directory))
        with placed(servers=True):
            ours, floor = start(stack, files, OURS), start(stack, files, FLOOR)
            plain = [start(stack, files, name, name.partition(" ")[2]) for name in PLAIN]
        stack.enter_context(placed(servers=False))
        rows = [
            Row("floor", floor, review.known()),
            Row("mutate_known", ours, review.known(), is_remembered=True),
            Row("mutate_new", ours, review.new(), is_remembered=False),
            *(Row(f"peer {peer.name} {kind.kind}", peer, kind) for peer in peers for kind in (review.known(), review.new())),
        ]
        more = [
            Row("unannotated", ours, review.unannotated()),
            Row("refused", ours, review.refused()),
            *(Row(each.name.replace(" ", "_"), each, review.known()) for each in plain),
        ]
        numbers = count(1, _LONGEST)
        operations = {row.name: row.server.check(row.reviews, next(numbers)) for row in [*rows, *more]}
        for row in [*rows, *more]:
            load(row.server.url, row.reviews, next(numbers), max(connections), seconds / 2, row.server.trust)
        seen = [
            measured(load, row, at, seconds, next(numbers))
            for _ in range(rounds)
            for at in connections
            for row in ([*rows, *more] if at == _MORE_AT else rows)
        ]
        for row in [*rows, *more]:
            row.server.check(row.reviews, next(numbers))
    return {
        "connections": {str(at): _figures([each for each in seen if each.connections == at]) for at in connections},
        "review_bytes": {row.reviews.kind: len(row.reviews) for row in [*rows, *more]},
        "operations": operations,
        "rounds": [each.as_json() for each in seen],
    }


def measured(load: Generator, row: Row, connections: int, seconds: float, number: int) -> Round:
    """One round, whose reviews are numbered from `number` on; BenchError when they were not what they are told to be."""
    server = row.server
    if row.is_remembered:
        server.check(row.reviews, number)  # the first of them has to be decided
    remembered, cpu = server.memo() if row.is_remembered is not None else None, server.cpu
    seen = load(server.url, row.reviews, number, connections, seconds, server.trust)
    used = None if cpu is None or server.cpu is None else (server.cpu - cpu) / seen.requests * 1e6
    if seen.failed:
        raise BenchError(f"{row.name}: {seen.failed} of {seen.requests} requests failed")
    if seen.requests > _LONGEST:
        raise BenchError(f"{row.name}: {seen.requests} requests are more than can differ from each other; take fewer seconds")
    if remembered is not None:
        _check_memo(row, seen, remembered)
    return Round(row.name, connections, seen, used)


def _check_memo(row: Row, seen: Load, before: tuple[int, int]) -> None:
    hits, misses = (now - then for now, then in zip(row.server.memo() or before, before, strict=True))
    wrong = misses if row.is_remembered else hits
    if wrong or hits + misses < seen.requests:
        raise BenchError(
            f"{row.name}: of {seen.requests} reviews {hits} were answered from memory and {misses} decided; "
            f"all of them should have been {'answered from memory' if row.is_remembered else 'decided'}"
        )


def _figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """Of one number of connections. Requests a second and latency without a name in front are those of new pods."""
    by_row = {name: [each for each in rounds if each.row == name] for name in dict.fromkeys(each.row for each in rounds)}
    seen = {name: _medians(each) for name, each in by_row.items()}
    figures: dict[str, Any] = {f"{name}_cpu_us": row["cpu_us"] for name, row in seen.items() if not name.startswith("peer ")}
    for kind in ("new", "known"):
        figures[f"{kind}_ratio"] = round(figures[f"mutate_{kind}_cpu_us"] / figures["floor_cpu_us"], 2)
    for name, row in seen.items():
        prefix = "" if name == "mutate_new" else name.removeprefix("mutate_") + "_"
        if not name.startswith("peer "):
            figures |= {prefix + key: row[key] for key in ("rps", "p50_ms", "p99_ms")}
    figures["peers"] = {name.removeprefix("peer "): row for name, row in seen.items() if name.startswith("peer ")}
    return figures


def _medians(rounds: Sequence[Round]) -> dict[str, float | None]:
    cpu = [each.cpu_us for each in rounds if each.cpu_us is not None]
    return {
        "cpu_us": round(median(cpu), 1) if cpu else None,
        "rps": round(median(each.load.requests / each.load.seconds for each in rounds)),
        "p50_ms": round(median(each.load.p50 for each in rounds), 3),
        "p99_ms": round(median(each.load.p99 for each in rounds), 3),
    }


_NAMES: Final = {
    "floor": "floor",
    "known": "/mutate, known pods",
    "": "/mutate, new pods",
    "unannotated": "/mutate, unannotated pods",
    "refused": "/mutate, refused pods",
    "uvicorn_uvloop": "floor on plain uvicorn, uvloop",
    "uvicorn_asyncio": "floor on plain uvicorn, asyncio",
}


def rows(figures: dict[str, Any]) -> Iterable[tuple[str, float | None, dict[str, Any]]]:
    """(what was asked, CPU µs, its other figures) of one number of connections, for tables and plots."""
    for key, name in _NAMES.items():
        prefix = f"{key}_" if key else ""
        if f"{prefix}rps" in figures:
            cpu = f"mutate_{key or 'new'}_cpu_us" if key in ("", "known") else f"{key}_cpu_us"
            yield name, figures[cpu], {each: figures[prefix + each] for each in ("rps", "p50_ms", "p99_ms")}
    for name, row in figures["peers"].items():
        yield name, row["cpu_us"], row


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    lines = ["connections  asked                             requests/s   p50 ms   p99 ms   CPU µs/request  × floor"]
    for at, row in figures["connections"].items():
        for name, cpu, seen in rows(row):
            costs = f"{'unknown':>17}{'':>9}" if cpu is None else f"{cpu:>17.0f}{cpu / row['floor_cpu_us']:>9.2f}"
            lines.append(f"{at:>11}  {name:<32}{seen['rps']:>12,}{seen['p50_ms']:>9.2f}{seen['p99_ms']:>9.2f}{costs}")
    return "\n".join(lines)
