"""What the chart and the kustomizations give, as the real programs render them."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from scripts.manifests import CHART, DEPLOY, NAME, OLDEST
from webhook.manifest import read_yaml

MODES: Final = ("self", "cert-manager", "openshift", "files")
# everything that can be enabled, and the components that are it in kustomize
ENABLED: Final[Mapping[str, Any]] = {
    "networkPolicy": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "grafana": {"dashboard": {"enabled": True}},
}

Object: TypeAlias = dict[str, Any]
Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What no two objects of an installation have in common."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """Nothing was rendered, and why."""

    stderr: str


def key(document: Mapping[str, Any]) -> Key:
    metadata = document["metadata"]
    return Key(document["kind"], metadata.get("namespace", ""), metadata["name"])


def read(text: str) -> list[Object]:
    """The objects of a manifest, in their order. A key that stands twice in an object raises Malformed."""
    return [document for document in read_yaml(text.encode()) if document is not None]


def by_key(objects: Sequence[Object]) -> dict[Key, Object]:
    """The same by what they are; no two may be the same."""
    found = {key(document): document for document in objects}
    assert len(found) == len(objects), "an object is there twice"
    return found


@dataclass(frozen=True, slots=True)
class Installers:
    """helm in its two majors, and kustomize, also as kubectl has it, in an older version where that one is older."""

    directory: Path
    kubectl: Path

    def helm(self, values: Values | None = None, *, program: str = "helm", release: str = NAME, namespace: str = NAME) -> str:
        """What `helm template` prints; raises Refused."""
        command = ["template", release, str(CHART), "--namespace", namespace, "--kube-version", OLDEST, "--values", "-"]
        return self.run(program, *command, stdin=json.dumps(values or {}))

    def kustomize(self, directory: Path, *, program: str = "kustomize") -> str:
        """What `kustomize build` prints, or `kubectl kustomize`; raises Refused, also when it only warns."""
        return self.run(program, "build" if program == "kustomize" else "kustomize", str(directory))

    def run(self, program: str, *arguments: str, stdin: str = "") -> str:
        command: list[str | Path] = [self.kubectl if program == "kubectl" else self.directory / program, *arguments]
        run = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        if run.returncode or run.stderr:
            raise Refused(run.stderr)
        return run.stdout


def overlay(mode: str) -> Path:
    """The kustomization of a mode."""
    return DEPLOY / "overlays" / mode


def components(mode: str) -> list[str]:
    """Those that are what ENABLED is in the chart."""
    policy = "network-policy" if mode == "self" else "network-policy-without-egress"
    return ["monitoring", "dashboard", policy]


def kustomization(directory: Path, **fields: object) -> Path:
    """Write one, in a directory of its own beside deploy/, from which everything is reached by relative paths; return it."""
    directory.mkdir(parents=True)
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (directory / "kustomization.yaml").write_text(json.dumps(head | fields))
    return directory
