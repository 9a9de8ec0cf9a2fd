"""Random pods and cases, drawn by hypothesis or from a seed.

A seed draws ten times as fast as hypothesis does, but nothing that it draws can be shrunk; so it keeps its choices, from
which hypothesis draws the same again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.oracle import Site
from tests.oracle.repair import repaired
from tests.strategies_pods import annotated_pod, any_pod, plain_pod
from tests.strategies_values import (
    DEFAULT_CPUS,
    DEFAULT_HUGEPAGES,
    DEFAULT_MEMORIES,
    EAL_NAMES,
    HUGE_DIRS,
    MOST_CPUS,
    OPERATIONS,
    OTHER_CPUS,
    STEPS,
    WHOLE,
    Draw,
    Json,
    chance,
)
from webhook.rules import RULES, Rule
from webhook.settings import Settings

T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that decides what becomes of one pod."""

    pod: Json
    settings: Settings
    order: tuple[Rule, ...]  # of the rules, beside the usual one
    operation: str

    @property
    def site(self) -> Site:
        """What the oracle needs to know of the settings."""
        site = self.settings
        notes = self.pod["metadata"].get("annotations") or {}
        # what a pod says of itself beats what the site says of every pod
        everywhere = site.whole_cpus == "all" and notes.get("dpdk/whole-cpus") != "dpdk"
        return Site(site.cpu_step, everywhere, site.eal_env, site.allow_user_namespaces)


def any_case(draw: Draw) -> Case:
    """Any pod, at any site; every second site keeps to the defaults."""
    pod = any_pod(draw)
    values = _settings(draw) if chance(draw, 50) else ()
    rest = list(RULES)
    order = []
    while rest:
        order.append(rest.pop(draw(range(len(rest)))))
    return Case(pod, _site(values), tuple(order), draw(OPERATIONS))


def _settings(draw: Draw) -> tuple[tuple[str, Any], ...]:
    return (
        ("cpu_step", draw(STEPS)),
        ("whole_cpus", draw(WHOLE)),
        ("default_cpu", draw(DEFAULT_CPUS)),
        ("other_cpu", draw(OTHER_CPUS)),
        ("default_memory", draw(DEFAULT_MEMORIES)),
        ("default_hugepages", draw(DEFAULT_HUGEPAGES)),
        ("max_cpu", draw(MOST_CPUS)),
        ("huge_dir", draw(HUGE_DIRS)),
        ("eal_env", draw(EAL_NAMES)),
        ("allow_user_namespaces", chance(draw, 30)),
    )


@lru_cache(maxsize=4096)
def _site(values: tuple[tuple[str, Any], ...]) -> Settings:
    """Reading settings takes longer than reviewing a pod does."""
    fields = dict(values)
    return Settings(**fields | {"default_hugepages": dict(fields.get("default_hugepages", ()))})


class Seeded:
    """Draws what a seed says, and keeps the choices."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed).random  # noqa: S311 - the same pods again matter, secrets don't
        self.choices: list[int] = []

    def __call__(self, choices: Sequence[T], /) -> T:
        if len(choices) == 1:
            return choices[0]
        index = int(self._random() * len(choices))
        self.choices.append(index)
        return choices[index]


@cache
def _below(end: int) -> SearchStrategy[int]:
    return st.integers(0, end - 1)


@st.composite
def drawn(draw: DrawFn, build: Callable[[Draw], T]) -> T:
    """What `build` draws, each choice one of hypothesis' own."""

    def choose(choices: Sequence[V], /) -> V:
        return choices[0] if len(choices) == 1 else choices[draw(_below(len(choices)))]

    return build(choose)


def cases() -> SearchStrategy[Case]:
    """Any case."""
    return drawn(any_case)


def pods() -> SearchStrategy[Json]:
    """Any pod; three in four opted in."""
    return drawn(any_pod)


def plain_pods() -> SearchStrategy[Json]:
    """Pods that did not opt in, near-misses included."""
    return drawn(plain_pod)


def annotated_pods(*, calm: bool | None = None) -> SearchStrategy[Json]:
    """Pods that opted in; `calm` says whether to leave out what the contract rejects, by default six in ten do."""
    return drawn(lambda draw: annotated_pod(draw, calm))


def compliant_pods() -> SearchStrategy[Json]:
    """Pods that keep the promise already, in whatever spelling."""
    return annotated_pods(calm=True).map(repaired)
