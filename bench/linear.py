"""Whether a review takes time in proportion to its size, whatever it is that there is so much of.

Each family grows in one thing only, from about a kilobyte to as much as the API server lets through. What is measured is the
work of /mutate itself, bytes to bytes, without a socket. A server that answers one review at a time is held up by the slowest,
so that time which grows with the square of the size would be a way to stop everybody's pods.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import process_time_ns
from typing import Any, Final

import orjson

from scripts.review import admission_review
from webhook import admission
from webhook.settings import Settings

LIMIT: Final = 4  # of the ratio: far from 1, which noise is not, and far from 16
_FACTOR: Final = 4
_SIZES: Final = 6
_MIDDLE: Final = 3  # the largest is sixteen times as large: time that grows with the square shows as 16


@dataclass(frozen=True, slots=True)
class Family:
    """Reviews that differ in one number: `make(n)` is the pod with n of something, `most` the largest n."""

    make: Callable[[int], dict[str, Any]]
    most: int

    def counts(self) -> list[int]:
        """Six of them, each four times the one before."""
        return [max(1, self.most // _FACTOR**power) for power in reversed(range(_SIZES))]


@dataclass(frozen=True, slots=True)
class Growth:
    """What reviews of growing size took: bytes, and microseconds of CPU."""

    sizes: list[int]
    times: list[float]

    @property
    def ratio(self) -> float:
        """Time for each byte of the largest, relative to one of a sixteenth of its count: about 1 where time is linear."""
        large, middle = (self.times[index] / self.sizes[index] for index in (-1, _MIDDLE))
        return large / middle


def measure(rounds: int) -> dict[str, dict[str, Any]]:
    """By family: kilobytes, microseconds and the ratio. Each time is the shortest of so many rounds."""
    grown = {name: _grow(family, rounds) for name, family in FAMILIES.items()}
    return {
        name: {
            "kb": [round(size / 1000, 1) for size in each.sizes],
            "us": [round(time) for time in each.times],
            "ratio": round(each.ratio, 2),
        }
        for name, each in grown.items()
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures for people."""
    lines = ["growing                                  kB         ms   µs/kB    ratio"]
    for name, row in figures.items():
        kilobytes, microseconds = row["kb"][-1], row["us"][-1]
        per = microseconds / kilobytes
        lines.append(f"{name:<36}{kilobytes:>7,.0f}{microseconds / 1000:>11,.1f}{per:>8.1f}{row['ratio']:>9.2f}")
    return "\n".join(lines)


def _grow(family: Family, rounds: int) -> Growth:
    bodies = [body(family, count) for count in family.counts()]
    settings = Settings()
    times = [float("inf")] * len(bodies)
    for _ in range(rounds):
        for index, review in enumerate(bodies):
            # a small one several times over: the clock of the CPU is coarser than it takes
            repeats = max(1, 20_000 // len(review))
            began = process_time_ns()
            for _ in range(repeats):
                request = admission.parse(review)
                admission.mutate(request, settings).review(request.asked.uid)
            times[index] = min(times[index], (process_time_ns() - began) / repeats / 1000)
    return Growth([len(review) for review in bodies], times)


def body(family: Family, count: int) -> bytes:
    """The review of a pod with so many of them."""
    return orjson.dumps(admission_review(family.make(count)))


def _container(name: str = "app", **fields: Any) -> dict[str, Any]:
    amounts = {"cpu": "1500m", "memory": "1Gi", "hugepages-2Mi": "64Mi"}
    return {"name": name, "image": "registry.example/app:1", "resources": {"limits": amounts}, **fields}


def _pod(*containers: dict[str, Any], notes: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "app", "annotations": {"dpdk": "true", **(notes or {})}}
    return {"metadata": metadata, "spec": {"containers": list(containers) or [_container()], **spec}}


def _numbered(count: int, make: Callable[[int], Any]) -> list[Any]:
    return [make(number) for number in range(count)]


def _asking(limits: Iterable[tuple[str, str]]) -> dict[str, Any]:
    return _pod(_container(resources={"limits": {"cpu": "2", "memory": "1Gi", **dict(limits)}}))


def _other(number: int) -> dict[str, Any]:
    return _container(f"log-{number}", resources={"limits": {"cpu": "100m", "memory": "64Mi"}})


def _volume(number: int, source: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"hugepages-2mi-{number}", "emptyDir": source}


def _deep(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"f": value}
    return value


_HUGE: Final = {"medium": "HugePages-2Mi"}
FAMILIES: Final[dict[str, Family]] = {
    "DPDK containers": Family(lambda n: _pod(*_numbered(n, lambda i: _container(f"app-{i}"))), 1_000),
    "other containers": Family(lambda n: _pod(_container(), *_numbered(n - 1, _other)), 1_000),
    "init containers": Family(lambda n: _pod(initContainers=_numbered(n, _other)), 999),
    "containers that are refused": Family(lambda n: _pod(*_numbered(n, lambda i: _container(f"app-{i}", resources={}))), 1_000),
    "env": Family(lambda n: _pod(_container(env=_numbered(n, lambda i: {"name": f"V{i}", "value": str(i)}))), 60_000),
    "env that refers to env": Family(
        lambda n: _pod(_container(env=_numbered(n, lambda i: {"name": f"V{i}", "value": f"$(V{i - 1})x"}))), 50_000
    ),
    "EAL's variable, again and again": Family(
        lambda n: _pod(_container(env=_numbered(n, lambda i: {"name": "DPDK_EAL_ARGS", "value": f"-l {i}"}))), 50_000
    ),
    "volume mounts": Family(
        lambda n: _pod(_container(volumeMounts=_numbered(n, lambda i: {"name": "data", "mountPath": f"/data/{i}"}))), 50_000
    ),
    "hugepage mounts": Family(
        lambda n: _pod(
            _container(volumeMounts=_numbered(n, lambda i: {"name": f"hugepages-2mi-{i}", "mountPath": f"/huge/{i}"})),
            volumes=_numbered(n, lambda i: _volume(i, _HUGE)),
        ),
        20_000,
    ),
    "hugepage mounts in one place": Family(
        lambda n: _pod(
            _container(volumeMounts=[{"name": "huge", "mountPath": "/huge"}] * n),
            volumes=[{"name": "huge", "emptyDir": _HUGE}],
        ),
        60_000,
    ),
    "hugepage mounts, each named to EAL": Family(
        lambda n: _pod(
            _container(
                args=[f"--huge-dir=/huge/{i}" for i in range(n)],
                volumeMounts=_numbered(n, lambda i: {"name": "huge", "mountPath": f"/huge/{i}"}),
            ),
            volumes=[{"name": "huge", "emptyDir": _HUGE}],
        ),
        30_000,
    ),
    "a long name in each of many findings": Family(
        lambda n: _pod(_container("a" * (n * 20), resources={"limits": {f"example.com/{i}": "x" for i in range(n)}})),
        50_000,
    ),
    "volumes": Family(lambda n: _pod(volumes=_numbered(n, lambda i: _volume(i, {}))), 50_000),
    "hugepage volumes": Family(lambda n: _pod(volumes=_numbered(n, lambda i: _volume(i, _HUGE))), 40_000),
    "page sizes": Family(lambda n: _asking((f"hugepages-{i + 1}Mi", "64Mi") for i in range(n)), 100_000),
    "other resources": Family(lambda n: _asking((f"example.com/nic-{i}", "1") for i in range(n)), 100_000),
    "annotations": Family(lambda n: _pod(notes={f"example.com/{i}": str(i) for i in range(n)}), 100_000),
    "options": Family(lambda n: _pod(notes={f"dpdk/hugepages-{i + 1}Mi": "64Mi" for i in range(n)}), 80_000),
    "names in dpdk/containers": Family(lambda n: _pod(notes={"dpdk/containers": ",".join(["app"] * n)}), 700_000),
    "arguments": Family(lambda n: _pod(_container(command=["app"], args=["--nothing"] * n)), 200_000),
    "one long script": Family(lambda n: _pod(_container(command=["sh", "-c"], args=["exec app; " * n])), 250_000),
    "one long EAL variable": Family(
        lambda n: _pod(_container(env=[{"name": "DPDK_EAL_ARGS", "value": "-l 2-3 " * n}])), 400_000
    ),
    "references in one argument": Family(
        lambda n: _pod(_container(args=["$(NAME)" * n], env=[{"name": "NAME", "value": "x"}])), 400_000
    ),
    "capabilities": Family(
        lambda n: _pod(_container(securityContext={"capabilities": {"add": ["NET_ADMIN"] * n, "drop": ["NET_RAW"] * n}})),
        100_000,
    ),
    "unknown fields, 50 deep": Family(lambda n: _pod(_container(), future=_numbered(n, lambda i: _deep(50))), 9_000),
    "one long annotation": Family(lambda n: _pod(notes={"example.com/blob": "x" * n}), 3_000_000),
    "one long container name": Family(lambda n: _pod(_container("a" * n)), 3_000_000),
    "digits of one quantity": Family(lambda n: _asking([("example.com/nic", "9" * n)]), 3_000_000),
}
