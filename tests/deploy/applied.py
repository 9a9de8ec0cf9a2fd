"""Installing into a real cluster: with helm as its administrator, and a replica run as the Deployment would have it run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from scripts.manifests import CHART
from scripts.throwaway import free_ports
from tests.cluster.cluster import Cluster, answers_ok
from tests.cluster.tied import Tied, until
from tests.cluster.webhook import inherited, variables
from tests.deploy.consistent import Installation
from tests.deploy.rendered import Installers, Object, Values

RESTRICTED = {f"pod-security.kubernetes.io/{way}": "restricted" for way in ("enforce", "warn")}


def helm(
    cluster: Cluster, installers: Installers, program: str, *arguments: str | Path, values: Values | None = None
) -> subprocess.CompletedProcess[str]:
    """Run helm as cluster administrator, the chart's values from stdin where there are any; nothing is raised."""
    home = cluster.directory / program
    environment = os.environ | {
        "KUBECONFIG": str(cluster.kubeconfig),
        **{f"HELM_{place}_HOME": str(home) for place in ("CACHE", "CONFIG", "DATA")},
    }
    command = [installers.directory / program, *arguments, *([] if values is None else ["--values", "-"])]
    stdin = json.dumps(values or {})
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def release(action: str, name: str, namespace: str) -> tuple[str, ...]:
    """The arguments for `install` or `upgrade`."""
    return action, name, str(CHART), "--namespace", namespace


def make_namespace(cluster: Cluster, name: str) -> None:
    """One under Pod Security restricted, as the base has it, which also warns of workloads; it may be there already."""
    made = cluster.api("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    assert made.status in (httpx.codes.CREATED, httpx.codes.CONFLICT), made.body
    cluster.wait_for_namespace(name)


def live(cluster: Cluster, wanted: Object) -> Object | None:
    """What is stored under the name of this object, or None."""
    group = wanted["apiVersion"].partition("/")[0] if "/" in wanted["apiVersion"] else ""
    resource = wanted["kind"] + (f".{group}" if group else "")
    place = ["--namespace", wanted["metadata"]["namespace"]] if "namespace" in wanted["metadata"] else []
    command = ("get", resource, wanted["metadata"]["name"], *place, "--output", "json", "--ignore-not-found")
    said = cluster.kubectl(*command).stdout
    return dict(json.loads(said)) if said else None


def missing(wanted: Any, stored: Any, path: str = "") -> list[str]:
    """Where what is stored hasn't all that is wanted; what it has besides, by default or by others, doesn't matter."""
    if isinstance(wanted, dict) and isinstance(stored, dict):
        return [each for key, value in wanted.items() for each in missing(value, stored.get(key), f"{path}.{key}")]
    if isinstance(wanted, list) and isinstance(stored, list) and len(wanted) == len(stored):
        pairs = zip(wanted, stored, strict=True)
        return [each for number, (one, other) in enumerate(pairs) for each in missing(one, other, f"{path}[{number}]")]
    # an empty object or list is not stored
    return (
        [] if wanted == stored or (wanted in ({}, []) and stored is None) else [f"{path}: {wanted!r} is stored as {stored!r}"]
    )


def wait_for_pods(cluster: Cluster, here: Installation) -> None:
    """Until the controllers have made the pods of the Deployment, which Pod Security may refuse."""
    path = f"/api/v1/namespaces/{here.namespace}/pods"
    wanted = here.one("Deployment")["spec"]["replicas"]
    labels = here.one("Deployment")["spec"]["selector"]["matchLabels"]
    query = "%2C".join(f"{name.replace('/', '%2F')}%3D{value}" for name, value in labels.items())

    def made() -> bool:
        found = cluster.api("GET", f"{path}?labelSelector={query}").body["items"]
        return len(found) == int(wanted)

    until(made, seconds=30, waiting_for=f"{wanted} pods in {here.namespace}")


def kubeconfig(cluster: Cluster, here: Installation, file: Path) -> Path:
    """Write one with a token of the account that the replicas run as."""
    path = f"/api/v1/namespaces/{here.namespace}/serviceaccounts/{here.pod['serviceAccountName']}/token"
    made = cluster.api("POST", path, {"spec": {}})
    assert made.status == httpx.codes.CREATED, made.body
    config = json.loads(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "admin", "user": {"token": made.body["status"]["token"]}}]
    file.touch(mode=0o600)
    file.write_text(json.dumps(config))
    return file


@contextmanager
def replica(cluster: Cluster, here: Installation, directory: Path) -> Iterator[str]:
    """Run one with the settings in the Deployment and the token of its account; give the URL of its health when it lives."""
    tls, health = free_ports(2)
    account = kubeconfig(cluster, here, directory / "account.kubeconfig")
    own: Mapping[str, Any] = {
        "host": "127.0.0.1",
        "tls_port": tls,
        "health_port": health,
        "kubeconfig": account,
        "drain_seconds": 0,
    }
    command = [sys.executable, "-m", "webhook", "serve"]
    environment = inherited() | variables({**here.settings, **own})
    process = Tied(command, log=directory / "replica.log", environment=environment)
    url = f"http://127.0.0.1:{health}"
    try:
        with httpx.Client(trust_env=False) as http:
            process.wait_ready(lambda: answers_ok(http, f"{url}/livez"), seconds=30)
        yield url
    finally:
        process.stop(seconds=30)
