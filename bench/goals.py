"""What this server is to achieve, beside what was measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

MET: Final = {True: "met", False: "not met"}


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and the most that it may be."""

    what: str
    most: float
    seen: float
    unit: str

    @property
    def is_met(self) -> bool:
        """It is at most what it may be."""
        return self.seen <= self.most

    def __str__(self) -> str:
        return f"{self.what}: {self.seen:g} {self.unit}, at most {self.most:g}: {MET[self.is_met]}"


def goals(results: dict[str, Any]) -> list[Goal]:
    """Those of every section that was measured."""
    return [goal for section, found in _GOALS.items() if section in results for goal in found(results[section])]


def _cost(connections: dict[str, dict[str, Any]]) -> Iterator[Goal]:
    for at, row in connections.items():
        where = f"{at} connection{'s' if at != '1' else ''}"
        yield Goal(f"CPU of a new pod, {where}", 3.5, row["new_ratio"], "× floor")
        yield Goal(f"CPU of a known pod, {where}", 2, row["known_ratio"], "× floor")
    for at, key, most in (("1", "p50", 0.5), ("1", "p99", 2), ("8", "p99", 5)):
        if at in connections:
            where = f"{at} connection{'s' if at != '1' else ''}"
            yield Goal(f"{key} of a new pod, {where}", most, connections[at][f"{key}_ms"], "ms")


def _latency(latency: dict[str, Any]) -> Iterator[Goal]:
    ways = latency["ways"]
    for name, text in (("known", "a known pod"), ("new", "a new pod")):
        above = round(ways[name]["p50_ms"] - ways["floor"]["p50_ms"], 2)
        yield Goal(f"p50 of a create of {text} above the floor's", 0.5, above, "ms")


def _hostile(attacks: dict[str, dict[str, float]]) -> Iterator[Goal]:
    yield Goal("added by any attack to a healthy client's p99", 10, max(each["added_ms"] for each in attacks.values()), "ms")
    yield Goal("the longest that an attacker's connection lived", 10, max(each["longest_s"] for each in attacks.values()), "s")


def _size(size: dict[str, Any]) -> Iterator[Goal]:
    memory = size["memory"]
    yield Goal("ready after a start", 2, size["ready_s"], "s")
    yield Goal("ready after a start without byte code", 2, size["ready_without_byte_code_s"], "s")
    yield Goal("memory at most", 80, memory["peak_mib"], "MiB")
    grown = round(memory["end_mib"] - memory["warm_mib"], 1)
    yield Goal(f"growth of memory over {memory['reviews']:,} reviews", 2, grown, "MiB")


_GOALS: Final = {"connections": _cost, "latency": _latency, "hostile": _hostile, "size": _size}
