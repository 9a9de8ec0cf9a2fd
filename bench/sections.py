"""The parts of the results: how each is measured, and how it is shown to people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench import cost, hostile, latency, linear, scenarios, size, starve
from bench.load import generator
from bench.servers import Server


@dataclass(frozen=True, slots=True)
class Options:
    """How long each section may take."""

    seconds: float
    rounds: int
    peers: Sequence[Server] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the results: `measure` gives what is written under its keys, `table` shows them to people."""

    measure: Callable[[Options], dict[str, Any]]
    table: Callable[[dict[str, Any]], str]
    is_short: bool = True  # otherwise it is measured only when it is asked for


def _load(options: Options) -> dict[str, Any]:
    name, load = generator()
    figures = cost.measure(load, options.seconds, options.rounds, options.peers)
    return {"connections": figures.pop("connections"), "rounds": figures.pop("rounds"), "load": {"generator": name} | figures}


def _section(
    name: str, measure: Callable[[Options], dict[str, Any]], table: Callable[[dict[str, Any]], str], *, is_short: bool = True
) -> Section:
    """One whose results stand under its name."""
    return Section(lambda options: {name: measure(options)}, lambda results: table(results[name]), is_short)


def _scenario(name: str) -> Section:
    return _section(name, lambda options: scenarios.measure(name), scenarios.table, is_short=False)


SECTIONS: Final = {
    "load": Section(_load, cost.table),
    "latency": _section("latency", lambda options: latency.measure(options.rounds), latency.table),
    "hostile": _section("hostile", lambda options: hostile.measure(1), hostile.table),
    "starve": _section("starve", lambda options: starve.measure(options.seconds), starve.table),
    "size": _section("size", lambda options: size.measure(), size.table),
    "linear": _section("linear", lambda options: linear.measure(options.rounds), linear.table),
    "rolling": _scenario("rolling"),
    "overload": _scenario("overload"),
}
SHORT: Final = tuple(name for name, section in SECTIONS.items() if section.is_short)
