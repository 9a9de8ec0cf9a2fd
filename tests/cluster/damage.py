"""`python -m tests.cluster.damage`: an administrator breaks what belongs to replicas in mode `self`, one thing after another.

Pods are created all the time. Exit status 1 when the replicas are late to tell of it or to mend it, or when a create fails that
need not.
"""

import argparse
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from http.client import HTTPException, HTTPResponse
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import httpx

from certs.cluster import CONFIGURATIONS
from certs.pem import fingerprint
from certs.rotate import TLS_CRT, TLS_KEY
from tests.cluster.cluster import Cluster
from tests.cluster.creators import Create, Creators, Tally
from tests.cluster.damages import DAMAGES, Damage
from tests.cluster.harmed import SECONDS, Harmed, connected, shown
from tests.cluster.play import Figures, play, say
from tests.cluster.replicas import ROUTING, Replica
from tests.cluster.tied import until

PROMISED: Final[Mapping[str, float]] = {  # seconds
    "told_seconds": 5.0,
    "healed_seconds": 10.0,
    "served_seconds": 1.0,
    "last_failure_seconds": 10.0,
}
NEVER: Final = (
    "failed",
    "written",
    "steps_done",
    "harmed",
    "unexplained",
    "invented",
    "calls",
    "lost_connections",
    "refused_handshakes",
    "mended_too_early",
)
STAY: Final = 3.0  # seconds for which clocks are wrong, and a key stays that is none
AFTER: Final = 0.5  # seconds in which a create ends that began before
YEAR, DAY = (timedelta(days=days).total_seconds() for days in (365, 1))
SWAPS: Final = 10

Part: TypeAlias = Callable[[Harmed], Figures]


def run(options: argparse.Namespace) -> Figures:
    """A cluster with its replicas, and everything that is done to them."""
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as directory,
        Cluster(flags=[ROUTING]) as cluster,
        Harmed(cluster, Path(directory), options.replicas) as replicas,
        cluster.namespace() as namespace,
    ):
        replicas.recover()
        parts: dict[str, Figures] = {}
        begins: list[float] = []
        with Creators(cluster, namespace, rate=options.rate) as creators:
            for name in options.only or PARTS:
                begins.append(time.monotonic())
                parts[name] = PARTS[name](replicas)
                try:
                    replicas.recover()
                except TimeoutError as error:
                    parts[name] |= {"harmed": 1, "left": str(error)}
                    break  # nothing that comes after would tell anything
                time.sleep(AFTER)
                say(f"{name}: {parts[name]}")
        for part, (began, ended) in zip(parts.values(), pairwise([*begins, time.monotonic()]), strict=True):
            part |= _cost([create for create in creators.creates if began <= create.ended < ended], began)
        return {"replicas": options.replicas, "parts": parts, "creates": Tally.of(creators.creates).record()}


def _cost(creates: Sequence[Create], began: float) -> Figures:
    failed = [create for create in creates if create.problem]
    last = max((create.ended - began for create in failed), default=0.0)
    return {"creates": len(creates), "failed": len(failed), "last_failure_seconds": last}


def harm(replicas: Harmed, damage: Damage) -> Figures:
    """Break it, and measure until a replica tells of it in its metrics, and until all is well."""
    damage.before(replicas)
    before, began = replicas.told(), time.monotonic()
    damage.act(replicas)
    holds: dict[str, Callable[[], object]] = {"healed_seconds": replicas.is_healed}
    if not damage.silent:
        holds["told_seconds"] = lambda: replicas.told_since(before)
    seconds: dict[str, float | None] = dict.fromkeys(holds)
    while None in seconds.values() and time.monotonic() - began < SECONDS:
        for name, value in seconds.items():
            if value is None and holds[name]():
                seconds[name] = time.monotonic() - began
    return {"costs": damage.costs, **seconds, "told": replicas.told_since(before)}


def jump(replicas: Harmed, seconds: float, *, all_of_them: bool) -> Figures:
    """Let the machines' clocks be wrong by so much for a while: nothing may follow from it."""
    chosen = replicas.running if all_of_them else replicas.running[-1:]

    def seen_wrong() -> int:
        return sum(abs(skew) > DAY for skew in replicas.skews())

    versions, before, began = _versions(replicas), replicas.told(), time.monotonic()
    for replica in chosen:
        replicas.jump(replica, seconds)
    with suppress(TimeoutError):
        until(lambda: seen_wrong() == len(chosen), seconds=SECONDS, waiting_for="the clocks' skew to be told")
    told = time.monotonic() - began
    time.sleep(STAY)
    figures = {
        "costs": False,
        "told_seconds": told,
        "written": sum(versions[kind] != version for kind, version in _versions(replicas).items()),
        "steps_done": sum(replicas.told_since(before).values()),
        "harmed": int(not replicas.is_healed()),
        "skews": replicas.skews(),
    }
    for replica in chosen:
        replicas.jump(replica, 0)
    until(lambda: seen_wrong() == 0, seconds=SECONDS, waiting_for="the clocks to be right again")
    return figures


def _versions(replicas: Harmed) -> dict[str, str]:
    """Of all that is written in a rotation; the Lease is renewed all the time."""
    objects = replicas.objects()
    return {kind: (objects[kind] or {})["metadata"]["resourceVersion"] for kind in ("Secret", *CONFIGURATIONS)}


def swap(replicas: Harmed) -> Figures:
    """Write one leaf after the other, and measure until each replica serves it; ask on connections that were there before."""
    bundle = replicas.material().ca.certificate
    before = [connected(replica, bundle) for replica in replicas.running]
    seconds: list[float] = []
    lost = 0
    with ThreadPoolExecutor(len(before)) as at_once:
        for _ in range(SWAPS):
            leaf = replicas.leaf(replicas.material().ca)
            began = time.monotonic()
            replicas.give({TLS_CRT: leaf.certificate, TLS_KEY: leaf.key})
            serving = partial(_seconds_until_served, bundle, fingerprint(leaf.certificate), began)
            seconds += at_once.map(serving, replicas.running)
            lost += sum(not _answers(connection) for connection in before)
    for connection in before:
        connection.close()
    return {"costs": False, "served_seconds": max(seconds), "median_served_seconds": median(seconds), "lost_connections": lost}


def _seconds_until_served(bundle: bytes, leaf: str, began: float, replica: Replica) -> float:
    until(lambda: shown(replica, bundle) == leaf, seconds=SECONDS, waiting_for=f"{replica.address} to serve the new leaf")
    return time.monotonic() - began


def _answers(connection: ssl.SSLSocket) -> bool:
    """Whether the server answers on this very connection."""
    try:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: webhook\r\n\r\n")
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status == httpx.codes.OK and answer.read() != b""
    except (OSError, HTTPException):
        return False


def withstand(replicas: Harmed, change: Callable[[Harmed], Mapping[str, bytes]]) -> Figures:
    """Write into the Secret what nobody must serve, while nobody may mend it: what is served stays."""
    held = replicas.material()
    bundle, before, wrong = held.ca.certificate, replicas.told(), change(replicas)
    replicas.merge("Lease", {"spec": {"holderIdentity": "nobody"}})
    time.sleep(AFTER)  # until whoever held it has seen that
    began = time.monotonic()
    replicas.give(wrong)
    right = refused = 0
    while time.monotonic() - began < STAY:
        for replica in replicas.running:
            if shown(replica, bundle) == held.fingerprint:
                right += 1
            else:
                refused += 1
    early = (replicas.seen().data or {}).get(TLS_KEY) != wrong[TLS_KEY]
    told = replicas.told_since(before)
    replicas.merge("Lease", {"spec": {"holderIdentity": ""}})
    return {"costs": False, "handshakes": right, "refused_handshakes": refused, "mended_too_early": int(early), "told": told}


PARTS: Final[Mapping[str, Part]] = {
    **{name: partial(harm, damage=damage) for name, damage in DAMAGES.items()},
    "clock-ahead-of-one": partial(jump, seconds=YEAR, all_of_them=False),
    "clock-behind-of-one": partial(jump, seconds=-YEAR, all_of_them=False),
    "clock-ahead-of-all": partial(jump, seconds=YEAR, all_of_them=True),
    "clock-behind-of-all": partial(jump, seconds=-YEAR, all_of_them=True),
    "swap": swap,
    "mismatch": partial(withstand, change=lambda replicas: {TLS_KEY: replicas.foreign().leaf.key}),
    "foreign": partial(withstand, change=lambda replicas: replicas.foreign().data()),
}


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = []
    for name, part in figures["parts"].items():
        for figure, promised in PROMISED.items():
            if figure in part and (part[figure] is None or part[figure] > promised):
                problems.append(f"{name}: {figure} is {part[figure]}, promised are {promised:g}")
        if "handshakes" in part and not part.get("told", True):
            problems.append(f"{name}: no metric said that the Secret can't be used")
        for figure in NEVER:
            if part.get(figure) and not (figure == "failed" and part["costs"]):
                problems.append(f"{name}: {figure} is {part[figure]}")
        if part.get("creates") == 0:
            problems.append(f"{name}: no pod was created")
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.damage", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--replicas", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=30, help="creates a second, 5 of 6 annotated (default: %(default)s)")
    return play(parser, arguments, run, broken)


if __name__ == "__main__":
    sys.exit(main())
