"""Bodies that broke webhooks, by name: the small ones are files, the big ones are made here."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import orjson

from webhook.intake import BODY_LIMIT

FILES: Final = Path(__file__).parent / "corpus"


def review(pod: object, **request: object) -> dict[str, Any]:
    """The smallest review that is answered."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    asked = {"uid": "corpus", "kind": kind, "operation": "CREATE", "object": pod, **request}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


def container(name: str = "app", **fields: object) -> dict[str, Any]:
    """A container that lacks nothing but what is added to every DPDK container."""
    return {"name": name, "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}, **fields}


def pod(*containers: dict[str, Any], notes: dict[str, Any] | None = None, **spec: object) -> dict[str, Any]:
    """A pod that opted in and gets 64Mi of hugepages."""
    annotations = {"dpdk": "true", "dpdk/containers": "app", "dpdk/hugepages-2Mi": "64Mi", **(notes or {})}
    return {"metadata": {"annotations": annotations}, "spec": {"containers": list(containers) or [container()], **spec}}


def _of(*containers: dict[str, Any], notes: dict[str, Any] | None = None, **spec: object) -> bytes:
    return orjson.dumps(review(pod(*containers, notes=notes, **spec)))


def _with(text: str, raw: bytes) -> bytes:
    """A review whose container has this for its cpu, which need not be what a JSON writer would write."""
    asking = container(resources={"limits": {"cpu": text, "memory": "1Gi"}})
    return _of(asking).replace(orjson.dumps(text), raw)


def _nested(depth: int) -> bytes:
    """A field that nobody knows, so many objects deep, below the levels that the review itself has."""
    return _of(futureField="@").replace(b'"@"', b'{"a":' * depth + b"1" + b"}" * depth)


def _padded(size: int) -> bytes:
    body = _of()
    return body + b" " * (size - len(body))


_FREE = {"name": "data", "emptyDir": {}}
GENERATED: Final[dict[str, Callable[[], bytes]]] = {
    "annotations-by-the-thousand": lambda: _of(notes={f"example.com/{n}": str(n) for n in range(20_000)}),
    "annotation-of-3-MiB": lambda: _of(notes={"example.com/blob": "x" * (3 << 20)}),
    "body-above-the-limit": lambda: _padded(BODY_LIMIT + 1),
    "body-at-the-limit": lambda: _padded(BODY_LIMIT),
    "body-of-7-MiB-of-brackets": lambda: b"[" * BODY_LIMIT,
    "command-of-1-MiB": lambda: _of(container(args=["--no-such-option=" + "x" * 1000] * 1000)),
    "container-names-of-1-MiB": lambda: _of(container("x" * (1 << 20)), notes={"dpdk/containers": "x" * (1 << 20)}),
    "containers-1000": lambda: _of(*(container("app" if n == 0 else f"c{n}") for n in range(1000))),
    "containers-1001": lambda: _of(*(container("app" if n == 0 else f"c{n}") for n in range(1001))),
    "containers-that-are-null-by-the-thousand": lambda: _of(futureField=0).replace(
        b'"futureField":0', b'"initContainers":[' + b"null," * 9999 + b"null]"
    ),
    "digits-of-a-number-by-the-million": lambda: _with("@", b"9" * 1_000_000),
    "digits-of-a-string-by-the-million": lambda: _with("9" * 1_000_000, b'"' + b"9" * 1_000_000 + b'"'),
    "digits-of-a-fraction-by-the-million": lambda: _with("@", b"0." + b"3" * 1_000_000),
    "digits-of-an-exponent-by-the-million": lambda: _with("@", b"1e" + b"9" * 1_000_000),
    "env-by-the-thousand": lambda: _of(container(env=[{"name": f"V{n}", "value": f"$(V{n - 1})"} for n in range(20_000)])),
    "env-that-doubles-each-time": lambda: _of(
        container(env=[{"name": f"V{n}", "value": f"$(V{n - 1})" * 2} for n in range(64)], args=["$(V63)"])
    ),
    "hugepage-sizes-by-the-thousand": lambda: _of(
        container(resources={"limits": {"cpu": 2, "memory": "1Gi"} | {f"hugepages-{n}Mi": "1Gi" for n in range(5_000)}})
    ),
    "mounts-by-the-thousand": lambda: _of(
        container(volumeMounts=[{"name": "data", "mountPath": f"/mnt/{n}"} for n in range(10_000)]), volumes=[_FREE]
    ),
    "nested-as-deep-as-may-be": lambda: _nested(61),
    "nested-one-deeper": lambda: _nested(62),
    "nested-1000-deep": lambda: _nested(1_000),
    "nested-100000-deep": lambda: _nested(100_000),
    "options-by-the-thousand": lambda: _of(notes={f"dpdk/x{n}": "1" for n in range(10_000)}),
    "volumes-by-the-thousand": lambda: _of(
        volumes=[{"name": f"hugepages-2mi-{n}" if n > 1 else "hugepages-2mi", "emptyDir": {}} for n in range(1, 10_000)]
    ),
}


@cache
def corpus() -> dict[str, bytes]:
    """Every body by its name."""
    files = {path.stem: path.read_bytes() for path in sorted(FILES.iterdir())}
    return files | {name: make() for name, make in GENERATED.items()}
