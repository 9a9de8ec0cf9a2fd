"""What happens to a server: reviews of every outcome, what is no review, and callers who don't trust it."""

import ssl
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import httpx

from scripts.review import admission_review
from tests.serving import POD, Server

_CONTAINER: Final[dict[str, Any]] = POD["spec"]["containers"][0]  # type: ignore[index]
_AMOUNTS: Final = {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "64Mi"}
_READY: Final = {
    "metadata": {"annotations": {"dpdk": "true"}},
    "spec": {
        "containers": [
            {
                "name": "app",
                "env": [{"name": "DPDK_EAL_ARGS", "value": "--huge-dir=/dev/hugepages"}],
                "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
                "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},
                "volumeMounts": [{"name": "hugepages-2mi", "mountPath": "/dev/hugepages"}],
            }
        ],
        "volumes": [{"name": "hugepages-2mi", "emptyDir": {"medium": "HugePages-2Mi"}}],
    },
}
_REFUSED: Final = POD | {"spec": {"hostUsers": False, "containers": [_CONTAINER]}}
_WARNED: Final = POD | {
    "spec": {"containers": [_CONTAINER | {"livenessProbe": {"exec": {"command": ["true"]}}, "image": "app"}]}
}
_PLAIN: Final = {"metadata": {"name": "plain"}, "spec": {"containers": [{"name": "app"}]}}


def _deployment(template: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fwd"}, "spec": {"template": template}}


def reviews(server: Server) -> None:
    """Every outcome on every path; the same pods each time, but for one that nobody has seen before."""
    new = POD | {"spec": {"nodeName": str(uuid4()), "containers": [_CONTAINER]}}
    with server.http() as http:
        for path in ("/mutate", "/mutate/baseline", "/validate"):
            for pod in (new, POD, _READY, _REFUSED, _WARNED, _PLAIN):
                http.post(path, json=admission_review(pod)).raise_for_status()
        for path in ("/warn", "/warn/baseline"):
            for pod in (POD, _REFUSED, _PLAIN):
                http.post(path, json=admission_review(_deployment(pod))).raise_for_status()


def mistakes(server: Server) -> None:
    """What is answered with something else than 200, or not at all."""
    with server.http() as http:
        codes = [
            http.post("/mutate", content=b"{}").status_code,
            http.get("/mutate").status_code,
            http.post("/mutate", content=b" " * 8_000_000).status_code,
        ]
    if codes != [400, 405, 413]:
        raise AssertionError(f"the mistakes were answered with {codes}")
    with suppress(httpx.TransportError):  # nobody told this client of our CA
        httpx.get(server.url, verify=ssl.create_default_context(), trust_env=False)
    with server.tcp() as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
